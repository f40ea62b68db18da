"""The learning pass: does a model, trained by a rule, learn, and how fast."""
