"""A task small enough to know the best plan and quick enough to be played a thousand times. Imports no torch.

A point in a cube moves by dxyz; red, green and blue of its picture are x, y and z.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
from gymnasium import spaces

from vjepa_wm.agents.agent import ScriptedAgent, StandStill
from vjepa_wm.envs.goal_env import GoalEnv, GoalEnvConfig
from vjepa_wm.envs.reset_options import check_options
from vjepa_wm.envs.task import ActionLimits, Task
from vjepa_wm.evaluation.protocol import make_protocol
from vjepa_wm.evaluation.results_folder import ResultsFolder
from vjepa_wm.evaluation.runner import Stand, evaluate

SIDE = 0.51  # [m]; one grey level is 2 mm
STEP = np.array([0.075] * 3 + [0.0] * 4)


class PointScene:
    """What is simulated: a place; what looks on sees its colour."""

    cameras = known_cameras = ("front",)
    factors: dict = {}  # noqa: RUF012
    variation: dict = {}  # noqa: RUF012
    state_size = 3

    def __init__(self) -> None:
        self.place = np.zeros(3)
        self.num_pictures = 0
        self.is_closed = False

    def vary(self, names, rng) -> None:
        raise AssertionError("nothing varies")

    def pictures(self) -> dict[str, np.ndarray]:
        return {"image": self.picture()}

    def picture(self) -> np.ndarray:
        self.num_pictures += 1
        return picture(self.place)

    def get_state(self) -> np.ndarray:
        return self.place.copy()

    def set_state(self, state: np.ndarray) -> None:
        self.place = state.copy()

    def close(self) -> None:
        self.is_closed = True


class PointEnv(GoalEnv):
    """Starts and goals are anywhere in the cube, also so near each other that an episode starts solved.

    With parts, the goal has pictures of the way, in order: the goal's x alone, x and y, all.
    """

    control_hz = 5
    state_names = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")
    action_names = ("dx", "dy", "dz", "droll", "dpitch", "dyaw", "dgripper")

    def __init__(self, *, success_radius=0.05, ends_after=None, has_parts=False) -> None:
        super().__init__(
            GoalEnvConfig(image_size=32, max_steps=ends_after),
            PointScene(),
            action_space=spaces.Box(-0.075, 0.075, (7,), np.float32),
            state_space=spaces.Box(0.0, np.float32(SIDE), (7,), np.float32),
        )
        self.success_radius, self.has_parts = success_radius, has_parts

    def _begin(self, options):
        check_options(options, ("start", "goal"))
        drawn = {name: options.get(name, self.np_random.uniform(0, SIDE, 3)) for name in ("start", "goal")}
        start, goal = (np.array(drawn[name], dtype=float)[:3] for name in ("start", "goal"))
        self._scene.place = start
        parts = [np.where(np.arange(3) < known, goal, start) for known in (1, 2, 3)]
        return seen(goal) | ({"subgoals": [seen(part) for part in parts]} if self.has_parts else {})

    def _move(self, action) -> None:
        self._scene.place = np.clip(self._scene.place + action[:3], 0, SIDE)

    def _state(self):
        return seen(self._scene.place)["state"]

    def _info(self):
        distance = float(np.linalg.norm(self._scene.place - self._goal["state"][:3]))
        return {"goal": self._copy_of_goal(), "distance": distance, "is_success": distance <= self.success_radius}

    def _reward(self, info) -> float:
        return -info["distance"]


def picture(place: np.ndarray) -> np.ndarray:
    grey = np.round(place[:3] / SIDE * 255).astype(np.uint8)
    return np.broadcast_to(grey, (32, 32, 3))  # read-only, as a renderer's buffer may be


def seen(place: np.ndarray) -> dict[str, np.ndarray]:
    return {"image": picture(place), "state": np.append(place, np.zeros(4)).astype(np.float32)}


class PointExpert:
    """Heads for the goal; the generator shakes its hand."""

    def __init__(self, rng) -> None:
        self.rng = rng

    def __call__(self, obs, info):
        way = info["goal"]["state"] - obs["state"] + self.rng.normal(0, 0.002, 7)
        return np.clip(way, -STEP, STEP).astype(np.float32)


def make_point(*, image_size=32, max_steps=None, cameras=("front",), renderer="auto", variation=None):
    return PointEnv(ends_after=max_steps)


POINT = Task(
    name="point",
    aim="bring a point to where it is in a goal picture",
    success_rule="point within 5 cm of the goal",
    make_env=make_point,
    limits=ActionLimits(size=tuple(STEP.tolist()), state_low=(0.0,) * 3, state_high=(SIDE,) * 3),
    usual_steps=8,
    policies={"expert": PointExpert},
)
"""A task of somebody's own, `point_world:POINT` on the command line."""


def make_stand(policy, breaks=None):
    """Make agent and environment of a row; where a folder has a file, an episode removes it and ends its process."""
    env = PointEnv()
    if policy == "zero":
        return Stand(ScriptedAgent(lambda rng: StandStill(7)), env)
    agent = ScriptedAgent(partial(POINT.make_policy, policy, env))
    return Stand(agent if breaks is None else Breaking(agent, breaks), env)


class Breaking(ScriptedAgent):
    def __init__(self, agent, breaks) -> None:
        self._make_policy, self.breaks = agent._make_policy, breaks

    def measure(self, image):
        for path in self.breaks.iterdir():
            path.unlink()
            os.kill(os.getpid(), signal.SIGKILL)


def run(folder, *, num_episodes=6, policies=("expert", "random", "zero"), seed=0, settings=None, stands=None, **how):
    """Evaluate the point task."""
    protocol = make_protocol(PointEnv(), name="point", task="point", num_episodes=num_episodes, steps=3, seed=1)
    with ResultsFolder(Path(folder), protocol, settings or {"seed": seed}) as results:
        return evaluate(stands or make_stand, protocol, policies, results, seed=seed, progress=False, **how)


def start(folder, **settings):
    """Start an evaluation in a process group of its own, so that all of it can be killed."""
    code = f"import point_world; point_world.run(**{settings | {'folder': str(folder)}})"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    return subprocess.Popen(
        [sys.executable, "-c", code], env=environment, start_new_session=True, stderr=subprocess.PIPE, text=True
    )
