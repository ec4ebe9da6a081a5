from __future__ import annotations

import math

import pytest
import torch

from vjepa_wm.models.pose import euler_to_matrix, integrate_pose, matrix_to_euler, pose_difference

TOLERANCE = {torch.float32: 3e-6, torch.float64: 1e-12}
DTYPES = pytest.mark.parametrize("dtype", list(TOLERANCE))


def turn_about(axis: int, angle: float) -> torch.Tensor:
    """Rodrigues' formula about one coordinate axis: I + sin(a) K + (1 - cos(a)) K K."""
    unit = torch.eye(3, dtype=torch.float64)[axis]
    cross = torch.linalg.cross(unit.expand(3, 3), torch.eye(3, dtype=torch.float64), dim=-1).T
    return torch.eye(3, dtype=torch.float64) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross


def random_poses(num: int, dtype: torch.dtype, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    unit = torch.rand(num, 7, generator=generator, dtype=torch.float64)
    low = torch.tensor([-1.0, -1.0, 0.0, -math.pi, -math.pi / 2, -math.pi, 0.0], dtype=torch.float64)
    high = torch.tensor([1.0, 1.0, 1.0, math.pi, math.pi / 2, math.pi, 1.0], dtype=torch.float64)
    return (low + unit * (high - low)).to(dtype)


def test_euler_to_matrix_turns_about_x_then_y_then_z_of_the_fixed_frame():
    x, y, z = 0.3, -1.1, 2.4
    expected = turn_about(2, z) @ turn_about(1, y) @ turn_about(0, x)
    torch.testing.assert_close(euler_to_matrix(torch.tensor([x, y, z], dtype=torch.float64)), expected)


def test_a_quarter_turn_about_z_moves_the_x_axis_to_the_y_axis():
    matrix = euler_to_matrix(torch.tensor([0.0, 0.0, math.pi / 2], dtype=torch.float64))
    axis_x, axis_y = torch.eye(3, dtype=torch.float64)[:2]
    torch.testing.assert_close(matrix @ axis_x, axis_y)


@DTYPES
def test_angles_come_back_from_the_matrix(dtype):
    angles = random_poses(1000, dtype)[:, 3:6] * 0.98  # away from the lock, where the angles are unique
    difference = matrix_to_euler(euler_to_matrix(angles)) - angles
    # the x and z angles lose 1 / cos(y) of the precision near the lock
    assert (difference.abs() * angles[:, 1:2].cos()).max() < TOLERANCE[dtype]


@DTYPES
@pytest.mark.parametrize("offset", [0.0, 1e-9, 1e-5, 1e-3])
def test_angles_at_gimbal_lock_rebuild_the_matrix(dtype, offset):
    angles = random_poses(200, torch.float64)[:, 3:6]
    angles[:100, 1], angles[100:, 1] = math.pi / 2 - offset, -math.pi / 2 + offset
    matrix = euler_to_matrix(angles).to(dtype)
    rebuilt = euler_to_matrix(matrix_to_euler(matrix))
    assert (rebuilt - matrix).abs().max() < TOLERANCE[dtype]


@DTYPES
def test_integrate_pose_inverts_pose_difference(dtype):
    pose, next_pose = random_poses(1000, dtype, seed=1), random_poses(1000, dtype, seed=2)
    reached = integrate_pose(pose, pose_difference(pose, next_pose))
    assert reached.dtype == dtype
    keep = [0, 1, 2, 6]
    torch.testing.assert_close(reached[:, keep], next_pose[:, keep], atol=TOLERANCE[dtype], rtol=0)
    # the same rotation can have two sets of angles, so rotations are compared as matrices
    turns = euler_to_matrix(reached[:, 3:6]) - euler_to_matrix(next_pose[:, 3:6])
    assert turns.abs().max() < TOLERANCE[dtype]


def test_pose_difference_inverts_integrate_pose_for_small_actions():
    pose = random_poses(500, torch.float64, seed=3)
    pose[:, 6] = 0.5
    action = 0.2 * (random_poses(500, torch.float64, seed=4) - 0.5).clamp(-1, 1)
    torch.testing.assert_close(pose_difference(pose, integrate_pose(pose, action)), action, atol=1e-12, rtol=0)


def test_the_turn_is_given_in_the_base_frame():
    pose = torch.zeros(7, dtype=torch.float64)
    pose[3:6] = torch.tensor([math.pi, 0.0, 0.7])
    action = torch.zeros(7, dtype=torch.float64)
    action[5] = 0.2
    expected = turn_about(2, 0.2) @ euler_to_matrix(pose[3:6])
    torch.testing.assert_close(euler_to_matrix(integrate_pose(pose, action)[3:6]), expected)


def test_crossing_pi_gives_the_short_turn():
    pose, next_pose = torch.zeros(7, dtype=torch.float64), torch.zeros(7, dtype=torch.float64)
    pose[3], next_pose[3] = math.pi - 0.01, -math.pi + 0.02
    expected = torch.tensor([0.03, 0.0, 0.0], dtype=torch.float64)
    torch.testing.assert_close(pose_difference(pose, next_pose)[3:6], expected)


def test_the_gripper_stays_between_open_and_closed():
    pose = torch.tensor([[0.0] * 6 + [0.4]]).expand(3, 7)
    action = torch.tensor([[0.0] * 6 + [0.9], [0.0] * 6 + [-0.9], [0.0] * 6 + [0.25]])
    torch.testing.assert_close(integrate_pose(pose, action)[:, 6], torch.tensor([1.0, 0.0, 0.65]))


def test_leading_dimensions_broadcast():
    pose, action = random_poses(1, torch.float32)[0], random_poses(12, torch.float32).reshape(3, 4, 7)
    reached = integrate_pose(pose, action)
    assert reached.shape == (3, 4, 7)
    torch.testing.assert_close(reached[2, 1], integrate_pose(pose, action[2, 1]))


def test_places_in_a_plane_just_add():
    place, action = torch.tensor([[1.0, -2.0], [3.0, 0.5]]), torch.tensor([0.25, 4.0])
    assert integrate_pose(place, action).tolist() == [[1.25, 2.0], [3.25, 4.5]]
    assert torch.equal(pose_difference(place, integrate_pose(place, action)), action.expand(2, 2))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: integrate_pose(torch.zeros(7), torch.zeros(2, 6)), r"action must have the shape .* got \(2, 6\)"),
        (
            lambda: pose_difference(torch.zeros(3), torch.zeros(7)),
            r"next_pose must have .* 3\) of .* got \(7,\)",
        ),
        (lambda: euler_to_matrix(torch.zeros(4)), r"angles must have the shape .* got \(4,\)"),
        (lambda: matrix_to_euler(torch.zeros(3)), r"matrix must have the shape .* got \(3,\)"),
    ],
)
def test_wrong_shapes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
