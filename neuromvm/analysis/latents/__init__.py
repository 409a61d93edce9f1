"""Latents to look at: planes, paths, and the units behind them."""
