"""Intervals, nulls and corrections that the analyses share."""
