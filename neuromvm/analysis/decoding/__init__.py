"""Decoding within and between animals, beside baselines: the table, its settings, its nulls, and few trials of a new animal."""
