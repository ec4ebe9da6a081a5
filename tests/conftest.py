"""Chooses how to render before any test imports mujoco."""

from vjepa_wm.envs import choose_renderer

choose_renderer()
