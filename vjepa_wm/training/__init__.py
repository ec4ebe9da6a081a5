"""Stages that make weights: masked pretraining, action-conditioned training, probes."""
