"""Closed-loop goal reaching: start/goal lists, agents, success rates and the pictures that show them."""
