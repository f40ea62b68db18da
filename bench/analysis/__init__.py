"""What the records say: one row a case, and how a cost grows."""
