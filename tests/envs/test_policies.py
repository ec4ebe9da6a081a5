"""Policies stay within the action box, repeat with their seed, and do what they are for."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest

from vjepa_wm import envs
from vjepa_wm.envs.arm.arm_policies import NoisyPolicy, PlayPolicy
from vjepa_wm.envs.arm.reach.geometry import POSE_HIGH, POSE_LOW, REACH_WORKSPACE
from vjepa_wm.envs.arm.reach.policies import ReachExpert
from vjepa_wm.envs.arm.workspace import ACTION_HIGH
from vjepa_wm.envs.policy import RandomPolicy

BOX = gymnasium.spaces.Box(-ACTION_HIGH, ACTION_HIGH)


@pytest.fixture(scope="module")
def env():
    env = envs.make("reach", image_size=32)
    yield env
    env.close()


def run(env, policy, seed, num_steps):
    """Return states (num_steps + 1, 7) and actions (num_steps, 7)."""
    obs, info = env.reset(seed=seed)
    states, actions = [obs["state"]], []
    for _ in range(num_steps):
        actions.append(policy(obs, info))
        assert env.action_space.contains(actions[-1])
        obs = {"state": env.advance(actions[-1])}
        states.append(obs["state"])
    return np.stack(states), np.stack(actions)


@pytest.mark.parametrize("policy", [lambda rng: RandomPolicy(rng, BOX), lambda rng: PlayPolicy(rng, REACH_WORKSPACE)])
def test_equal_generators_give_equal_actions(env, policy):
    runs = [run(env, policy(np.random.default_rng(seed)), 0, 20)[1] for seed in (5, 5, 6)]
    np.testing.assert_array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


def test_random_policy_fills_the_action_box(env):
    _, actions = run(env, RandomPolicy(np.random.default_rng(0), BOX), 0, 300)
    assert (actions.min(0) < -0.95 * ACTION_HIGH).all() and (actions.max(0) > 0.95 * ACTION_HIGH).all()


@pytest.mark.parametrize("seed", range(10))
def test_expert_reaches_the_goal_in_a_straight_line(env, seed):
    obs, info = env.reset(seed=seed)
    start, goal, expert = obs["state"][:3], info["goal"]["state"][:3], ReachExpert()
    along = (goal - start) / np.linalg.norm(goal - start)
    for _ in range(9):
        obs, _, _, _, info = env.step(expert(obs, info))
        offset = obs["state"][:3] - start
        assert np.linalg.norm(offset - (offset @ along) * along) < 2e-3
    assert info["is_success"] and info["distance"] < 1e-3


def test_noise_makes_the_expert_s_way_crooked_but_not_fail(env):
    _, plain = run(env, ReachExpert(), 3, 9)
    runs = [
        run(env, NoisyPolicy(ReachExpert(), np.random.default_rng(seed), REACH_WORKSPACE), 3, 9)[1]
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])
    assert 0.003 < np.abs(runs[0] - plain)[:, :3].mean() < 0.03
    obs, info = env.reset(seed=3)
    noisy = NoisyPolicy(ReachExpert(), np.random.default_rng(0), REACH_WORKSPACE)
    for _ in range(12):
        obs, _, _, _, info = env.step(noisy(obs, info))
    assert info["is_success"]


def test_play_covers_the_workspace_and_the_displacements(env):
    runs = [run(env, PlayPolicy(np.random.default_rng([0, k]), REACH_WORKSPACE), k, 60) for k in range(20)]
    states = np.concatenate([states for states, _ in runs])
    actions = np.concatenate([actions for _, actions in runs])
    for axis in range(3):
        counts, _ = np.histogram(states[:, axis], 5, (POSE_LOW[axis] - 1e-3, POSE_HIGH[axis] + 1e-3))
        assert counts.min() > 0.1 * len(states)
    assert (np.percentile(actions[:, :3], 2, axis=0) < -0.05).all()
    assert (np.percentile(actions[:, :3], 98, axis=0) > 0.05).all()
    assert np.abs(actions[:, 5]).max() > 0.1
    assert states[:, 6].min() < 0.05 and states[:, 6].max() > 0.95
    assert (np.abs(actions).max(1) < 1e-3).any()


def test_play_asks_only_for_what_the_workspace_lets_happen(env):
    states, actions = run(env, PlayPolicy(np.random.default_rng(1), REACH_WORKSPACE), 1, 200)
    np.testing.assert_allclose((states[1:] - states[:-1])[:, :3], actions[:, :3], atol=1e-3)
