"""Policies that move a drawer: handlings end where they are planned, play tries it all, the expert solves the task."""

from __future__ import annotations

import subprocess
import sys
from functools import partial

import numpy as np
import pytest

from vjepa_wm import envs
from vjepa_wm.envs import find_task
from vjepa_wm.envs.arm.drawer.geometry import DRAWER_HIGH, GRIP_HEIGHT, HANDLE_CLOSED, handle_place, pose_at_handle
from vjepa_wm.envs.arm.drawer.policies import DrawerExpert, DrawerPlay, Handling, HandlingRunner

DRAWER = np.array([0.53, 0.11, 0.09])
BESIDE = np.array([0.42, 0.2, 0.2, 0, 0, 0, 0])


@pytest.fixture(scope="module")
def env():
    env = envs.make("drawer", image_size=32)
    yield env
    env.close()


def run(env, policy, seed, num_steps):
    """Return states (num_steps + 1, 7), drawers (num_steps + 1, 3), actions (num_steps, 7) and the last info."""
    obs, info = env.reset(seed=seed)
    states, drawers, actions = [obs["state"]], [info["object"]], []
    for _ in range(num_steps):
        actions.append(policy({"state": states[-1]}, info))
        assert env.action_space.contains(actions[-1])
        states.append(env.advance(actions[-1]))
        info = env._info()
        drawers.append(info["object"])
    return np.stack(states), np.stack(drawers), np.stack(actions), info


def carry_out(env, handling, start=BESIDE, max_steps=25):
    """Return states and drawers until the handling has ended."""
    env.reset(options={"start": start, "start_object": DRAWER, "goal_object": DRAWER})
    runner, states, drawers = HandlingRunner(handling), [env._state()], [env._arm.drawer()]
    for _ in range(max_steps):
        action = runner.next_action(states[-1].astype(float), drawers[-1])
        if action is None:
            return np.stack(states), np.stack(drawers)
        states.append(env.advance(action))
        drawers.append(env._arm.drawer())
    raise AssertionError(f"{handling} has not ended")


@pytest.mark.parametrize("opening", [0.0, 0.04, 0.16])
@pytest.mark.parametrize(("manner", "beside"), [("grip", 0.0), ("grip", -0.03), ("hook", 0.03)])
def test_a_handling_brings_the_drawer_where_it_is_to_be(env, opening, manner, beside):
    states, drawers = carry_out(env, Handling(opening, manner, beside))
    assert drawers[-1][2] == pytest.approx(opening, abs=0.006)
    assert states[-1][6] < 0.1
    assert abs(states[-1][0] - DRAWER[0] - beside) < 0.02
    # The drawer does not move before the fingers are down.
    moved = np.abs(drawers[:, 2] - DRAWER[2]) > 1e-4
    assert (states[1:][moved[1:], 2] < GRIP_HEIGHT + 0.02).all()
    assert (states[:, 6].max() > HANDLE_CLOSED - 0.1) == (manner == "grip")


def test_a_push_closes_the_drawer_with_closed_fingers_before_the_handle(env):
    states, drawers = carry_out(env, Handling(0.03, "push", 0.02), start=BESIDE - [0, 0.3, 0, 0, 0, 0, 0])
    assert drawers[-1][2] == pytest.approx(0.03, abs=0.006)
    assert states[-1][6] > 0.95 and states[-1][1] < handle_place(drawers[-1])[1] - 0.03


def test_slow_steps_are_slow(env):
    _, drawers = carry_out(env, Handling(0.04, step=0.02))
    assert np.abs(np.diff(drawers[:, 2])).max() < 0.025


def test_a_handle_that_is_lost_is_gone_back_to(env):
    env.reset(options={"start": pose_at_handle(DRAWER), "start_object": DRAWER, "goal_object": DRAWER})
    runner = HandlingRunner(Handling(0.15))
    state = env._state()
    for step in range(25):
        action = runner.next_action(state.astype(float), env._arm.drawer())
        if action is None:
            break
        if step == 1:  # something else lifts the gripper off
            action = np.array([0, 0.05, 0.075, 0, 0, 0, -1])
        state = env.advance(action)
    assert action is None and env._arm.drawer()[2] == pytest.approx(0.15, abs=0.006)


@pytest.mark.parametrize("name", ["play", "noisy_expert"])
def test_equal_generators_give_equal_actions(env, name):
    make = partial(find_task("drawer").make_policy, name, env)
    runs = [run(env, make(np.random.default_rng(seed)), 0, 15)[2] for seed in (5, 5, 6)]
    np.testing.assert_array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


def test_play_opens_closes_touches_and_leaves(env):
    runs = [run(env, DrawerPlay(np.random.default_rng([0, k])), k, 60) for k in range(7)]
    changes = np.concatenate([np.diff(drawers[:, 2]) for _, drawers, _, _ in runs])
    assert (changes > 0.003).mean() > 0.05 and (changes < -0.003).mean() > 0.05
    assert (np.abs(changes) < 1e-3).mean() > 0.4
    openings = np.concatenate([drawers[:, 2] for _, drawers, _, _ in runs])
    assert np.percentile(openings, 10) < 0.02 and np.percentile(openings, 90) > 0.1
    states = np.concatenate([states for states, _, _, _ in runs])
    assert 0.2 < (states[:, 2] < 0.1).mean() < 0.8
    assert (np.abs(states[:, 6] - HANDLE_CLOSED) < 0.05).mean() > 0.05


@pytest.mark.parametrize("seed", range(6))
def test_expert_solves_the_task_and_rests_at_the_handle(env, seed):
    states, _, actions, info = run(env, DrawerExpert(), seed, 20)
    assert info["is_success"] and info["distance"] < 0.006
    np.testing.assert_array_equal(actions[-1], np.zeros(7))
    np.testing.assert_allclose(states[-1], info["goal"]["state"], atol=0.012)


def test_expert_opens_and_closes_between_the_ends(env):
    for start, goal in ((0.0, DRAWER_HIGH[2]), (DRAWER_HIGH[2], 0.0)):
        objects = {name: [0.47, 0.13, opening] for name, opening in (("start_object", start), ("goal_object", goal))}
        obs, info = env.reset(seed=0, options=objects)
        expert, state = DrawerExpert(), obs["state"]
        for _ in range(20):
            state = env.advance(expert({"state": state}, info))
            info = env._info()
        assert info["distance"] < 0.006


def test_the_expert_sets_right_what_is_undone(env):
    obs, info = env.reset(seed=0)
    expert, state = DrawerExpert(), obs["state"]
    for step in range(40):
        action = expert({"state": state}, info)
        if step in (20, 21):
            action = np.array([0, np.sign(info["goal"]["object"][2] - 0.08) * 0.05, 0, 0, 0, 0, 0], dtype=np.float32)
        state = env.advance(action)
        info = env._info()
        if step == 21:
            assert not info["is_success"]
    assert info["is_success"]


def test_expert_with_noise_solves_it_too_and_random_does_not(env):
    solved = {name: 0 for name in ("noisy_expert", "random")}
    for name in solved:
        for seed in range(6):
            policy = find_task("drawer").make_policy(name, env, np.random.default_rng(seed))
            solved[name] += run(env, policy, seed, 40)[3]["is_success"]
    assert solved["noisy_expert"] >= 4 and solved["random"] <= 1


def test_policies_need_no_simulator():
    code = "import sys, vjepa_wm.envs.arm.drawer.policies; sys.exit('mujoco' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
