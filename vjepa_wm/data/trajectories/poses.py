"""Recorded numbers to DROID's states and actions.

Why this file exists: a world model that plans must know what its actions do to the state. So poses in any form become
x, y, z [m], Euler angles about the fixed x, y and z axes [rad] and the gripper, 0 open to 1 closed, and actions become
the displacements that `vjepa_wm.models.pose` defines.

Letters: T frames, D numbers.

Source: V-JEPA 2 (arXiv 2506.09985), section 3.1, the DROID action convention.
"""

from __future__ import annotations

import numpy as np
import torch

from vjepa_wm.data.trajectories.kinematics import ForwardKinematics
from vjepa_wm.data.trajectories.layout import TrajectoryError
from vjepa_wm.data.trajectories.trajectory_options import PoseForm, TrajectoryOptions
from vjepa_wm.models.pose import euler_to_matrix, matrix_to_euler, pose_difference

ROTATION_SIZES: dict[PoseForm, int] = {
    "euler": 3,
    "quaternion_xyzw": 4,
    "quaternion_wxyz": 4,
    "rotation_vector": 3,
    "columns_6d": 6,
    "rows_6d": 6,
    "matrix": 9,
}
_TOLERANCE = 0.05  # rounding of float16 or of three digits is less, another form is far more


class PoseConverter:
    """Turns recorded numbers into states."""

    def __init__(self, options: TrajectoryOptions, num_numbers: int):
        """Prepare the conversion.

        Args:
            options: how the numbers are to be taken.
            num_numbers: how many there are, D.

        Raises:
            FileNotFoundError: if there is no such robot model.
            TrajectoryError: if the numbers are too few or too many, or the robot model cannot be used.
        """
        self._options = options
        self._kinematics: ForwardKinematics | None = None
        if options.pose == "as_is":
            return
        if options.robot is not None:
            self._kinematics = ForwardKinematics(options.robot, options.tool, options.joints)
            self._num_pose, what = len(self._kinematics.joints), f"joints {', '.join(self._kinematics.joints)}"
        else:
            self._num_pose, what = 3 + ROTATION_SIZES[options.pose], f"x, y, z, {options.pose}"
        self._has_gripper = num_numbers == self._num_pose + 1
        if num_numbers != self._num_pose and not self._has_gripper:
            raise TrajectoryError(
                f"state must hold {self._num_pose} numbers for pose {options.pose} ({what}), and one more for a "
                f"gripper, got {num_numbers} from {', '.join(options.state)}"
            )

    def __call__(self, numbers: np.ndarray) -> np.ndarray:
        """Convert the numbers of an episode.

        Args:
            numbers: float64, (T, D).

        Returns:
            States: poses (T, 7), or with `as_is` the numbers themselves; float64.

        Raises:
            TrajectoryError: if numbers are not a rotation in the form they are said to be.
        """
        options = self._options
        if options.pose == "as_is":
            return numbers
        pose, gripper = numbers[:, : self._num_pose], np.zeros((len(numbers), 1))
        if self._has_gripper:
            span = options.gripper_closed - options.gripper_open
            gripper = np.clip((numbers[:, self._num_pose :] - options.gripper_open) / span, 0.0, 1.0)
        if self._kinematics is not None:
            positions, matrices = self._kinematics(pose, degrees=options.degrees)
        else:
            positions, matrices = pose[:, :3], rotation_matrices(pose[:, 3:], options.pose, degrees=options.degrees)
        angles = matrix_to_euler(torch.as_tensor(matrices)).numpy()
        return np.concatenate([positions, angles, gripper], axis=1)


def displacements(states: np.ndarray) -> np.ndarray:
    """Compute the actions that lead from each state to the next.

    Args:
        states: (T, D), poses if D is 7.

    Returns:
        Actions, (T, D), the last one zeros; see `vjepa_wm.models.pose.pose_difference`.
    """
    poses = torch.as_tensor(states)
    moved = pose_difference(poses[:-1], poses[1:])
    return torch.cat([moved, torch.zeros_like(poses[:1])]).numpy()


def rotation_matrices(values: np.ndarray, form: PoseForm, *, degrees: bool = False) -> np.ndarray:
    """Turn rotations in any form into matrices.

    Args:
        values: float64, (T, numbers of the form).
        form: one of `ROTATION_SIZES`.
        degrees: whether angles are in degrees, not radians.

    Returns:
        Rotation matrices, float64 (T, 3, 3).

    Raises:
        TrajectoryError: if lengths or angles in the numbers are not those of a rotation in this form.
    """
    if form in ("euler", "rotation_vector"):
        values = np.deg2rad(values) if degrees else values
        if form == "euler":
            return euler_to_matrix(torch.as_tensor(values)).numpy()
        return _turn(values, np.linalg.norm(values, axis=1, keepdims=True))
    if form.startswith("quaternion"):
        _check_units(values[:, None], form)
        real, axis = (values[:, 3:], values[:, :3]) if form == "quaternion_xyzw" else (values[:, :1], values[:, 1:])
        return _turn(axis, 2.0 * np.arctan2(np.linalg.norm(axis, axis=1, keepdims=True), real))
    units = values.reshape(len(values), -1, 3)  # rows of the matrix, or its columns
    _check_units(units, form)
    first = units[:, 0] / np.linalg.norm(units[:, 0], axis=1, keepdims=True)
    second = units[:, 1] - first * (first * units[:, 1]).sum(axis=1, keepdims=True)
    second /= np.linalg.norm(second, axis=1, keepdims=True)
    matrices = np.stack([first, second, np.cross(first, second)], axis=1)
    if form == "matrix":
        _refuse(units - matrices, units, form)  # a mirror image has right angles too
    return matrices.swapaxes(1, 2) if form == "columns_6d" else matrices


def _turn(axis: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Rodrigues' formula for axes of any length (T, 3) and angles (T, 1) [rad]."""
    x, y, z = (axis / np.maximum(np.linalg.norm(axis, axis=1, keepdims=True), 1e-12)).T
    zero = np.zeros_like(x)
    cross = np.array([[zero, -z, y], [z, zero, -x], [-y, x, zero]]).transpose(2, 0, 1)
    angle = angle[..., None]
    return np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * cross @ cross


def _check_units(vectors: np.ndarray, form: PoseForm) -> None:
    """Refuse vectors (T, number, size) whose lengths are not 1 or that are not at right angles to each other."""
    _refuse(vectors @ vectors.swapaxes(1, 2) - np.eye(vectors.shape[1]), vectors, form)


def _refuse(errors: np.ndarray, vectors: np.ndarray, form: PoseForm) -> None:
    """Raise a TrajectoryError if an error (T, ...) is large, naming the vectors with the largest."""
    worst = np.abs(errors).max(axis=(1, 2))
    if worst.max() > _TOLERANCE:
        frame = int(worst.argmax())
        got = np.round(vectors[frame].ravel(), 3).tolist()
        raise TrajectoryError(f"the numbers of pose {form} must be a rotation, got {got} in frame {frame}")
