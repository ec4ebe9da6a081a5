"""Bring a point through a maze."""
