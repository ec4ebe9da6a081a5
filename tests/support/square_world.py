"""A world quick enough to be collected a thousand times, a white square on black, and collections of it to kill."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np

from vjepa_wm.data.collection.record import collect
from vjepa_wm.data.trajectories.writer import TrajectoryWriter


class SquareEnv(gymnasium.Env):
    """A white square on black moves by the first two numbers of the action, in pixels, at most 2 each.

    ends_after: step that ends an episode; blank_from: step from which the picture is black; cameras: each further one
    sees the picture upside down; breaks: folder of files `<name>`, each of which makes the first steps of one episode
    fail: `raise` raises an error, `die` kills the process.
    """

    control_hz = 5
    state_names = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")
    action_names = ("dx", "dy", "dz", "droll", "dpitch", "dyaw", "dgripper")
    object_names = ()

    def __init__(self, *, ends_after=None, blank_from=None, cameras=("front",), breaks=None):
        picture = gymnasium.spaces.Box(0, 255, (32, 32, 3), np.uint8)
        pictures = {"image": picture} | {f"image_{camera}": picture for camera in cameras[1:]}
        self.observation_space = gymnasium.spaces.Dict(
            **pictures, state=gymnasium.spaces.Box(-np.inf, np.inf, (7,), np.float32)
        )
        self.action_space = gymnasium.spaces.Box(-2, 2, (7,), np.float32)
        self.cameras = cameras
        self.ends_after, self.blank_from, self.breaks = ends_after, blank_from, breaks
        self.image = np.zeros((32, 32, 3), np.uint8)  # drawn over at every step, as simulators do

    def observe(self):
        row, column = np.clip(np.round(self.state[:2]), 0, 27).astype(int)
        self.image[:] = 0
        if self.blank_from is None or self.steps < self.blank_from:
            self.image[row : row + 5, column : column + 5] = 255
        pictures = {f"image_{camera}": self.image[::-1] for camera in self.cameras[1:]}
        info = {"steps": self.steps, "is_success": bool(self.state[0] > self.state[1])}
        info |= {"distance": 0.0, "goal": {"image": self.image, "state": self.state}}
        return {"image": self.image, "state": self.state} | pictures, info

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        self.state = np.zeros(7, np.float32)
        self.state[:2] = self.np_random.uniform(5, 20, 2)
        return self.observe()

    def step(self, action):
        assert self.action_space.contains(action)
        if self.breaks is not None and self.steps == 2:
            break_once(self.breaks)
        self.steps += 1
        self.state = self.state + action
        obs, info = self.observe()
        return obs, 0.0, self.steps == self.ends_after, False, info


def break_once(folder):
    """Do what the name of the first file in a folder says, and remove the file."""
    for path in sorted(folder.iterdir()):
        try:
            path.unlink()
        except FileNotFoundError:  # another worker was quicker
            continue
        if path.name.startswith("die"):
            os.kill(os.getpid(), signal.SIGKILL)
        raise ArithmeticError("the square is broken")


class JumpyPolicy:
    def __init__(self, env, generator):
        self.generator = generator

    def __call__(self, obs, info):
        return self.generator.uniform(-4, 4, 7)


def run(root, make_env=SquareEnv, *, num_episodes=3, fps=5, cameras=("front",), policy=JumpyPolicy, **settings):
    with TrajectoryWriter(root, fps=fps, image_size=32, cameras=cameras) as writer:
        settings = {"num_steps": 6, "seed": 0, "task": "push a square about", "progress": False} | settings
        return collect(make_env, policy, writer, num_episodes=num_episodes, **settings)


def start(root, num_episodes, **settings):
    """Start a collection in a process group of its own, so that all of it can be killed."""
    settings |= {"root": str(root), "num_episodes": num_episodes}
    # Ctrl-C as at a terminal, also where the tests were started in the background, which ignores it.
    listening = "signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"import signal, square_world; {listening}; square_world.run(**{settings})"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    return subprocess.Popen(
        [sys.executable, "-c", code], env=environment, start_new_session=True, stderr=subprocess.PIPE, text=True
    )


def group_is_alive(process):
    """Tell whether any process of the group that `start` made is still there."""
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True
