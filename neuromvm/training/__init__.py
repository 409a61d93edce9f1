"""From samples and splits to a fitted model: batches, objective, gradient step, training loop, checkpoints."""
