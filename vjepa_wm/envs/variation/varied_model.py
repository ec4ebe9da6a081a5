"""Changes a compiled model into a variation of itself and back, so that an episode begins without a compilation.

What a scene must have for a factor: materials `table` (with it may be `wall`) and `object` (with it may be `mark`), a
light, a main camera that stands still, bodies `distractor_<name>`, and contact pairs with what no actuator drives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import mujoco
import numpy as np

from vjepa_wm.envs.variation.value_types import Colour, LightChange, Orbit, Values
from vjepa_wm.envs.variation.values import CAMERAS, DISTRACTORS, FRICTIONS, LIGHTS, MASSES, OBJECTS, TABLES

# What a variation changes of a model and of its headlight.
MODEL_FIELDS = (
    "mat_rgba", "light_dir", "light_diffuse", "cam_pos", "cam_quat", "body_pos", "body_quat",
    "pair_friction", "dof_damping", "dof_frictionloss",
    "body_mass", "body_inertia", "body_subtreemass", "body_invweight0", "dof_armature", "dof_M0", "dof_invweight0",
)  # fmt: skip
HEADLIGHT_FIELDS = ("ambient", "diffuse")


class VariedModel:
    """A model and how it was when it was compiled.

    Attributes:
        values: the values of each factor that the model has.
    """

    def __init__(self, model: mujoco.MjModel, camera: str) -> None:
        """Find what can be changed.

        Args:
            model: the scene, as compiled; it is changed in place later.
            camera: name of the main camera.
        """
        self._model = model
        self._original: list[tuple[np.ndarray, np.ndarray]] = []
        self._camera = model.camera(camera).id
        self._materials = {model.material(k).name: k for k in range(model.nmat)}
        driven = model.body_treeid[model.jnt_bodyid[model.actuator_trnid[:, 0]]]
        self._bodies = (model.body_treeid >= 0) & ~np.isin(model.body_treeid, driven)
        self._dofs = self._bodies[model.dof_bodyid]
        self.values: dict[str, Values] = {}
        if "table" in self._materials:
            self.values["table"] = TABLES
        if "object" in self._materials:
            self.values["object"] = OBJECTS
        self.values["light"] = LIGHTS
        if int(model.cam_bodyid[self._camera]) == 0:
            self.values["camera"] = CAMERAS
        if any(name.startswith("distractor_") for name in self._materials):
            self.values["distractors"] = DISTRACTORS
        if model.npair and self._bodies.any():
            self.values |= {"friction": FRICTIONS, "mass": MASSES}

    def apply(self, names: Mapping[str, str], places: np.ndarray) -> None:
        """Make the model another one; kinematics must be computed anew before the next picture.

        Args:
            names: of the value of each factor; those that the model does not have are left alone.
            places: of distractors that are shown: x, y [m] and yaw [rad], (MAX_DISTRACTORS, 3).
        """
        if not self._original:  # not kept before, since a scene may prepare its model after loading it
            arrays = [getattr(self._model, name) for name in MODEL_FIELDS]
            arrays += [getattr(self._model.vis.headlight, name) for name in HEADLIGHT_FIELDS]
            self._original = [(array, array.copy()) for array in arrays]
        for array, original in self._original:
            array[:] = original
        changes: dict[str, Callable[[Any], None]] = {
            "table": lambda colours: self._paint(("table", "wall"), colours),
            "object": lambda colours: self._paint(("object", "mark"), colours),
            "light": self._light,
            "camera": self._orbit,
            "distractors": lambda shown: self._place(shown, places),
            "friction": self._scale_friction,
            "mass": self._scale_mass,
        }
        for factor, change in changes.items():
            if factor in self.values and names[factor] != "default":
                change(self.values[factor][names[factor]])

    def _paint(self, materials: tuple[str, ...], colours: tuple[Colour, ...]) -> None:
        for material, colour in zip(materials, colours, strict=True):
            if material in self._materials:
                self._model.mat_rgba[self._materials[material], :3] = colour

    def _light(self, light: LightChange) -> None:
        if light.direction is not None:
            self._model.light_dir[:] = np.divide(light.direction, np.linalg.norm(light.direction))
        self._model.light_diffuse[:] *= light.light
        self._model.vis.headlight.ambient[:] *= light.surroundings
        self._model.vis.headlight.diffuse[:] *= light.surroundings

    def _orbit(self, orbit: Orbit) -> None:
        position, quaternion = self._model.cam_pos[self._camera], self._model.cam_quat[self._camera]
        axes = np.empty(9)
        mujoco.mju_quat2Mat(axes, quaternion)
        right = axes.reshape(3, 3)[:, 0]
        centre = self._model.geom("table").pos * [1.0, 1.0, 0.0]
        turn, rise, both, moved, turned = np.empty(4), np.empty(4), np.empty(4), np.empty(3), np.empty(4)
        mujoco.mju_axisAngle2Quat(turn, np.array([0.0, 0.0, 1.0]), np.radians(orbit.turn))
        mujoco.mju_axisAngle2Quat(rise, right, -np.radians(orbit.rise))
        mujoco.mju_mulQuat(both, turn, rise)
        mujoco.mju_rotVecQuat(moved, orbit.distance * (position - centre), both)
        mujoco.mju_mulQuat(turned, both, quaternion)
        position[:], quaternion[:] = centre + moved, turned

    def _place(self, shown: tuple[str, ...], places: np.ndarray) -> None:
        for name, (x, y, yaw) in zip(shown, places, strict=False):
            body = self._model.body(f"distractor_{name}").id
            self._model.body_pos[body, :2] = x, y
            self._model.body_quat[body] = np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)
            self._model.mat_rgba[self._materials[f"distractor_{name}"], 3] = 1.0

    def _scale_friction(self, scale: float) -> None:
        self._model.pair_friction[:] *= scale
        self._model.dof_damping[self._dofs] *= scale
        self._model.dof_frictionloss[self._dofs] *= scale

    def _scale_mass(self, scale: float) -> None:
        # Of whole trees, armature included, so that what follows from the masses is known without mj_setConst, which
        # would also change the arm's constants by rounding and the picture's depth range.
        for name in ("body_mass", "body_inertia", "body_subtreemass"):
            getattr(self._model, name)[self._bodies] *= scale
        for name in ("dof_armature", "dof_M0"):
            getattr(self._model, name)[self._dofs] *= scale
        self._model.body_invweight0[self._bodies] /= scale
        self._model.dof_invweight0[self._dofs] /= scale
