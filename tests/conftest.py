"""Chooses how to render before any test imports mujoco."""

from vjepa_wm.envs import choose_render_backend

choose_render_backend()
