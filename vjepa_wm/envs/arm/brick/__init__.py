"""What the tasks share in which a brick is grasped."""
