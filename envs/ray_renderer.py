"""Pictures of a scene without any graphics library (being written)."""

from __future__ import annotations

import mujoco
import numpy as np


class RayRenderer:
    """Draws with rays."""

    def __init__(self, model: mujoco.MjModel, image_size: int) -> None:
        """Keep the model."""
        raise NotImplementedError

    def render(self, data: mujoco.MjData, camera: str) -> np.ndarray:
        """Return what a camera sees; see `vjepa_wm.envs.renderers.Renderer.render`."""
        raise NotImplementedError

    def close(self) -> None:
        """Free nothing."""
