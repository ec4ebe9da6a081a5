"""What is read of a trajectory data set: the options that the stages share.

Why this file exists: every robot records other columns at another rate, and a world model wants one kind of state and
action. `dataset` reads by these options, `columns` chooses the numbers, `poses` converts them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vjepa_wm.data.trajectories.layout import ACTION, STATE

PoseForm = Literal[
    "as_is",
    "euler",
    "quaternion_xyzw",
    "quaternion_wxyz",
    "rotation_vector",
    "columns_6d",
    "rows_6d",
    "matrix",
    "joints",
]
"""Form of a state: left as it is (seven numbers are then taken for x, y, z, Euler angles, gripper); x, y, z and a
rotation (Euler angles about the fixed x, y and z axes in this order; a quaternion with its real part last or first;
axis times angle; the first two columns or rows of the rotation matrix; all of it, row by row); or joints of a robot
model. After these there may be one more number, the gripper's."""
ActionSource = Literal["recorded", "from_states"]


@dataclass(frozen=True, kw_only=True)
class TrajectoryOptions:
    """What is read of a LeRobot v3 dataset, and how its numbers become states and actions."""

    camera: str | None = None
    """Camera, by its column's name or what follows observation.images. in it; none: the only one there is."""
    episodes: tuple[int, ...] | None = None
    """Numbers of the episodes to use; none: all."""
    fps: float | None = None
    """Frames and actions per second, at most those recorded; none: those. Each frame is the nearest in time."""
    state: tuple[str, ...] = (STATE,)
    """Columns that are the state, end to end; of a column, some numbers by name or place: column:x,y,6."""
    action: tuple[str, ...] = (ACTION,)
    """Columns that are the recorded action, chosen as the state's."""
    actions: ActionSource | None = None
    """Take actions as recorded or from how states change; none: recorded, if rate and states stay as recorded too."""
    pose: PoseForm = "as_is"
    """What the state holds (and after it the gripper): it becomes x, y, z, Euler angles, gripper unless it is as_is."""
    degrees: bool = False
    """Whether angles (euler, rotation_vector, joints that turn) are recorded in degrees, not radians."""
    gripper_open: float = 0.0
    """What the gripper's number is when it is open."""
    gripper_closed: float = 1.0
    """What it is when closed."""
    robot: Path | None = None
    """Model of the robot (MJCF or URDF), for joints."""
    tool: str | None = None
    """Site or body of the model whose pose is the state's, for joints."""
    joints: tuple[str, ...] = ()
    """Joints of the model in the order of the state's numbers, for joints; none: all that turn or slide."""

    def __post_init__(self) -> None:
        if self.fps is not None and not self.fps > 0:
            raise ValueError(f"fps must be positive or none, got {self.fps}")
        if self.episodes is not None and (not self.episodes or min(self.episodes) < 0):
            raise ValueError(f"episodes must be numbers from 0 on, at least one, got {self.episodes}")
        if not self.state:
            raise ValueError("state must name at least one column, got none")
        if not self.action and self.actions != "from_states":
            raise ValueError("action must name at least one column unless actions are from_states, got none")
        if self.gripper_open == self.gripper_closed:
            raise ValueError(f"gripper_open and gripper_closed must differ, got {self.gripper_open} for both")
        if (self.pose == "joints") != (self.robot is not None):
            raise ValueError(f"robot must be given with pose joints and only then, got pose {self.pose}, {self.robot}")
        if self.pose != "joints" and (self.tool or self.joints):
            raise ValueError(f"tool and joints must be left out unless pose is joints, got {self.tool}, {self.joints}")
        if self.degrees and self.pose not in ("euler", "rotation_vector", "joints"):
            raise ValueError(f"degrees must go with pose euler, rotation_vector or joints, got pose {self.pose}")
        if self.pose == "as_is" and (self.gripper_open, self.gripper_closed) != (0.0, 1.0):
            raise ValueError("gripper_open and gripper_closed must go with a pose, which as_is leaves unchanged")
