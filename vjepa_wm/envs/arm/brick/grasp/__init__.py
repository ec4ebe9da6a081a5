"""Grasp a brick and lift it."""
