"""The reversibility pass: how exactly a model restores what it does not keep."""
