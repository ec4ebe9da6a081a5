"""Bring the gripper to a pose."""
