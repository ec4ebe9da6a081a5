"""What `vjepa_wm.envs.adapter` needs of MuJoCo, and environments of others that were made to fit with it."""
