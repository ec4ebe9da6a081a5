"""Policies of the plane: the expert finds its way in all layouts, noise is noise, play comes to everywhere."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from vjepa_wm import envs
from vjepa_wm.envs import VariationConfig, find_task, make
from vjepa_wm.envs.plane.geometry import POINT_RADIUS, are_free
from vjepa_wm.envs.plane.layouts import MAZES, TWO_ROOMS
from vjepa_wm.envs.plane.point_policies import NoisyPointPolicy, PointExpert, PointPlay, shorten

WORLDS = [("point_maze", name) for name in MAZES.names()] + [("two_room", name) for name in TWO_ROOMS.names()]
CLOSED = np.array(
    [[-0.3, -0.3, -0.2, 0.3], [0.2, -0.3, 0.3, 0.3], [-0.2, -0.3, 0.2, -0.2], [-0.2, 0.2, 0.2, 0.3]], dtype=np.float32
)


def make_in(task, layout):
    return envs.make(task, image_size=16, variation=VariationConfig(layout=layout))


def run(env, policy, seed, num_steps, until_success=False):
    """Return states (T + 1, 2), actions (T, 2) and the last info."""
    obs, info = env.reset(seed=seed)
    states, actions = [obs["state"]], []
    for _ in range(num_steps):
        actions.append(policy({"state": states[-1]}, info))
        assert env.action_space.contains(actions[-1])
        states.append(env.advance(actions[-1]))
        info = env._info()
        if until_success and info["is_success"]:
            break
    return np.stack(states), np.stack(actions), info


def heads_straight(obs, info):
    return shorten(info["goal"]["state"] - obs["state"]).astype(np.float32)


@pytest.mark.parametrize(("task", "layout"), WORLDS)
def test_the_expert_finds_its_way(task, layout):
    env = make_in(task, layout)
    for seed in range(4):
        states, actions, info = run(env, PointExpert(), seed, 80, until_success=True)
        assert info["is_success"], f"{seed}: from {states[0]}, stuck at {states[-1]}"
        gone = np.linalg.norm(np.diff(states, axis=0), axis=1).sum()
        assert gone > 0.9 * np.linalg.norm(actions, axis=1).sum()  # not along walls
    env.close()


@pytest.mark.parametrize(("task", "layout"), WORLDS[::4])
def test_the_noisy_expert_too_on_another_way(task, layout):
    env = make_in(task, layout)
    for seed in range(3):
        policy = NoisyPointPolicy(PointExpert(), np.random.default_rng(seed))
        states, _, info = run(env, policy, seed, 80, until_success=True)
        assert info["is_success"]
        assert np.linalg.norm(states[1] - run(env, PointExpert(), seed, 1)[0][1]) > 1e-3
    env.close()


@pytest.mark.parametrize(
    ("task", "layout"), [("point_maze", "spiral"), ("point_maze", "knot"), ("two_room", "default")]
)
def test_most_goals_are_not_in_a_straight_line(task, layout):
    env = make_in(task, layout)
    assert sum(run(env, heads_straight, seed, 40, until_success=True)[2]["is_success"] for seed in range(20)) <= 10
    env.close()


def test_the_expert_stays_at_the_goal_and_where_there_is_no_way():
    expert, goal = PointExpert(), {"state": np.array([0.45, 0.0], np.float32)}
    action = expert({"state": np.zeros(2, np.float32)}, {"walls": CLOSED, "goal": goal})
    assert action.dtype == np.float32 and not action.any()
    env = make_in("point_maze", "default")
    states, _, info = run(env, PointExpert(), 0, 60)
    np.testing.assert_allclose(states[-5:], np.broadcast_to(info["goal"]["state"], (5, 2)), atol=1e-3)
    env.close()


@pytest.mark.parametrize(
    ("task", "layout"), [("point_maze", "spiral"), ("point_maze", "default"), ("two_room", "default")]
)
def test_play_comes_everywhere_touches_walls_and_rests(task, layout):
    env = make_in(task, layout)
    num_cells = env._plane.num_cells
    visits, touches, rests, speeds = np.zeros((num_cells, num_cells)), 0, 0, []
    for seed in range(24):
        states, actions, info = run(env, PointPlay(np.random.default_rng(seed)), seed, 60)
        cells = np.floor((states + 0.5) * num_cells).astype(int)
        np.add.at(visits, tuple(cells.T), 1)
        touches += (~are_free(states, info["walls"], POINT_RADIUS + 1e-3)).sum()
        rests += (~actions.any(axis=1)).sum()
        speeds.append(np.linalg.norm(np.diff(states, axis=0), axis=1))
    speeds = np.concatenate(speeds)
    assert visits.min() > 0 and visits.max() < 0.2 * visits.sum()
    assert 0.05 < touches / visits.sum() < 0.7
    assert 0.005 < rests / visits.sum() < 0.1
    assert np.quantile(speeds, 0.2) < 0.04 and np.quantile(speeds, 0.9) > 0.06
    env.close()


def test_play_in_a_closed_room_goes_on():
    policy, obs = PointPlay(np.random.default_rng(0)), {"state": np.zeros(2, np.float32)}
    actions = np.stack([policy(obs, {"walls": CLOSED}) for _ in range(200)])  # most places it picks are outside
    assert np.abs(actions).max() <= 0.1 and actions.any()


def test_random_actions_fill_the_box():
    policy = find_task("point_maze").make_policy("random", make("point_maze"), np.random.default_rng(0))
    actions = np.stack([policy({}, {}) for _ in range(500)])
    assert (
        actions.shape == (500, 2) and 0.095 < np.abs(actions).max() <= 0.1 and np.abs(actions.mean(axis=0)).max() < 0.01
    )


def test_the_policies_need_no_simulator():
    code = "import sys, vjepa_wm.envs.plane.point_policies; sys.exit('mujoco' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
