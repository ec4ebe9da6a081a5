"""Latents of trajectories: computed once, kept on disk, read through memory maps, dealt out in windows."""
