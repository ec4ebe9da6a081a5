"""Clips and pictures drawn from a mixture of sources."""
