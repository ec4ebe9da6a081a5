"""State and pictures of an environment that MuJoCo simulates, whoever wrote it.

The pictures are drawn from a second model, made from the same file and dressed for the purpose: cameras can be added,
marks hidden and shadows left out, while the model that is simulated stays untouched. The environment's own renderer is
never used: gymnasium's gives black pictures as soon as a process has two of them.

Letter: S image size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import gymnasium
import mujoco
import numpy as np

from vjepa_wm.envs.adapters.foreign_env import ForeignEnv, ForeignSpec, without_wrappers
from vjepa_wm.envs.goal_env import GoalEnvConfig
from vjepa_wm.envs.picture_names import picture_names
from vjepa_wm.envs.render.renderers import make_renderer
from vjepa_wm.envs.variation.value_types import Values

STATE_KIND = int(mujoco.mjtState.mjSTATE_INTEGRATION)
# What environments read between steps, partly to decide where to go next. After a step MuJoCo has it as it was one
# substep earlier, so it does not follow from the state and is saved with it.
READ_BETWEEN_STEPS = (
    *("xpos", "xquat", "xmat", "xipos", "ximat", "geom_xpos", "geom_xmat", "site_xpos", "site_xmat"),
    *("subtree_com", "cvel", "sensordata"),
)

Dress = Callable[[mujoco.MjSpec], None]
"""Changes what the pictures show, not what is simulated: `add_camera`, `hide`, colours, lights."""


class Memory(NamedTuple):
    """What an environment remembers in Python attributes that the coming steps depend on."""

    read: Callable[[gymnasium.Env], np.ndarray]
    """Returns it as a vector, always of the same length."""
    write: Callable[[gymnasium.Env, np.ndarray], None]
    """Restores it."""


class MujocoSimulation:
    """A `vjepa_wm.envs.simulation.Simulation` of an environment with the attributes `model` and `data`."""

    def __init__(
        self,
        env: gymnasium.Env,
        config: GoalEnvConfig,
        *,
        xml: Path | str | None = None,
        dress: Dress | None = None,
        memory: Memory | None = None,
    ) -> None:
        """Make the model that is drawn; the environment is reset.

        Args:
            env: environment without wrappers.
            config: size of the pictures, cameras, renderer.
            xml: MuJoCo's file of the environment; None: its attribute `fullpath`.
            dress: gets the file's content before it is compiled; its sites, which are marks, are hidden already, and
                shadows and smoothed edges, which take most of the time, switched off.
            memory: what the coming steps depend on beside MuJoCo's state; None: nothing.

        Raises:
            ValueError: if the environment has no such attributes, or the file is of another model or lacks a camera.
            RuntimeError: if this machine cannot render as asked.
        """
        path = xml or getattr(env, "fullpath", None)
        lacking = [name for name in ("model", "data") if not hasattr(env, name)]
        if lacking or path is None:
            raise ValueError(f"env must have {', '.join(lacking) or 'fullpath (or give xml)'}, got {env}")
        self._env = cast(Any, env)  # gymnasium does not know of its `model` and `data`
        self._memory = memory
        env.reset(seed=0)  # makes an environment that was only just made ready to step and to be restored into
        self._view = _make_view(Path(path), dress)
        self._view_data = mujoco.MjData(self._view)
        self._physics_size = mujoco.mj_stateSize(self._env.model, STATE_KIND)
        if self._physics_size != mujoco.mj_stateSize(self._view, STATE_KIND):
            raise ValueError(f"xml must be the file the environment simulates, got {path}, a model of another size")
        known = [self._view.camera(k).name for k in range(self._view.ncam)]
        if not config.cameras or set(config.cameras) - set(known):
            raise ValueError(
                f"cameras must be some of {', '.join(known) or 'none at all, dress can add some'}, got {config.cameras}"
            )
        self.cameras, self.known_cameras = config.cameras, tuple(known)
        self.factors: dict[str, Values] = {}
        self.variation: dict[str, str] = {}
        self.state_size = self.get_state().size
        self._renderer = make_renderer(self._view, config.image_size, config.renderer)

    def vary(self, names: Mapping[str, str], rng: np.random.Generator) -> None:
        """Never asked for: there are no factors."""
        raise NotImplementedError

    def pictures(self) -> dict[str, np.ndarray]:
        """Return what the cameras see, (S, S, 3) uint8: the first's as `image`, another's as `image_<camera>`."""
        self._show()
        names = picture_names(self.cameras)
        return {name: self._renderer.render(self._view_data, camera) for camera, name in names.items()}

    def picture(self) -> np.ndarray:
        """Return what the first camera sees, (S, S, 3) uint8."""
        self._show()
        return self._renderer.render(self._view_data, self.cameras[0])

    def get_state(self) -> np.ndarray:
        """Return MuJoCo's state, what is read between steps, and the memory, (state_size,) float64."""
        read = [getattr(self._env.data, name).ravel() for name in READ_BETWEEN_STEPS]
        remembered = [] if self._memory is None else [np.asarray(self._memory.read(self._env), np.float64)]
        return np.concatenate([self._physics(), *read, *remembered])

    def set_state(self, state: np.ndarray) -> None:
        """Restore exactly what `get_state` returned, here or in another process.

        Args:
            state: vector of `get_state`, (state_size,).
        """
        model, data = self._env.model, self._env.data
        physics, rest = np.split(state, [self._physics_size])
        mujoco.mj_setState(model, data, physics, STATE_KIND)
        mujoco.mj_forward(model, data)
        mujoco.mj_setState(model, data, physics, STATE_KIND)  # again, since mj_forward has changed the warm start
        for name in READ_BETWEEN_STEPS:
            array = getattr(data, name)
            values, rest = np.split(rest, [array.size])
            array[:] = values.reshape(array.shape)
        if self._memory is not None:
            self._memory.write(self._env, rest)

    def close(self) -> None:
        """Free the renderer."""
        self._renderer.close()

    def _physics(self) -> np.ndarray:
        physics = np.empty(self._physics_size)
        mujoco.mj_getState(self._env.model, self._env.data, physics, STATE_KIND)
        return physics

    def _show(self) -> None:
        """Bring the model that is drawn to the state of the one that is simulated."""
        view, data = self._view, self._view_data
        mujoco.mj_setState(view, data, self._physics(), STATE_KIND)
        mujoco.mj_kinematics(view, data)
        mujoco.mj_comPos(view, data)
        mujoco.mj_camlight(view, data)
        mujoco.mj_tendon(view, data)


def adapt_mujoco(
    env: gymnasium.Env,
    spec: ForeignSpec,
    config: GoalEnvConfig | None = None,
    *,
    xml: Path | str | None = None,
    dress: Dress | None = None,
    memory: Memory | None = None,
) -> ForeignEnv:
    """Make an environment that MuJoCo simulates into one with goal pictures.

    Args:
        env: as `gymnasium.make` returns it, with `model` and `data`; nothing else may use it any more.
        spec: what to know about it.
        config: options; None: the defaults. The cameras are those of the XML and those that `dress` adds.
        xml: MuJoCo's file of the environment; None: its attribute `fullpath`, which most environments have.
        dress: changes how the pictures look: adds cameras, hides, colours; see `MujocoSimulation`.
        memory: what the coming steps depend on beside MuJoCo's state; None: nothing.

    Returns:
        The environment.

    Raises:
        ValueError: if the environment, its file or the cameras are not as they must be.
        RuntimeError: if this machine cannot render as asked.
    """
    env, config = without_wrappers(env), config or GoalEnvConfig()
    return ForeignEnv(env, MujocoSimulation(env, config, xml=xml, dress=dress, memory=memory), spec, config)


def add_camera(
    spec: mujoco.MjSpec,
    name: str,
    *,
    position: tuple[float, float, float],
    target: tuple[float, float, float],
    fovy: float,
) -> None:
    """Add a fixed camera, for a `dress`.

    Args:
        spec: what to change.
        name: of the camera.
        position: where it is, x, y, z [m].
        target: where it looks, x, y, z [m].
        fovy: angle it sees [degrees].
    """
    back = np.subtract(position, target)
    back = back / np.linalg.norm(back)
    # Pictures have z upwards; looking straight down, y.
    up = np.array([0.0, 0.0, 1.0] if abs(back[2]) < 0.999 else [0.0, 1.0, 0.0])
    right = np.cross(up, back) / np.linalg.norm(np.cross(up, back))
    quaternion = np.empty(4)
    mujoco.mju_mat2Quat(quaternion, np.stack([right, np.cross(back, right), back], axis=1).ravel())
    spec.worldbody.add_camera(name=name, pos=position, quat=quaternion, fovy=fovy)


def hide(spec: mujoco.MjSpec, *names: str) -> None:
    """Leave geoms out of the pictures, for a `dress`.

    Args:
        spec: what to change.
        names: of the geoms.
    """
    for name in names:
        spec.geom(name).rgba[3] = 0.0


def _make_view(path: Path, dress: Dress | None) -> mujoco.MjModel:
    spec = mujoco.MjSpec.from_file(str(path))
    spec.visual.quality.shadowsize = 0
    spec.visual.quality.offsamples = 0
    for site in spec.sites:
        site.rgba[3] = 0.0
    if dress is not None:
        dress(spec)
    return spec.compile()
