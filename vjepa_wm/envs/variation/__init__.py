"""What changes between episodes in look and physics."""
