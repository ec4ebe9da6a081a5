"""Push a block to a place and heading."""
