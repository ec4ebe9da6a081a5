"""The adapters of gymnasium-robotics; most of this needs the extra `robotics`."""

import importlib.util
import subprocess
import sys
from functools import partial
from multiprocessing import get_context

import mujoco
import numpy as np
import pytest
from gymnasium.utils import seeding
from gymnasium.utils.env_checker import check_env

from vjepa_wm.envs.adapters.fetch import make_fetch
from vjepa_wm.envs.adapters.robotics import make_robotics
from vjepa_wm.envs.adapters.robotics_point_maze import make_point_maze

INSTALLED = importlib.util.find_spec("gymnasium_robotics") is not None
TOO_NEW = tuple(int(part) for part in mujoco.__version__.split(".")[:2]) >= (3, 12)
needs_extra = pytest.mark.skipif(not INSTALLED, reason="gymnasium-robotics is not installed")
needs_fetch = pytest.mark.skipif(not INSTALLED or TOO_NEW, reason="Fetch needs gymnasium-robotics and MuJoCo < 3.12")

FETCH = ["FetchReach-v4", "FetchPush-v4", "FetchPickAndPlace-v4"]
MAZES = ["PointMaze_UMaze-v3", "PointMaze_Medium-v3"]
MAKERS = [pytest.param(partial(make_fetch, name, image_size=64), id=name, marks=needs_fetch) for name in FETCH]
MAKERS += [pytest.param(partial(make_point_maze, name, image_size=64), id=name, marks=needs_extra) for name in MAZES]


def draw_actions(env, num_steps):
    low, high = env.action_space.low, env.action_space.high
    return np.random.default_rng(3).uniform(low, high, (num_steps, low.size)).astype(np.float32)


def play(env, actions):
    return np.stack([(env.advance(action), env.get_state())[1] for action in actions])


def replay(make, state, actions):
    env = make()
    env.set_state(state)
    image, states = env.render(), play(env, actions)
    env.close()
    return image, states


def reddish(image):
    red, green, blue = np.moveaxis(image.astype(int), -1, 0)
    return int(((red > 60) & (red > 1.6 * green) & (red > 1.6 * blue)).sum())


@pytest.mark.parametrize("make", MAKERS)
def test_gymnasium_finds_nothing_wrong(make):
    env = make()
    check_env(env, skip_render_check=True)
    obs, info = env.reset(seed=0)
    assert obs["image"].std() > 10 and info["goal"]["image"].std() > 10
    assert not np.array_equal(obs["image"], info["goal"]["image"])
    before = env._env.data.time
    env.step(env.action_space.sample())
    assert env._env.data.time - before == pytest.approx(1 / env.control_hz)
    env.close()


@pytest.mark.parametrize("make", MAKERS)
def test_the_dynamics_are_the_environment_s_own_to_the_last_bit(make):
    env = make(repeat=1)
    env.reset(seed=7)
    plain = make_robotics(env._env.spec.id)
    plain.reset(seed=int(seeding.np_random(7)[0].integers(2**31)))
    for action in draw_actions(env, 50):
        env.advance(action)
        plain.step(action)
    assert np.array_equal(env._env.data.qpos, plain.data.qpos) and np.array_equal(env._env.data.qvel, plain.data.qvel)
    env.close()


@pytest.mark.parametrize("make", MAKERS)
def test_restoring_is_exact_for_200_steps_also_in_another_process(make):
    make = partial(make, repeat=1)
    env = make()
    env.reset(seed=1)
    play(env, draw_actions(env, 7))
    saved, shown, actions = env.get_state(), env.render(), draw_actions(env, 200)
    expected = play(env, actions)
    env.set_state(saved)
    assert np.array_equal(env.render(), shown) and np.array_equal(play(env, actions), expected)
    with get_context("spawn").Pool(1) as pool:
        image, states = pool.apply(replay, (make, saved, actions))
    assert np.array_equal(image, shown) and np.array_equal(states, expected)
    env.close()


@needs_fetch
@pytest.mark.parametrize("name", FETCH)
def test_goals_of_fetch_are_at_rest_and_can_be_seen(name):
    env = make_fetch(name, image_size=128)
    for seed in range(4):
        goal = env.reset(seed=seed)[1]["goal"]
        hand = goal["state"][:3]
        env.reset(seed=seed)
        env._task.enter_goal(env._env, env.np_random)
        assert np.abs(env._env.data.qvel).max() < 0.1  # m/s and rad/s
        if name != "FetchReach-v4":
            assert reddish(goal["image"]) > 25
            apart = np.abs(hand - goal["object"])
            assert (apart < 0.02).all() if name == "FetchPickAndPlace-v4" else 0.04 < np.linalg.norm(apart) < 0.07
    env.close()


@needs_fetch
def test_half_of_the_blocks_to_place_are_in_the_air():
    env = make_fetch("FetchPickAndPlace-v4", image_size=16)
    heights = [env.reset(seed=seed)[1]["goal"]["object"][2] for seed in range(10)]
    assert 2 <= sum(height > 0.45 for height in heights) <= 8 and min(heights) > 0.42
    env.close()


@needs_fetch
def test_the_gripper_of_fetch_reaches_its_goal():
    env = make_fetch("FetchReach-v4", image_size=16)
    obs, info = env.reset(seed=0)
    assert not info["is_success"]
    for _ in range(10):
        toward = (info["goal"]["state"][:3] - obs["state"][:3]) / (0.05 * 5)
        obs, _, _, _, info = env.step(np.append(np.clip(toward, -1, 1), -1.0))
    assert info["is_success"] and info["distance"] < 0.01
    env.close()


@needs_extra
def test_goals_of_the_maze_are_free_places():
    env = make_point_maze("PointMaze_Medium-v3", image_size=16)
    for seed in range(20):
        obs, info = env.reset(seed=seed)
        assert info["distance"] >= 1.0 and not info["is_success"] and not info["goal"]["state"][2:].any()
        for place in (obs["state"][:2], info["goal"]["state"][:2]):
            row, column = env._env.maze.cell_xy_to_rowcol(place)
            assert env._env.maze.maze_map[row][column] != 1
    env.close()


@pytest.mark.skipif(INSTALLED, reason="gymnasium-robotics is installed")
def test_without_the_extra():
    with pytest.raises(ModuleNotFoundError, match=r"PointMaze_UMaze-v3 needs .* the extra vjepa_wm\[robotics\]"):
        make_point_maze("PointMaze_UMaze-v3")


@pytest.mark.skipif(not TOO_NEW, reason="MuJoCo is old enough for Fetch")
def test_fetch_on_a_mujoco_that_is_too_new():
    with pytest.raises(RuntimeError, match=r"Fetch tasks need MuJoCo below 3.12, got \d"):
        make_fetch("FetchPush-v4")


def test_bad_names_and_rates():
    with pytest.raises(ValueError, match=r"name must be one of FetchReach-v4, .*, got 'FetchSlide-v4'"):
        make_fetch("FetchSlide-v4")
    with pytest.raises(ValueError, match="repeat must divide 25, the environment's steps per second, got 2"):
        make_fetch("FetchPush-v4", repeat=2)
    with pytest.raises(ValueError, match=r"name must be one of PointMaze_UMaze-v3, .*, got 'PointMaze_Large-v3'"):
        make_point_maze("PointMaze_Large-v3")
    with pytest.raises(ValueError, match="repeat must divide 100"):
        make_point_maze("PointMaze_UMaze-v3", repeat=3)


def test_the_makers_are_imported_without_mujoco():
    # So that a process they are sent to can choose what renders before mujoco is imported.
    code = (
        "import sys; from vjepa_wm.envs.adapters import fetch, robotics_point_maze; sys.exit('mujoco' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
