"""Pose algebra of the robot's gripper, batched in torch.

An action is the difference of two poses, and a rollout needs the poses that its actions lead to. Rotations do not
add: this file holds the one place where Euler angles become matrices and come back, so that recorded actions, the
world model's rollout and the environments agree on what an action means.

A pose (7) is xyz [m], extrinsic xyz Euler angles [rad] and the gripper, 0 open to 1 closed. An action (7) is the
displacement of the three. States of any other size, such as places in a plane (2), have no rotation: they just add.
Leading dimensions are free and broadcast; float32 and float64 keep their precision.

Letters: P numbers of a pose.
"""

from __future__ import annotations

import torch
from torch import Tensor

POSE_DIM = 7


def euler_to_matrix(angles: Tensor) -> Tensor:
    """Turn extrinsic xyz Euler angles into rotation matrices, R = Rz Ry Rx.

    Args:
        angles: turns about the fixed x, y and z axes in this order, (..., 3) [rad].

    Returns:
        Rotation matrices, (..., 3, 3).

    Raises:
        ValueError: if the last dimension is not 3.
    """
    if angles.shape[-1:] != (3,):
        raise ValueError(f"angles must have the shape (..., 3), got {tuple(angles.shape)}")
    (sx, sy, sz), (cx, cy, cz) = angles.sin().unbind(-1), angles.cos().unbind(-1)
    entries = [
        cz * cy,
        cz * sy * sx - sz * cx,
        cz * sy * cx + sz * sx,
        sz * cy,
        sz * sy * sx + cz * cx,
        sz * sy * cx - cz * sx,
        -sy,
        cy * sx,
        cy * cx,
    ]
    return torch.stack(entries, dim=-1).unflatten(-1, (3, 3))


def matrix_to_euler(matrix: Tensor) -> Tensor:
    """Turn rotation matrices into extrinsic xyz Euler angles.

    At gimbal lock (y angle of +-pi/2) only one combination of the x and z angles is determined. The x angle is
    therefore read after the z turn has been undone: whatever z angle rounding leaves, the returned angles rebuild the
    given matrix.

    Args:
        matrix: rotation matrices, (..., 3, 3).

    Returns:
        Angles, (..., 3) [rad]; x and z within +-pi, y within +-pi/2.

    Raises:
        ValueError: if the last two dimensions are not (3, 3).
    """
    if matrix.shape[-2:] != (3, 3):
        raise ValueError(f"matrix must have the shape (..., 3, 3), got {tuple(matrix.shape)}")
    first, second, third = matrix.unbind(-2)
    z = torch.atan2(second[..., 0], first[..., 0])
    sz, cz = z.sin().unsqueeze(-1), z.cos().unsqueeze(-1)
    turned_first = cz * first + sz * second  # rows of Rz^T R = Ry Rx
    turned_second = cz * second - sz * first
    y = torch.atan2(-third[..., 0], turned_first[..., 0])
    x = torch.atan2(-turned_second[..., 2], turned_second[..., 1])
    return torch.stack([x, y, z], dim=-1)


def pose_difference(pose: Tensor, next_pose: Tensor) -> Tensor:
    """Give the action that leads from one pose to another.

    Args:
        pose: poses before the step, (..., P).
        next_pose: poses after the step, (..., P).

    Returns:
        Actions, (..., P). P = 7: dxyz [m], Euler angles of R_next R_now^T [rad], change of the gripper. Else the
        difference.

    Raises:
        ValueError: if the two have not the same last dimension.

    Source: V-JEPA 2 (arXiv 2506.09985), section 3.1, the DROID action convention.
    """
    _check_last_dim("next_pose", next_pose, pose)
    moved = next_pose - pose
    if pose.shape[-1] != POSE_DIM:
        return moved
    turn = euler_to_matrix(next_pose[..., 3:6]) @ euler_to_matrix(pose[..., 3:6]).mT
    return torch.cat([moved[..., :3], matrix_to_euler(turn), moved[..., 6:]], dim=-1)


def integrate_pose(pose: Tensor, action: Tensor) -> Tensor:
    """Give the pose that an action leads to: the inverse of `pose_difference`.

    Args:
        pose: poses before the step, (..., P).
        action: displacements, (..., P); for P = 7 dxyz [m], turn as Euler angles [rad], change of the gripper.

    Returns:
        Poses after the step, (..., P). P = 7: R_next = R_action R_now, the gripper clipped to 0..1. Else the sum.

    Raises:
        ValueError: if the two have not the same last dimension.

    Source: V-JEPA 2 (arXiv 2506.09985), section 3.2, poses in the planner's rollout.
    """
    _check_last_dim("action", action, pose)
    moved = pose + action
    if pose.shape[-1] != POSE_DIM:
        return moved
    turned = euler_to_matrix(action[..., 3:6]) @ euler_to_matrix(pose[..., 3:6])
    return torch.cat([moved[..., :3], matrix_to_euler(turned), moved[..., 6:].clamp(0.0, 1.0)], dim=-1)


def _check_last_dim(name: str, value: Tensor, pose: Tensor) -> None:
    if value.shape[-1:] != pose.shape[-1:]:
        raise ValueError(
            f"{name} must have the shape (..., {pose.shape[-1]}) of the pose {tuple(pose.shape)}, "
            f"got {tuple(value.shape)}"
        )
