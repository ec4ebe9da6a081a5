"""Forward kinematics: from recorded joints to the pose of the gripper.

Why this file exists: many robots record only their joints, while states and actions are poses of the gripper. A model
of the robot (MJCF or URDF) knows the way from one to the other.

Letters: T frames, J joints.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vjepa_wm.data.trajectories.layout import TrajectoryError


class ForwardKinematics:
    """Pose of a robot model's tool as a function of its joints.

    Attributes:
        joints: names of the joints, in the order of the numbers that are given.
    """

    def __init__(self, path: Path, tool: str | None, joints: Sequence[str] = ()):
        """Load the model.

        Args:
            path: MJCF or URDF file; what it refers to must be there too.
            tool: site or body at the gripper.
            joints: joints in the order of the numbers; empty: all that turn or slide, in the model's order.

        Raises:
            FileNotFoundError: if there is no such file.
            TrajectoryError: if it cannot be loaded, or has no such joint, site or body.
        """
        import mujoco  # loaded here: most data sets need no kinematics

        if not path.is_file():
            raise FileNotFoundError(f"robot model does not exist: {path}")
        try:
            self._model = mujoco.MjModel.from_xml_path(str(path))
        except ValueError as error:
            raise TrajectoryError(f"cannot load the robot model {path}: {error}") from error
        self._data = mujoco.MjData(self._model)
        self._kinematics = mujoco.mj_kinematics
        kinds = (int(mujoco.mjtJoint.mjJNT_HINGE), int(mujoco.mjtJoint.mjJNT_SLIDE))
        known = [self._model.joint(k) for k in range(self._model.njnt) if int(self._model.jnt_type[k]) in kinds]
        self.joints = tuple(joints) or tuple(joint.name for joint in known)
        _check_names(self.joints, [joint.name for joint in known], f"joint that turns or slides in {path}")
        chosen = [self._model.joint(name) for name in self.joints]
        self._places = np.array([joint.qposadr[0] for joint in chosen])
        self._turns = np.array([int(joint.type[0]) == kinds[0] for joint in chosen])
        sites = [self._model.site(k).name for k in range(self._model.nsite)]
        bodies = [self._model.body(k).name for k in range(self._model.nbody)]
        _check_names([tool or ""], [*sites, *bodies], f"site or body in {path} for the tool")
        self._tool = self._data.site(tool) if tool in sites else self._data.body(tool)

    def __call__(self, joints: np.ndarray, *, degrees: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Compute where the tool is.

        Args:
            joints: (T, J), joints that turn in [rad], those that slide in [m].
            degrees: whether those that turn are in degrees.

        Returns:
            Positions in the model's frame [m], (T, 3), and rotation matrices, (T, 3, 3), both float64.
        """
        joints = np.where(self._turns & degrees, np.deg2rad(joints), joints)
        positions, rotations = np.empty((len(joints), 3)), np.empty((len(joints), 3, 3))
        for k, row in enumerate(joints):
            self._data.qpos[self._places] = row
            self._kinematics(self._model, self._data)
            positions[k], rotations[k] = self._tool.xpos, self._tool.xmat.reshape(3, 3)
        return positions, rotations


def _check_names(names: Sequence[str], known: Sequence[str], what: str) -> None:
    for name in names:
        if name not in known:
            raise TrajectoryError(f"no {what} is called {name!r}; there are {', '.join(filter(None, known))}")
