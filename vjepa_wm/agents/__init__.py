"""Who acts toward a goal picture: agents that see pictures and the robot state alone, and scripts that see more."""
