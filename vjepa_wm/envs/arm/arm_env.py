"""What the tasks of the arm have in common: DROID's states and actions, and the check of given poses.

P = 7 entries of a pose.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from gymnasium import spaces

from vjepa_wm.envs.arm.arm import Arm
from vjepa_wm.envs.arm.workspace import ACTION_HIGH, CONTROL_HZ, Workspace
from vjepa_wm.envs.goal_env import GoalEnv, GoalEnvConfig

STATE_LOW = np.array([-1.5, -1.5, -1.5, -np.pi, -np.pi, -np.pi, -0.1], dtype=np.float32)
STATE_HIGH = np.array([1.5, 1.5, 1.5, np.pi, np.pi, np.pi, 1.1], dtype=np.float32)
Placed = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Tool and object at the start, tool and object at the goal."""
# A measured pose may lie this far outside the workspace and still be asked for [m, rad, gripper].
POSE_SLACK = 0.01


class ArmEnv(GoalEnv):
    """A task of a Franka-like arm.

    Positions are in the frame of the robot's base: x forward, y left, z up, the table at z = 0. Angles are extrinsic
    xyz Euler angles of the tool frame, whose z axis points from the fingers to the wrist: straight down, all are zero.

    Action, float32 (7,): displacement per control step. The arm heads for the measured pose plus the displacement,
    clipped to the workspace; an action outside the box is clipped to it.

    | entry | meaning                                                       | range   | unit |
    | ----- | ------------------------------------------------------------- | ------- | ---- |
    | 0-2   | displacement of the tool centre point along x, y, z           | ± 0.075 | m    |
    | 3-5   | rotation R_next R_now^T about fixed axes, as xyz Euler angles | ± 0.2   | rad  |
    | 6     | change of the gripper, + closes                               | ± 1     |      |

    Attributes:
        start_heights: least and largest z of sampled starts [m].
        start_gripper: the gripper at sampled starts, 0 open .. 1 closed.
    """

    metadata = GoalEnv.metadata | {"render_fps": CONTROL_HZ}
    start_heights: ClassVar[tuple[float, float]]
    start_gripper: ClassVar[float] = 0.0
    robot_type = "franka"
    control_hz = CONTROL_HZ
    state_names = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")
    action_names = ("dx", "dy", "dz", "droll", "dpitch", "dyaw", "dgripper")

    def __init__(self, config: GoalEnvConfig, arm: Arm) -> None:
        """Declare the spaces.

        Args:
            config: options.
            arm: the simulated scene.
        """
        super().__init__(
            config,
            arm,
            action_space=spaces.Box(-ACTION_HIGH, ACTION_HIGH),
            state_space=spaces.Box(STATE_LOW, STATE_HIGH),
        )
        self._arm = arm

    @property
    def workspace(self) -> Workspace:
        """Where the tool may be."""
        return self._arm.workspace

    def sample_pose(self, rng: np.random.Generator) -> np.ndarray:
        """Sample a start of the gripper: straight down, uniform in the workspace, at the task's heights.

        Args:
            rng: generator to draw from.

        Returns:
            State, (7,) float32.
        """
        low, high = self.workspace
        (lowest, highest), pose = self.start_heights, np.zeros(7, dtype=np.float32)
        pose[:3] = rng.uniform([*low[:2], lowest], [*high[:2], highest])
        pose[6] = self.start_gripper
        return pose

    def _move(self, action: np.ndarray) -> None:
        self._arm.move(action)

    def _state(self) -> np.ndarray:
        return self._arm.pose().astype(np.float32)


def check_pose(name: str, value: np.ndarray, workspace: Workspace) -> np.ndarray:
    """Return a pose of the tool as float64.

    Args:
        name: what it is, for the message.
        value: the pose, (P,).
        workspace: where it must lie.

    Raises:
        ValueError: if it is not 7 finite numbers in the workspace.
    """
    pose = np.asarray(value, dtype=np.float64)
    if pose.shape != (7,) or not np.isfinite(pose).all():
        raise ValueError(f"{name} must be a state of 7 finite numbers, got {pose.tolist()} of shape {pose.shape}")
    if (pose < workspace.low - POSE_SLACK).any() or (pose > workspace.high + POSE_SLACK).any():
        limits = f"{workspace.low.tolist()} .. {workspace.high.tolist()}"
        raise ValueError(f"{name} must lie in the workspace {limits}, got {pose.round(3).tolist()}")
    return pose
