"""Policies that push: strokes go where they are planned, play keeps the block in reach, the expert solves the task."""

from __future__ import annotations

import subprocess
import sys

import gymnasium
import numpy as np
import pytest

from vjepa_wm import envs
from vjepa_wm.envs.arm.arm_policies import NoisyPolicy
from vjepa_wm.envs.arm.push.geometry import PUSH_HEIGHT, PUSH_WORKSPACE, reaches_into
from vjepa_wm.envs.arm.push.policies import POINT_DISTANCE, PushExpert, PushPlay, foresee, goal_error
from vjepa_wm.envs.arm.push.strokes import SIDES, Stroke, StrokeRunner, stroke_against
from vjepa_wm.envs.arm.workspace import ACTION_HIGH
from vjepa_wm.envs.policy import RandomPolicy

BLOCK = np.array([0.53, 0.02, 0.035, 0.3])


@pytest.fixture(scope="module")
def env():
    env = envs.make("push", image_size=32)
    yield env
    env.close()


def run(env, policy, seed, num_steps):
    """Return states (num_steps + 1, 7), blocks (num_steps + 1, 4), actions (num_steps, 7) and the last info."""
    obs, info = env.reset(seed=seed)
    states, blocks, actions = [obs["state"]], [info["object"]], []
    for _ in range(num_steps):
        actions.append(policy({"state": states[-1]}, info))
        assert env.action_space.contains(actions[-1])
        states.append(env.advance(actions[-1]))
        info = env._info()
        blocks.append(info["object"])
    return np.stack(states), np.stack(blocks), np.stack(actions), info


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("offset", [-0.8, 0.3])
def test_a_stroke_begins_outside_the_block_and_pushes_it_from_that_side(env, side, offset):
    stroke = stroke_against(BLOCK, side, offset, 0.08)
    down = np.array([*stroke.begin, PUSH_HEIGHT, 0, 0, 0, 1])
    assert not reaches_into(down, BLOCK, 0.0)
    env.reset(options={"start": np.array([0.6, 0.25, 0.15, 0, 0, 0, 1]), "start_object": BLOCK})
    runner, state = StrokeRunner(stroke), env._state()
    for _ in range(20):
        action = runner.next_action(state)
        if action is None:
            break
        before = env._info()["object"]
        state = env.advance(action)
        if not runner.is_down:
            np.testing.assert_allclose(env._info()["object"], before, atol=1e-3)
    assert action is None
    np.testing.assert_allclose(state[:2], stroke.end, atol=5e-3)
    moved = env._info()["object"][:2] - BLOCK[:2]
    assert moved @ (stroke.end - stroke.begin) > 0.02 * np.linalg.norm(stroke.end - stroke.begin)


def test_no_stroke_where_the_gripper_cannot_be_put_down():
    far = np.array([0.66, 0.0, 0.035, 0.0])
    assert stroke_against(far, SIDES[0], 0.0, 0.05) is None
    assert stroke_against(far, SIDES[1], 0.0, 0.05) is not None


def test_strokes_leave_the_block_within_reach():
    stroke = stroke_against(np.array([0.6, 0.0, 0.035, 0.0]), SIDES[2], 0.0, 0.5)
    assert np.linalg.norm(stroke.end - stroke.begin) < 0.08


def test_a_stroke_that_goes_nowhere_puts_the_gripper_down(env):
    place = np.array([0.4, 0.2])
    env.reset(options={"start": np.array([0.5, 0.1, 0.2, 0, 0, 0, 1]), "start_object": BLOCK - [0, 0.1, 0, 0]})
    runner, state = StrokeRunner(Stroke(place, place, 0.05)), env._state()
    for _ in range(12):
        action = runner.next_action(state)
        state = env.advance(np.zeros(7) if action is None else action)
    assert action is None
    np.testing.assert_allclose(state[:3], [0.4, 0.2, PUSH_HEIGHT], atol=0.02)


@pytest.mark.parametrize("offset", [-0.85, -0.4, 0.0, 0.4])
@pytest.mark.parametrize("side", SIDES[:3])
def test_what_is_foreseen_happens(env, side, offset):
    stroke = stroke_against(BLOCK, side, offset, 0.08)
    env.reset(options={"start": np.array([*stroke.begin, PUSH_HEIGHT, 0, 0, 0, 1]), "start_object": BLOCK})
    way = (stroke.end - stroke.begin) / 4
    for _ in range(4):
        state = env.advance(np.array([*way, 0, 0, 0, 0, 0]))
    length = np.linalg.norm(state[:2] - stroke.begin)
    direction = way / np.linalg.norm(way)
    seen = foresee(BLOCK[[0, 1, 3]], stroke.begin[None], direction[None], round(length / POINT_DISTANCE) + 1)
    found = env._info()["object"][[0, 1, 3]]
    np.testing.assert_allclose(seen[-1, 0, :2], found[:2], atol=0.015)
    np.testing.assert_allclose(seen[-1, 0, 2], found[2], atol=0.2)


def test_goal_error_counts_the_heading_the_short_way_round():
    goal = np.array([0.5, 0.0, 3.0])
    assert goal_error(np.array([[0.5, 0.03, 3.0], [0.5, 0.0, -3.0]]), goal).tolist() == pytest.approx(
        [0.03, 0.15 * (2 * np.pi - 6)]
    )


@pytest.mark.parametrize("policy", [PushPlay, lambda rng: NoisyPolicy(PushExpert(), rng, PUSH_WORKSPACE)])
def test_equal_generators_give_equal_actions(env, policy):
    runs = [run(env, policy(np.random.default_rng(seed)), 0, 15)[2] for seed in (5, 5, 6)]
    np.testing.assert_array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


def test_play_pushes_the_block_and_keeps_it_in_reach(env):
    runs = [run(env, PushPlay(np.random.default_rng([0, k])), k, 60) for k in range(8)]
    moves = np.concatenate([np.linalg.norm(np.diff(blocks[:, :2], axis=0), axis=1) for _, blocks, _, _ in runs])
    assert 0.15 < (moves > 0.003).mean() < 0.6
    blocks = np.concatenate([blocks for _, blocks, _, _ in runs])
    assert np.ptp(blocks[:, 3]) > 1.5
    inside = (blocks[:, :2] > PUSH_WORKSPACE.low[:2]) & (blocks[:, :2] < PUSH_WORKSPACE.high[:2])
    assert inside.all(axis=1).mean() > 0.8
    heights = np.concatenate([states[:, 2] for states, _, _, _ in runs])
    assert 0.2 < (heights < 0.06).mean() < 0.8


@pytest.mark.parametrize("seed", range(6))
def test_expert_solves_the_task_and_rests_behind_the_block(env, seed):
    states, _, actions, info = run(env, PushExpert(), seed, 60)
    assert info["is_success"] and info["distance"] < 0.025
    np.testing.assert_array_equal(actions[-1], np.zeros(7))
    assert np.linalg.norm(states[-1][:2] - info["goal"]["state"][:2]) < 0.04


def test_expert_with_noise_solves_it_too_and_random_does_not(env):
    noisy = [
        run(env, NoisyPolicy(PushExpert(), np.random.default_rng(seed), PUSH_WORKSPACE), seed, 60)[3]["is_success"]
        for seed in range(4)
    ]
    assert sum(noisy) >= 3
    drawn = [
        run(env, RandomPolicy(np.random.default_rng(seed), gymnasium.spaces.Box(-ACTION_HIGH, ACTION_HIGH)), seed, 40)[
            3
        ]["is_success"]
        for seed in range(4)
    ]
    assert not any(drawn)


def test_policies_need_no_simulator():
    code = "import sys, vjepa_wm.envs.arm.push.policies; sys.exit('mujoco' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
