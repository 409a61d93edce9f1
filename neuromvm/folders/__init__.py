"""Folders of runs, sweeps and few-shot trainings: where their files lie, read without torch."""
