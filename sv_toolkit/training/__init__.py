"""Learning: sampling, batches, the trainer, exact resume."""
