"""Experiments, refits, audits, few-shot experiments, sweeps, and the command line."""
