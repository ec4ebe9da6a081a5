"""A simulated scene: its MuJoCo model, its state, its pictures. The arm and the plane worlds are scenes that move.

Letters: S image size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import mujoco
import numpy as np

from vjepa_wm.envs.picture_names import picture_names
from vjepa_wm.envs.render.back_end import RendererName
from vjepa_wm.envs.render.renderers import Renderer, make_renderer
from vjepa_wm.envs.variation.factors import FACTORS
from vjepa_wm.envs.variation.value_types import Values
from vjepa_wm.envs.variation.values import DISTRACTORS, MAX_DISTRACTORS, SPOT_RADIUS, SPOTS
from vjepa_wm.envs.variation.varied_model import VariedModel

STATE_KIND = int(mujoco.mjtState.mjSTATE_INTEGRATION)


class Scene:
    """A model with one state that is simulated and another for looking at what is not there, such as goals.

    Attributes:
        factors: what can vary, and the values of each.
        variation: name of the value that each factor has now.
        state_size: how many numbers `get_state` returns.
    """

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
        self.cameras, self.known_cameras = tuple(cameras), tuple(known)
        self._physics_size = mujoco.mj_stateSize(self.model, STATE_KIND)
        self._varied = VariedModel(self.model, self.cameras[0])
        self.factors: dict[str, Values] = dict(self._varied.values)
        self.variation = {factor: values.names()[0] for factor, values in self.factors.items()}
        self._numbers = np.zeros(len(FACTORS) + 3 * MAX_DISTRACTORS)
        self.state_size = self._physics_size + self._numbers.size
        self._renderer: Renderer = make_renderer(self.model, image_size, renderer)

    def pictures(self) -> dict[str, np.ndarray]:
        """Return what the cameras see, (S, S, 3) uint8: the first's as `image`, another's as `image_<camera>`."""
        return self._pictures(self.data)

    def picture(self) -> np.ndarray:
        """Return what the first camera sees, (S, S, 3) uint8."""
        return self._renderer.render(self.data, self.cameras[0])

    def vary(self, names: Mapping[str, str], rng: np.random.Generator) -> None:
        """Look and move otherwise from now on; what comes next must put the scene into a state.

        Args:
            names: of the value of each factor.
            rng: generator that places the distractors.
        """
        places = np.zeros((MAX_DISTRACTORS, 3))
        spots = rng.permutation(SPOTS)[:MAX_DISTRACTORS]
        drawn = np.column_stack([spots, np.zeros(MAX_DISTRACTORS)])
        drawn += rng.uniform(-1.0, 1.0, drawn.shape) * [SPOT_RADIUS, SPOT_RADIUS, np.pi]
        if "distractors" in names:
            num_shown = len(DISTRACTORS[names["distractors"]])
            places[:num_shown] = drawn[:num_shown]
        self._change(dict(names), places)

    def set_layout(self, name: str) -> None:
        """Put the walls where a layout has them; for scenes whose `factors` have layouts.

        Args:
            name: of the layout.
        """
        raise NotImplementedError

    def get_state(self) -> np.ndarray:
        """Return everything the next control step and the pictures depend on, (state_size,) float64."""
        state = np.empty(self.state_size)
        mujoco.mj_getState(self.model, self.data, state[: self._physics_size], STATE_KIND)
        state[self._physics_size :] = self._numbers
        return state

    def set_state(self, state: np.ndarray) -> None:
        """Restore what `get_state` returned, in this or in another scene.

        Args:
            state: vector of `get_state`, (state_size,).
        """
        physics, numbers = np.split(state, [self._physics_size])
        if not np.array_equal(numbers, self._numbers):
            indices, places = np.split(numbers, [len(FACTORS)])
            index = dict(zip(FACTORS, indices.astype(int), strict=True))
            names = {factor: values.name(index[factor]) for factor, values in self.factors.items()}
            self._change(names, places)
        mujoco.mj_setState(self.model, self.data, physics, STATE_KIND)
        self._refresh(self.data)

    def close(self) -> None:
        """Free the renderer."""
        self._renderer.close()

    def _pictures(self, data: mujoco.MjData) -> dict[str, np.ndarray]:
        return {name: self._renderer.render(data, camera) for camera, name in picture_names(self.cameras).items()}

    def _change(self, names: dict[str, str], places: np.ndarray) -> None:
        """Become another variation; it is saved as the number of each value among its factor's, and `places`."""
        indices = [self.factors[name].index(names[name]) if name in names else 0 for name in FACTORS]
        numbers = np.concatenate([indices, places.ravel()])
        if np.array_equal(numbers, self._numbers):
            return
        self._varied.apply(names, places.reshape(MAX_DISTRACTORS, 3))
        if "layout" in self.factors:
            self.set_layout(names["layout"])
        self.variation, self._numbers = names, numbers

    def _refresh(self, data: mujoco.MjData) -> None:
        # Not mj_forward: that would also write the solver's warm start, which belongs to the saved state.
        mujoco.mj_kinematics(self.model, data)
        mujoco.mj_comPos(self.model, data)
        mujoco.mj_camlight(self.model, data)
