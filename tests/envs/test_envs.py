"""Contract of the environments: gymnasium's checker, exact repetition, accurate motion, texts of errors."""

from __future__ import annotations

import itertools
import subprocess
import sys

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

from vjepa_wm import envs
from vjepa_wm.envs.arm.arm import REST_JOINTS, Arm
from vjepa_wm.envs.arm.reach.geometry import POSE_HIGH, POSE_LOW, REACH_WORKSPACE
from vjepa_wm.envs.arm.rotation import compose, difference, euler_from_matrix, matrix_from_euler
from vjepa_wm.envs.arm.workspace import ACTION_HIGH
from vjepa_wm.envs.goal_env import GoalEnvConfig
from vjepa_wm.models.pose import integrate_pose

CENTRE = np.array([0.5, 0.0, 0.25, 0.0, 0.0, 0.0, 0.0])


@pytest.fixture
def env():
    env = envs.make("reach", image_size=64)
    yield env
    env.close()


@pytest.fixture
def twin():
    env = envs.make("reach", image_size=64)
    yield env
    env.close()


def actions(seed, num_steps):
    high = ACTION_HIGH * [1, 1, 1, 0.3, 0.3, 0.3, 0.5]
    return np.random.default_rng(seed).uniform(-high, high, (num_steps, 7)).astype(np.float32)


def test_gymnasium_checker():
    envs.register()
    env = gymnasium.make("vjepa_wm/reach-v0", image_size=64)
    check_env(env.unwrapped)
    env.close()


def test_equal_seeds_give_equal_pixels(env, twin):
    (obs, info), (twin_obs, twin_info) = env.reset(seed=3), twin.reset(seed=3)
    for action in actions(0, 5):
        np.testing.assert_array_equal(obs["image"], twin_obs["image"])
        np.testing.assert_array_equal(obs["state"], twin_obs["state"])
        np.testing.assert_array_equal(info["goal"]["image"], twin_info["goal"]["image"])
        obs, info = env.step(action)[::4]
        twin_obs, twin_info = twin.step(action)[::4]
    other, _ = twin.reset(seed=4)
    assert not np.array_equal(other["image"], obs["image"])


def test_state_restored_elsewhere_goes_on_equally(env, twin):
    env.reset(seed=0)
    twin.reset(seed=1)
    for action in actions(0, 3):
        env.step(action)
    saved = env.get_state()
    first = [env.step(action)[0] for action in actions(1, 6)]
    final = env.get_state()
    for other in (twin, env):
        other.set_state(saved)
        np.testing.assert_array_equal(other.get_state(), saved)
        for action, expected in zip(actions(1, 6), first, strict=True):
            obs = other.step(action)[0]
            np.testing.assert_array_equal(obs["state"], expected["state"])
            np.testing.assert_array_equal(obs["image"], expected["image"])
        np.testing.assert_array_equal(other.get_state(), final)


def test_restored_picture_is_that_of_the_state(env, twin):
    env.reset(seed=0)
    obs = env.step(ACTION_HIGH)[0]
    twin.set_state(env.get_state())
    np.testing.assert_array_equal(twin.render(), obs["image"])


def test_advance_is_step_without_picture(env, twin):
    env.reset(seed=0)
    twin.set_state(env.get_state())
    for action in actions(2, 3):
        np.testing.assert_array_equal(twin.advance(action), env.step(action)[0]["state"])


def test_goal_picture_is_that_of_the_arm_at_the_goal(env, twin):
    obs, info = env.reset(seed=0)
    goal = info["goal"]
    np.testing.assert_array_equal(env.render(), obs["image"])
    there, there_info = twin.reset(options={"start": goal["state"], "goal": goal["state"]})
    np.testing.assert_array_equal(there["image"], goal["image"])
    np.testing.assert_allclose(there["state"], goal["state"], atol=1e-6)
    assert there_info["is_success"] and there_info["distance"] < 1e-6


@pytest.mark.parametrize("seed", range(3))
def test_the_way_to_a_pose_does_not_show_in_the_picture(env, seed):
    _, info = env.reset(seed=seed)
    for action in actions(seed, 20):
        env.advance(action)
    goal = info["goal"]["state"].astype(np.float64)
    for _ in range(8):
        state = env._arm.pose()
        action = goal - state
        action[3:6] = difference(goal[3:6], state[3:6])
        obs = env.step(action)[0]
    np.testing.assert_allclose(obs["state"], goal, atol=1e-3)
    assert np.abs(obs["image"].astype(int) - info["goal"]["image"]).mean() < 0.2


@pytest.mark.parametrize("axis", range(6))
@pytest.mark.parametrize("sign", [-1, 1])
def test_a_step_moves_by_the_action(env, axis, sign):
    env.reset(options={"start": CENTRE})
    action = np.zeros(7)
    action[axis] = sign * min(ACTION_HIGH[axis], 0.1)
    np.testing.assert_allclose(env.advance(action), CENTRE + action, atol=5e-4)
    rested = [env.advance(np.zeros(7)) for _ in range(5)][-1]
    np.testing.assert_allclose(rested, CENTRE + action, atol=1e-3)


def test_the_world_model_integrates_actions_as_the_arm_does(env):
    state = env.reset(options={"start": CENTRE})[0]["state"]
    action = np.array([0.03, -0.05, 0.04, 0.05, -0.06, 0.2, 0.5], dtype=np.float32)
    for _ in range(2):
        action[[0, 1, 2, 3, 4]] *= -1
        expected = integrate_pose(torch.tensor(state), torch.tensor(action))
        state = env.advance(action)
        np.testing.assert_allclose(state, expected, atol=2e-3)


def test_resting_does_not_drift(env):
    start = env.reset(seed=0)[0]["state"]
    for _ in range(20):
        state = env.advance(np.zeros(7))
    np.testing.assert_allclose(state, start, atol=1e-6)


def test_the_workspace_holds_the_arm(env):
    env.reset(seed=0)
    for _ in range(8):
        state = env.advance(np.array([1, 1, -1, 1, 1, 1, 1]))
    expected = np.where([1, 1, 0, 1, 1, 1, 1], POSE_HIGH, POSE_LOW)
    np.testing.assert_allclose(state, expected, atol=2e-3)


def test_every_corner_of_the_workspace_is_within_reach():
    arm = Arm(GoalEnvConfig(image_size=32), workspace=REACH_WORKSPACE)
    for corner in itertools.product(*zip(POSE_LOW[:6], POSE_HIGH[:6], strict=True)):
        joints = arm.solve(np.array([*corner, 0.0]), REST_JOINTS)
        assert abs(joints[2]) < 1e-6
        assert (joints[:7] > arm.model.jnt_range[:7, 0] + 0.05).all()
        assert (joints[:7] < arm.model.jnt_range[:7, 1] - 0.05).all()


def test_kinematics_agree_with_the_published_table():
    # Craig's parameters of the Franka arm: a, d, alpha of each joint, then the flange, the hand and its centre point.
    upper = [(0, 0.333, 0), (0, 0, -90), (0, 0.316, 90), (0.0825, 0, 90)]
    table = [*upper, (-0.0825, 0.384, -90), (0, 0, 90), (0.088, 0, 90)]
    arm = Arm(GoalEnvConfig(image_size=32), workspace=REACH_WORKSPACE)
    pose = np.array([0.45, 0.15, 0.3, 0.05, -0.08, 0.3, 0.0])
    frame = np.eye(4)
    for (a, d, alpha), angle in zip(table, arm.solve(pose, REST_JOINTS)[:7], strict=True):
        turn, joint = np.eye(4), np.eye(4)
        turn[:3, :3] = matrix_from_euler([np.radians(alpha), 0, 0])
        turn[0, 3] = a
        joint[:3, :3] = matrix_from_euler([0, 0, angle])
        joint[2, 3] = d
        frame = frame @ turn @ joint
    np.testing.assert_allclose(frame[:3, 3] + (0.107 + 0.1034) * frame[:3, 2], pose[:3], atol=1e-6)
    np.testing.assert_allclose(frame[:3, 2], -matrix_from_euler(pose[3:6])[:, 2], atol=1e-6)


def test_sampled_episodes(env):
    for seed in range(20):
        obs, info = env.reset(seed=seed)
        assert info["distance"] >= env.config.min_distance and not info["is_success"]
        for state in (obs["state"], info["goal"]["state"]):
            assert (state > POSE_LOW - 1e-6).all() and (state < POSE_HIGH + 1e-6).all()


def test_success_reward_and_truncation():
    env = envs.make("reach", image_size=32, max_steps=2)
    goal = CENTRE + np.eye(7)[0] * 0.1
    _, info = env.reset(options={"start": CENTRE, "goal": goal})
    assert info["distance"] == pytest.approx(0.1, abs=1e-4) and not info["is_success"]
    forward = np.array([0.06, 0, 0, 0, 0, 0, 0])
    _, reward, terminated, truncated, info = env.step(forward)
    assert info["is_success"] and not terminated and not truncated
    assert reward == -info["distance"] == pytest.approx(-0.04, abs=1e-3)
    _, _, terminated, truncated, info = env.step(forward)
    assert info["is_success"] and not terminated and truncated
    env.close()


def test_the_hand_is_in_the_picture_everywhere():
    env = envs.make("reach", image_size=128)
    corners = itertools.product(*zip(POSE_LOW[:3], POSE_HIGH[:3], strict=True))
    for corner in corners:
        image = env.reset(options={"start": [*corner, 0, 0, 0, 0]})[0]["image"].astype(int)
        red = (image[..., 0] > 100) & (image[..., 1] < 50) & (image[..., 2] < 60)
        rows, columns = np.nonzero(red)
        assert red.sum() > 150
        assert min(rows.min(), columns.min()) > 0 and max(rows.max(), columns.max()) < 127
    env.close()


@pytest.mark.parametrize("seed", range(5))
def test_rotations_there_and_back(seed):
    now, goal = np.random.default_rng(seed).uniform(-1.2, 1.2, (2, 3))
    np.testing.assert_allclose(euler_from_matrix(matrix_from_euler(now)), now, atol=1e-12)
    np.testing.assert_allclose(compose(difference(goal, now), now), goal, atol=1e-12)


def test_unknown_task_names_the_known():
    with pytest.raises(ValueError, match=r"unknown task 'raech', did you mean 'reach'\? known tasks: reach"):
        envs.make("raech")
    with pytest.raises(ValueError, match="unknown task 'fold'; known tasks: reach"):
        envs.make("fold")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 8}, "image_size must be between 16 and 1024, got 8"),
        ({"max_steps": 0}, "max_steps must be at least 1, or None for no limit, got 0"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        envs.make("reach", **options)


@pytest.mark.parametrize("action", [np.zeros(6), np.zeros((1, 7)), np.full(7, np.nan), np.full(7, np.inf)])
def test_bad_action(env, action):
    env.reset(seed=0)
    with pytest.raises(ValueError, match="action must be 7 finite numbers, got"):
        env.step(action)


def test_step_before_reset(env):
    with pytest.raises(gymnasium.error.ResetNeeded, match=r"call reset\(\) before step\(\)"):
        env.step(np.zeros(7))


def test_bad_reset_options(env):
    with pytest.raises(ValueError, match=r"options of reset must be 'start' and 'goal', got \['begin'\]"):
        env.reset(options={"begin": CENTRE})
    with pytest.raises(ValueError, match="start must be a state of 7 finite numbers"):
        env.reset(options={"start": CENTRE[:6]})
    with pytest.raises(ValueError, match=r"goal must lie in the workspace \[0.38, .*, got \[0.9,"):
        env.reset(options={"goal": CENTRE + np.eye(7)[0] * 0.4})


def test_bad_state(env):
    size = env.get_state().size
    with pytest.raises(
        ValueError, match=rf"state must be what get_state returns, of shape \({size},\), got shape \(3,\)"
    ):
        env.set_state(np.zeros(3))


def test_importing_envs_and_policies_leaves_mujoco_alone():
    code = "import sys; from vjepa_wm.envs import TASKS, find_task; list(map(find_task, TASKS)); "
    code += "sys.exit('mujoco' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
