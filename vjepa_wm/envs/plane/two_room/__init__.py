"""Bring a point through a door into the other room."""
