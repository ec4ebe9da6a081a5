"""Grasp a brick, carry it, put it down and let go."""
