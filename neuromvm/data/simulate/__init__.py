"""Simulated experiments with known truth, files in which they are written, and small recordings with codes shared in part."""

from neuromvm.data.simulate.codes import simulate_codes as simulate_codes
