"""Damaged and hostile inputs by the thousand: ``python -m tests.fuzz --n 10000 --seed 0 --minutes 10``."""
