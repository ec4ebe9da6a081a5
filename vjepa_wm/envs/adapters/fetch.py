"""Fetch tasks of gymnasium-robotics with goal pictures; needs the extra `robotics` (MuJoCo below 3.12).

An arm of seven joints on a table. Starts and motions are its own; what is added are goals that can be seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from vjepa_wm.envs.adapters.foreign_env import ForeignEnv, ForeignSpec, foreign_task
from vjepa_wm.envs.adapters.robotics import RoboticsEnv, make_robotics
from vjepa_wm.envs.goal_env import GoalEnvConfig
from vjepa_wm.envs.render.back_end import choose_renderer

if TYPE_CHECKING:
    import mujoco

FetchName = Literal["FetchReach-v4", "FetchPush-v4", "FetchPickAndPlace-v4"]

SUCCESS_RADIUS = 0.05  # [m]
METRES_PER_ACTION = 0.05  # how far an action of 1 asks the gripper to go
OPEN, CLOSED = 1.0, -1.0
BESIDE = 0.06  # from the block's centre to the gripper's, pushing [m]
ABOVE = np.array([0.0, 0.0, 0.12])  # from the block to where the gripper comes down from [m]
FRONT, TABLE = (1.75, -0.05, 1.25), (1.33, 0.75, 0.5)  # the main camera and where it looks [m]
HIDING = 0.6  # a gripper that pushed the block away from the camera, to this cosine, hides it


def make_fetch(name: FetchName, *, repeat: int = 5, **options: Any) -> ForeignEnv:
    """Make a Fetch task with goal pictures.

    | task                 | object | goal state, at rest                                                             |
    | -------------------- | ------ | ------------------------------------------------------------------------------- |
    | FetchReach-v4        |        | gripper anywhere within 15 cm of its start along each axis                      |
    | FetchPush-v4         | block  | block within 15 cm of the start's middle along x and y; the gripper where it is |
    |                      |        | after pushing the block there from its start, unless it hides the block there   |
    | FetchPickAndPlace-v4 | block  | the same place or up to 30 cm above it; the gripper holds the block             |

    | entry  | meaning                                                          | range | unit                 |
    | ------ | ---------------------------------------------------------------- | ----- | -------------------- |
    | action | 0-2: displacement of the gripper along x, y, z                   | ± 1   | 3.2 cm times repeat  |
    |        | 3: change of the opening, + opens; no effect but in PickAndPlace | ± 1   | as the environment's |
    | state  | 0-2: x, y, z of the gripper; 3: distance between the fingers     |       | m                    |
    | object | x, y, z of the block                                             |       | m                    |

    An action asks the gripper to go 5 cm in each of the environment's steps; 3.2 cm is what it does (measured).
    Success: within 5 cm (gripper of FetchReach, else block). A sampled goal is 10 cm or more from the start.

    Args:
        name: the environment.
        repeat: how many of the environment's steps, of which it makes 25 a second, an action is for.
        options: fields of `GoalEnvConfig`. Cameras are `front`, the main one, `left`, and the environment's own, as
            `gripper_camera_rgb`.

    Returns:
        The environment.

    Raises:
        ModuleNotFoundError: if the extra is not installed.
        ValueError: if the name is unknown or an option is out of its range.
        RuntimeError: if MuJoCo is too new for gymnasium-robotics, or this machine cannot render as asked.
    """
    if name not in get_args(FetchName):
        raise ValueError(f"name must be one of {', '.join(get_args(FetchName))}, got {name!r}")
    if repeat < 1 or 25 % repeat:
        raise ValueError(f"repeat must divide 25, the environment's steps per second, got {repeat}")
    config = GoalEnvConfig(**options | {"renderer": choose_renderer(options.get("renderer", "auto"))})
    # Imported here because importing mujoco fixes the library it renders with.
    import mujoco

    from vjepa_wm.envs.adapters.mujoco_simulation import adapt_mujoco

    if tuple(int(part) for part in mujoco.__version__.split(".")[:2]) >= (3, 12):
        raise RuntimeError(
            f"Fetch tasks need MuJoCo below 3.12, got {mujoco.__version__}; the extra vjepa_wm[robotics] asks for it"
        )
    return adapt_mujoco(make_robotics(name), _spec(name, repeat), config, dress=_dress)


def _spec(name: FetchName, repeat: int) -> ForeignSpec:
    has_object = name != "FetchReach-v4"
    return ForeignSpec(
        control_hz=25 // repeat,
        repeat=repeat,
        state_names=("x", "y", "z", "gripper"),
        action_names=("x", "y", "z", "gripper"),
        read_state=_read_state,
        object_names=("object_x", "object_y", "object_z") if has_object else (),
        read_object=_block if has_object else None,
        enter_goal={"FetchReach-v4": _reach_goal, "FetchPush-v4": _push_goal, "FetchPickAndPlace-v4": _hold_goal}[name],
        distance=_object_distance if has_object else _gripper_distance,
        success_radius=SUCCESS_RADIUS,
        min_distance=0.1,
    )


def _dress(spec: mujoco.MjSpec) -> None:
    from vjepa_wm.envs.adapters.mujoco_simulation import add_camera

    # The cross that drives the gripper is not part of the robot.
    for geom in spec.body("robot0:mocap").geoms:
        geom.rgba[3] = 0.0
    # The block is black, as the inner sides of the gripper are, which hides it in small pictures.
    if spec.geom("object0") is not None:
        spec.geom("object0").material, spec.geom("object0").rgba = "", [0.9, 0.3, 0.1, 1.0]
    add_camera(spec, "front", position=FRONT, target=TABLE, fovy=36.0)
    add_camera(spec, "left", position=(1.9, 1.35, 1.2), target=TABLE, fovy=36.0)


def _gripper(env: RoboticsEnv) -> np.ndarray:
    return env.data.site("robot0:grip").xpos.copy()


def _block(env: RoboticsEnv) -> np.ndarray:
    return env.data.site("object0").xpos.copy()


def _read_state(env: RoboticsEnv) -> np.ndarray:
    fingers = [env.data.joint(f"robot0:{side}_gripper_finger_joint").qpos[0] for side in "lr"]
    return np.append(_gripper(env), sum(fingers))


def _gripper_distance(now: Mapping[str, np.ndarray], goal: Mapping[str, np.ndarray]) -> float:
    return float(np.linalg.norm(now["state"][:3] - goal["state"][:3]))


def _object_distance(now: Mapping[str, np.ndarray], goal: Mapping[str, np.ndarray]) -> float:
    return float(np.linalg.norm(now["object"] - goal["object"]))


def _reach_goal(env: RoboticsEnv, rng: np.random.Generator) -> None:
    _go(env, env.initial_gripper_xpos + rng.uniform(-env.target_range, env.target_range, 3), CLOSED)


def _push_goal(env: RoboticsEnv, rng: np.random.Generator) -> None:
    start, away = _block(env), np.subtract(TABLE, FRONT)[:2]
    way = away
    while way @ away >= HIDING * np.linalg.norm(way) * np.linalg.norm(away):
        goal = _place_on_table(env, rng)
        way = (goal - start)[:2]
    behind = goal - np.append(BESIDE * way / np.linalg.norm(way), 0.0)
    _go(env, _gripper(env) + ABOVE, CLOSED)
    block = env.data.joint("object0:joint")
    block.qpos[:3], block.qvel[:] = goal, 0.0
    _go(env, behind + ABOVE, CLOSED)
    _go(env, behind, CLOSED)


def _hold_goal(env: RoboticsEnv, rng: np.random.Generator) -> None:
    goal = _place_on_table(env, rng)
    if rng.random() < 0.5:
        goal[2] += rng.uniform(0.0, 0.3)
    _go(env, _block(env) + ABOVE, OPEN)
    _go(env, _block(env), OPEN)
    _hold_still(env, CLOSED)
    _go(env, _block(env) + ABOVE, CLOSED)
    _go(env, goal + ABOVE, CLOSED)
    _go(env, goal, CLOSED)


def _place_on_table(env: RoboticsEnv, rng: np.random.Generator) -> np.ndarray:
    place = env.initial_gripper_xpos + rng.uniform(-env.target_range, env.target_range, 3)
    return np.append(place[:2], env.height_offset)


def _go(env: RoboticsEnv, target: np.ndarray, gripper: float) -> None:
    """Bring the gripper to a place and to rest there."""
    for _ in range(50):
        error = target - _gripper(env)
        if np.abs(error).max() < 0.002:
            break
        env.step(np.append(np.clip(error / METRES_PER_ACTION, -1.0, 1.0), gripper))
    _hold_still(env, gripper)


def _hold_still(env: RoboticsEnv, gripper: float) -> None:
    for _ in range(10):
        env.step(np.array([0.0, 0.0, 0.0, gripper]))


FETCH_REACH = foreign_task(
    "fetch_reach",
    partial(make_fetch, "FetchReach-v4"),
    aim="bring the gripper of a Fetch robot to where it is in a goal picture",
    success_rule=f"gripper within {100 * SUCCESS_RADIUS:g} cm of the goal",
    action_size=(1.0, 1.0, 1.0, 0.0),
    usual_steps=20,
)
FETCH_PUSH = foreign_task(
    "fetch_push",
    partial(make_fetch, "FetchPush-v4"),
    aim="push a block with a Fetch robot to where it is in a goal picture",
    success_rule=f"block within {100 * SUCCESS_RADIUS:g} cm of its place in the goal",
    action_size=(1.0, 1.0, 1.0, 0.0),
    usual_steps=40,
)
FETCH_PICK_AND_PLACE = foreign_task(
    "fetch_pick_and_place",
    partial(make_fetch, "FetchPickAndPlace-v4"),
    aim="grasp a block with a Fetch robot and bring it to where it is in a goal picture",
    success_rule=f"block within {100 * SUCCESS_RADIUS:g} cm of its place in the goal",
    action_size=(1.0, 1.0, 1.0, 1.0),
    usual_steps=40,
)
