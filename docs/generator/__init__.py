"""Pages of the documentation that are made from data when it is built, so that they cannot disagree with it."""
