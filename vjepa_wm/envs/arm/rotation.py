"""Rotations as extrinsic xyz Euler angles, the convention of states and actions, for numpy arrays of one pose."""

from __future__ import annotations

from math import asin, atan2, cos, sin

import numpy as np


def matrix_from_euler(angles: np.ndarray) -> np.ndarray:
    """Return the rotation matrix of extrinsic xyz Euler angles: about x first, then y, then z, all in the fixed frame.

    Args:
        angles: roll, pitch, yaw, (3,) [rad].

    Returns:
        Rotation matrix, (3, 3) float64.
    """
    roll, pitch, yaw = (float(angle) for angle in angles)
    cr, sr, cp, sp, cy, sy = cos(roll), sin(roll), cos(pitch), sin(pitch), cos(yaw), sin(yaw)
    return np.array(
        [
            [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
            [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
            [-sp, cp * sr, cp * cr],
        ]
    )


def euler_from_matrix(matrix: np.ndarray) -> np.ndarray:
    """Return the extrinsic xyz Euler angles of a rotation matrix.

    Args:
        matrix: rotation matrix, (3, 3).

    Returns:
        Roll, pitch, yaw, (3,) float64 [rad]; roll and yaw in (-pi, pi], pitch in [-pi/2, pi/2].
    """
    pitch = asin(min(1.0, max(-1.0, -matrix[2, 0])))
    return np.array([atan2(matrix[2, 1], matrix[2, 2]), pitch, atan2(matrix[1, 0], matrix[0, 0])])


def compose(displacement: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """Turn an orientation by a rotation in the base frame: R_next = R_displacement R_now.

    Args:
        displacement: Euler angles of the rotation to apply, (3,) [rad].
        angles: Euler angles of the orientation now, (3,) [rad].

    Returns:
        Euler angles of the next orientation, (3,) float64 [rad].
    """
    return euler_from_matrix(matrix_from_euler(displacement) @ matrix_from_euler(angles))


def difference(goal: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """Return the rotation that turns one orientation into another: R_goal R_now^T, the inverse of `compose`.

    Args:
        goal: Euler angles to arrive at, (3,) [rad].
        angles: Euler angles of the orientation now, (3,) [rad].

    Returns:
        Euler angles of the displacement, (3,) float64 [rad].
    """
    return euler_from_matrix(matrix_from_euler(goal) @ matrix_from_euler(angles).T)
