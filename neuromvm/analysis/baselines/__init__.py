"""Baselines of decoding: what linear methods and simple decoders reach on the same trials.

:mod:`neuromvm.analysis.baselines.catalogue` lists them; each is fitted on the training side of a split and read on its test
trials.
"""
