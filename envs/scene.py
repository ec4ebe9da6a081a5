"""A simulated scene: its MuJoCo model, its state, its pictures. The arm and the plane worlds are scenes that move.

Letters: S image size.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import mujoco
import numpy as np

from vjepa_wm.envs.renderers import Renderer, make_renderer
from vjepa_wm.envs.rendering import RendererName

STATE_KIND = int(mujoco.mjtState.mjSTATE_INTEGRATION)


class Scene:
    """A model with one state that is simulated and another for looking at what is not there, such as goals."""

    def __init__(self, path: Path, *, image_size: int, cameras: Sequence[str], renderer: RendererName = "auto") -> None:
        """Load the model.

        Args:
            path: MuJoCo's XML.
            image_size: height and width S of the pictures [px].
            cameras: names of the cameras that look on, of those in the XML.
            renderer: what draws.

        Raises:
            ValueError: if the scene has no such camera.
        """
        self.model = mujoco.MjModel.from_xml_path(str(path))
        self.data, self._scratch = mujoco.MjData(self.model), mujoco.MjData(self.model)
        known = [self.model.camera(k).name for k in range(self.model.ncam)]
        unknown = sorted(set(cameras) - set(known))
        if unknown or not cameras or len(set(cameras)) < len(cameras):
            raise ValueError(f"cameras must be different ones of {', '.join(known)}, got {list(cameras)}")
        self.cameras = tuple(cameras)
        self.state_size = mujoco.mj_stateSize(self.model, STATE_KIND)
        self._renderer: Renderer = make_renderer(self.model, image_size, renderer)

    def pictures(self) -> dict[str, np.ndarray]:
        """Return what the cameras see, (S, S, 3) uint8: the first's as `image`, another's as `image_<camera>`."""
        return self._pictures(self.data)

    def picture(self) -> np.ndarray:
        """Return what the first camera sees, (S, S, 3) uint8."""
        return self._renderer.render(self.data, self.cameras[0])

    def get_state(self) -> np.ndarray:
        """Return everything the next control step depends on, (state_size,) float64."""
        state = np.empty(self.state_size)
        mujoco.mj_getState(self.model, self.data, state, STATE_KIND)
        return state

    def set_state(self, state: np.ndarray) -> None:
        """Restore what `get_state` returned, in this or in another scene.

        Args:
            state: vector of `get_state`, (state_size,).
        """
        mujoco.mj_setState(self.model, self.data, state, STATE_KIND)
        self._refresh(self.data)

    def close(self) -> None:
        """Free the renderer."""
        self._renderer.close()

    def _pictures(self, data: mujoco.MjData) -> dict[str, np.ndarray]:
        names = ("image", *(f"image_{camera}" for camera in self.cameras[1:]))
        return {name: self._renderer.render(data, camera) for name, camera in zip(names, self.cameras, strict=True)}

    def _refresh(self, data: mujoco.MjData) -> None:
        # Not mj_forward: that would also write the solver's warm start, which belongs to the saved state.
        mujoco.mj_kinematics(self.model, data)
        mujoco.mj_comPos(self.model, data)
        mujoco.mj_camlight(self.model, data)
