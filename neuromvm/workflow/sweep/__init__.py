"""Sweeps: an experiment with many settings, each a run folder that can be resumed, and the table of their scores."""
