"""Masked pretraining: options and recipes, batches, one step, the loop."""
