"""Baselines of the decoding table: what linear methods and simple decoders reach on the same trials.

:mod:`analysis.baselines.rows` lists them; each is fitted on the training side of a split and read on its test trials.
"""
