"""A simulated experiment with known truth, and files in which it is written."""
