"""The models that come with revbench, by name: one file for each group of papers."""
