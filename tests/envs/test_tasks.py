"""The contract that every task keeps: gymnasium's checker, exact goals, repetition here and in other processes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from vjepa_wm import envs

TASKS = pytest.mark.parametrize("task", envs.TASKS)


@pytest.fixture
def env(task):
    env = envs.make(task, image_size=64)
    yield env
    env.close()


def drawn_actions(env, seed, num_steps):
    rng = np.random.default_rng(seed)
    return rng.uniform(env.action_space.low, env.action_space.high, (num_steps, *env.action_space.shape))


def play(task, seed, num_steps):
    """Play with the expert and disturbed at the end, so that objects are touched and held."""
    env = envs.make(task, image_size=64)
    obs, info = env.reset(seed=seed)
    expert = envs.find_task(task).make_policy("expert", env, np.random.default_rng(seed))
    for _ in range(num_steps):
        obs, _, _, _, info = env.step(expert(obs, info))
    return env


def go_on(task, saved, actions):
    """Restore a state in an environment of this process and go on: what another process does."""
    env = envs.make(task, image_size=64)
    env.reset(seed=999)
    env.set_state(saved)
    pictures = [env.render()]
    states = [env.advance(action) for action in actions]
    found = pictures[0], env.render(), np.stack(states), env.get_state()
    env.close()
    return found


@pytest.fixture(scope="module")
def another_process():
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        yield process


@TASKS
def test_gymnasium_checker(task):
    envs.register()
    env = gymnasium.make(f"vjepa_wm/{task}-v0", image_size=64)
    check_env(env.unwrapped)
    env.close()


@TASKS
def test_names_count_what_is_there(env):
    obs, info = env.reset(seed=0)
    assert obs["state"].shape == (len(env.state_names),) == env.observation_space["state"].shape
    assert env.action_space.shape == (len(env.action_names),)
    assert info.get("object", np.zeros(0)).shape == (len(env.object_names),)
    assert ("object" in info["goal"]) == bool(env.object_names)


@TASKS
def test_starts_are_not_solved_and_differ(env):
    starts = []
    for seed in range(10):
        obs, info = env.reset(seed=seed)
        assert not info["is_success"] and info["distance"] > 0
        starts.append(obs["state"])
    assert len(np.unique(np.stack(starts), axis=0)) == 10


@TASKS
def test_goal_picture_is_that_of_the_goal_state(env):
    _, info = env.reset(seed=1)
    goal = info["goal"]
    # What the names of options say is what the goal is made of.
    options = {"start": goal["state"], "goal": goal["state"]}
    if env.object_names:
        options |= {"start_object": goal["object"], "goal_object": goal["object"]}
    obs, info = env.reset(options=options)
    np.testing.assert_array_equal(obs["image"], goal["image"])
    np.testing.assert_allclose(obs["state"], goal["state"], atol=1e-5)
    assert info["is_success"]


@TASKS
def test_state_goes_on_equally_in_another_process(task, another_process):
    env = play(task, seed=3, num_steps=12)
    saved, picture = env.get_state(), env.render()
    actions = drawn_actions(env, 0, 200) * 0.5
    theirs = another_process.submit(go_on, task, saved, actions)
    states = np.stack([env.advance(action) for action in actions])
    restored, last, their_states, final = theirs.result(timeout=120)
    np.testing.assert_array_equal(restored, picture)
    np.testing.assert_array_equal(their_states, states)
    np.testing.assert_array_equal(last, env.render())
    np.testing.assert_array_equal(final, env.get_state())
    env.close()


@TASKS
@pytest.mark.parametrize("name", ["play", "random", "expert", "noisy_expert"])
def test_policies_act_within_the_box_and_repeat(env, task, name):
    runs = []
    for seed in (0, 0, 1):
        obs, info = env.reset(seed=5)
        policy, actions = envs.find_task(task).make_policy(name, env, np.random.default_rng(seed)), []
        for _ in range(25):
            actions.append(policy(obs, info))
            assert actions[-1].dtype == np.float32 and env.action_space.contains(actions[-1])
            obs, _, _, _, info = env.step(actions[-1])
        runs.append(np.stack(actions))
    np.testing.assert_array_equal(runs[0], runs[1])
    assert name == "expert" or not np.array_equal(runs[0], runs[2])


@TASKS
def test_subgoals_come_in_order_and_end_in_the_goal(env):
    _, info = env.reset(seed=2)
    subgoals = info["goal"].get("subgoals", [])
    assert all(isinstance(subgoal, Mapping) and subgoal["name"] for subgoal in subgoals)
    for subgoal in subgoals:
        assert subgoal["image"].shape == info["goal"]["image"].shape
    if subgoals:
        np.testing.assert_array_equal(subgoals[-1]["image"], info["goal"]["image"])
        np.testing.assert_array_equal(subgoals[-1]["state"], info["goal"]["state"])


@TASKS
def test_what_a_caller_writes_to_the_goal_changes_nothing(env):
    _, info = env.reset(seed=0)
    expected = info["goal"]["image"].copy()
    info["goal"]["image"][:] = 0
    for subgoal in info["goal"].get("subgoals", []):
        subgoal["image"][:] = 0
    info = env.step(np.zeros(env.action_space.shape))[4]
    np.testing.assert_array_equal(info["goal"]["image"], expected)
    assert all(subgoal["image"].any() for subgoal in info["goal"].get("subgoals", []))
