"""Figures, drawn from saved scores. Only here and in the report are plotting libraries imported."""
