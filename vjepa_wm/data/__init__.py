"""What the networks are fed: videos, masks and robot trajectories."""
