"""Policies with the brick: experts solve their tasks, also disturbed; play handles the brick and keeps it in reach."""

from __future__ import annotations

import subprocess
import sys

import gymnasium
import numpy as np
import pytest

from vjepa_wm import envs
from vjepa_wm.envs.arm.arm_policies import NoisyPolicy
from vjepa_wm.envs.arm.brick.brick_play import BrickPlay
from vjepa_wm.envs.arm.brick.geometry import BRICK_WORKSPACE, LYING, PRESSING, holds, pose_around
from vjepa_wm.envs.arm.brick.grasp.policies import GraspExpert
from vjepa_wm.envs.arm.brick.moves import CLEAR_ABOVE, carry, grasp, let_go
from vjepa_wm.envs.arm.brick.pick_place.policies import PickPlaceExpert
from vjepa_wm.envs.arm.workspace import ACTION_HIGH
from vjepa_wm.envs.policy import RandomPolicy

BRICK = np.array([0.53, 0.02, LYING, 0.3])
EXPERTS = {"grasp": GraspExpert, "pick_place": PickPlaceExpert}


@pytest.fixture(scope="module")
def made():
    made = {task: envs.make(task, image_size=16) for task in EXPERTS}
    yield made
    for env in made.values():
        env.close()


def run(env, policy, seed, num_steps):
    """Return states and bricks before each step, and all infos, the last one's after the last step."""
    obs, info = env.reset(seed=seed)
    states, bricks, infos = [obs["state"]], [info["object"]], [info]
    for _ in range(num_steps):
        action = policy({"state": states[-1]}, infos[-1])
        assert env.action_space.contains(action)
        states.append(env.advance(action))
        infos.append(env._info())
        bricks.append(infos[-1]["object"])
    return np.stack(states), np.stack(bricks), infos


@pytest.mark.parametrize("seed", range(8))
def test_expert_lifts_the_brick_and_holds_it_there(made, seed):
    states, bricks, infos = run(made["grasp"], GraspExpert(), seed, 14)
    assert all(info["is_success"] for info in infos[10:])
    assert infos[-1]["distance"] < 2e-3
    np.testing.assert_allclose(states[-1], infos[-1]["goal"]["state"], atol=0.02)
    # Nothing is touched before it is grasped.
    before = [k for k in range(15) if not holds(states[k], bricks[k])]
    np.testing.assert_allclose(bricks[before], np.tile(bricks[0], (len(before), 1)), atol=5e-3)


@pytest.mark.parametrize("seed", range(8))
def test_expert_goes_through_the_parts_and_rests_in_the_goal(made, seed):
    states, bricks, infos = run(made["pick_place"], PickPlaceExpert(), seed, 26)
    numbers = [info["num_subgoals_reached"] for info in infos]
    assert numbers.index(1) < numbers.index(2) < numbers.index(3)
    assert infos[-1]["is_success"] and infos[-1]["distance"] < 5e-3
    np.testing.assert_allclose(bricks[-1], infos[-1]["goal"]["object"], atol=0.03)
    np.testing.assert_allclose(states[-1], infos[-1]["goal"]["state"], atol=5e-3)


@pytest.mark.parametrize(("task", "num_steps"), [("grasp", 20), ("pick_place", 35)])
def test_expert_with_noise_solves_it_too_and_random_does_not(made, task, num_steps):
    solved = []
    for seed in range(6):
        noisy = NoisyPolicy(EXPERTS[task](), np.random.default_rng(seed), BRICK_WORKSPACE)
        solved.append(run(made[task], noisy, seed, num_steps)[2][-1]["is_success"])
    assert sum(solved) >= 5
    for seed in range(3):
        drawn = RandomPolicy(np.random.default_rng(seed), gymnasium.spaces.Box(-ACTION_HIGH, ACTION_HIGH))
        assert not any(info["is_success"] for info in run(made[task], drawn, seed, num_steps)[2])


def test_expert_picks_up_a_brick_that_was_put_down_in_the_wrong_place(made):
    env = made["pick_place"]
    _, info = env.reset(seed=0)
    lifted = np.add(info["object"], [0, 0, 0.1, 0])
    env.reset(options={"start": pose_around(lifted), "start_object": lifted, "goal_object": info["goal"]["object"]})
    expert = PickPlaceExpert()
    env.advance(let_go(env._state()))
    assert env._info()["object"][2] < 0.1
    for _ in range(25):
        env.advance(expert({"state": env._state()}, env._info()))
    assert env._info()["is_success"]


def test_grasping_goes_over_then_down_then_closes():
    away = np.array([0.45, -0.2, 0.15, 0, 0, 0, 0.4])
    action = grasp(away, BRICK)
    assert action[0] > 0 and action[1] > 0 and action[6] < 0
    over = pose_around(BRICK, gripper=0.0)
    over[2] = BRICK[2] + CLEAR_ABOVE
    assert grasp(over, BRICK)[2] < -0.03
    around = pose_around(BRICK, gripper=0.0)
    np.testing.assert_allclose(grasp(around, BRICK), [0, 0, 0, 0, 0, 0, PRESSING], atol=1e-9)
    beside = np.add(around, [0.0, 0.08, 0, 0, 0, 0, 0])
    np.testing.assert_allclose(grasp(beside, BRICK)[:2], 0, atol=1e-9)
    assert grasp(beside, BRICK)[2] > 0.03


def test_carrying_turns_the_short_way_within_the_workspace():
    state = pose_around(BRICK)
    action = carry(state, BRICK, np.add(BRICK, [0.03, 0, 0.02, np.pi + 0.1]))
    np.testing.assert_allclose(action, [0.03, 0, 0.02, 0, 0, 0.1, 0], atol=1e-6)
    state[5] = 1.15
    assert carry(state, BRICK, np.add(BRICK, [0, 0, 0, 0.5]))[5] == pytest.approx(0.05)


def test_play_handles_the_brick_and_keeps_it_in_reach(made):
    grips, drops, pushes, outside, lows = 0, 0, 0, 0, []
    for seed in range(6):
        states, bricks, _ = run(made["grasp"], BrickPlay(np.random.default_rng([0, seed])), seed, 100)
        held = np.array([holds(state, brick) for state, brick in zip(states, bricks, strict=True)])
        moved = np.linalg.norm(np.diff(bricks[:, :2], axis=0), axis=1) > 3e-3
        grips += int((held[1:] & ~held[:-1]).sum())
        drops += int((held[:-1] & ~held[1:] & (bricks[:-1, 2] > LYING + 5e-3)).sum())
        pushes += int((moved & ~held[1:] & ~held[:-1]).sum())
        outside += int(((bricks[:, :2] < BRICK_WORKSPACE.low[:2]) | (bricks[:, :2] > BRICK_WORKSPACE.high[:2])).sum())
        lows.append(states[:, 2] < 0.06)
    assert grips > 10 and drops > 3 and pushes > 10
    assert outside < 0.05 * 600
    assert 0.1 < np.mean(lows) < 0.6


def test_play_goes_on_when_the_brick_is_out_of_reach(made):
    env = made["grasp"]
    obs, info = env.reset(seed=0)
    play, far = BrickPlay(np.random.default_rng(0)), np.array([0.9, 0.5, LYING, 1.5])
    for _ in range(60):
        action = play(obs, info | {"object": far})
        assert env.action_space.contains(action)
        obs = {"state": env.advance(action)}


def test_policies_need_no_simulator():
    code = "import sys, vjepa_wm.envs.arm.brick.brick_play; sys.exit('mujoco' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
