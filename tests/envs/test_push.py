"""The task with a block: contract of the environment, exact goals, and how the block answers to the fingers."""

from __future__ import annotations

import itertools
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from vjepa_wm import envs
from vjepa_wm.envs.arm import push
from vjepa_wm.envs.arm.arm import REST_JOINTS, Arm
from vjepa_wm.envs.arm.hand import FINGER_HALF, TIP_BELOW_TOOL
from vjepa_wm.envs.arm.push.geometry import (
    BLOCK_HALF,
    BLOCK_HIGH,
    BLOCK_LOW,
    BLOCK_TOP,
    PUSH_HEIGHT,
    PUSH_WORKSPACE,
    heading_error,
    pose_behind,
    reaches_into,
)
from vjepa_wm.envs.arm.workspace import ACTION_HIGH
from vjepa_wm.envs.goal_env import GoalEnvConfig

SCENE = Path(push.__file__).with_name("scene.xml")
BLOCK = np.array([0.52, 0.0, 0.035, 0.0])
BEHIND = pose_behind(BLOCK)
AHEAD = np.array([0.05, 0, 0, 0, 0, 0, 0])


@pytest.fixture
def env():
    env = envs.make("push", image_size=64)
    yield env
    env.close()


@pytest.fixture
def twin():
    env = envs.make("push", image_size=64)
    yield env
    env.close()


def random_actions(seed, num_steps):
    return np.random.default_rng(seed).uniform(-ACTION_HIGH, ACTION_HIGH, (num_steps, 7)).astype(np.float32)


def test_gymnasium_checker():
    envs.register()
    env = gymnasium.make("vjepa_wm/push-v0", image_size=64)
    check_env(env.unwrapped)
    env.close()


def test_equal_seeds_give_equal_episodes(env, twin):
    (obs, info), (twin_obs, twin_info) = env.reset(seed=3), twin.reset(seed=3)
    for name in ("image", "state", "object"):
        np.testing.assert_array_equal(info["goal"][name], twin_info["goal"][name])
    for action in random_actions(0, 5):
        np.testing.assert_array_equal(obs["image"], twin_obs["image"])
        np.testing.assert_array_equal(info["object"], twin_info["object"])
        obs, _, _, _, info = env.step(action)
        twin_obs, _, _, _, twin_info = twin.step(action)
    assert not np.array_equal(twin.reset(seed=4)[1]["object"], env.reset(seed=3)[1]["object"])


def test_a_state_restored_in_the_middle_of_a_push_goes_on_equally(env, twin):
    env.reset(seed=0, options={"start": BEHIND, "start_object": BLOCK})
    twin.reset(seed=1)
    env.step(AHEAD)
    saved = env.get_state()
    pushes = [AHEAD, [0.03, 0.04, 0, 0, 0, 0.2, 0], [0.03, -0.05, 0, 0, 0, 0, -1], *random_actions(2, 4)]
    first = [env.step(action) for action in pushes]
    final = env.get_state()
    assert np.linalg.norm(first[-1][4]["object"][:2] - BLOCK[:2]) > 0.08
    for other in (twin, env):
        other.set_state(saved)
        for action, expected in zip(pushes, first, strict=True):
            obs, _, _, _, info = other.step(action)
            np.testing.assert_array_equal(obs["image"], expected[0]["image"])
            np.testing.assert_array_equal(obs["state"], expected[0]["state"])
            np.testing.assert_array_equal(info["object"], expected[4]["object"])
        np.testing.assert_array_equal(other.get_state(), final)


@pytest.mark.parametrize("seed", range(3))
def test_goal_picture_is_that_of_the_goal_state(env, twin, seed):
    obs, info = env.reset(seed=seed)
    goal = info["goal"]
    np.testing.assert_array_equal(env.render(), obs["image"])
    there = {"start": goal["state"], "start_object": goal["object"], "goal_object": goal["object"]}
    obs, info = twin.reset(options=there)
    np.testing.assert_array_equal(obs["image"], goal["image"])
    assert info["is_success"] and info["distance"] == 0 and info["heading_error"] == 0
    obs, _, _, _, info = twin.step(np.zeros(7))
    assert info["is_success"] and info["distance"] < 1e-4  # at rest, touching nothing
    assert np.abs(obs["image"].astype(int) - goal["image"]).mean() < 0.2


def test_pushing_from_behind_ends_as_a_goal_picture(env):
    goal = {"goal_object": np.add(BLOCK, [0.06, 0, 0, 0])}
    _, info = env.reset(options={"start": np.subtract(BEHIND, [0.02, 0, 0, 0, 0, 0, 0]), "start_object": BLOCK, **goal})
    assert not info["is_success"]
    for share in (0.04, 0.04):
        obs, _, _, _, info = env.step(AHEAD * (share / AHEAD[0]))
    assert info["is_success"] and info["distance"] < 0.005 and info["heading_error"] < 0.02
    assert np.abs(obs["image"].astype(int) - info["goal"]["image"]).mean() < 1.0


def test_success_needs_the_heading_too(env):
    turned = np.add(BLOCK, [0, 0, 0, 0.26])
    _, info = env.reset(options={"start_object": BLOCK, "goal_object": turned})
    assert info["distance"] == 0 and not info["is_success"]
    assert info["heading_error"] == pytest.approx(0.26, abs=1e-4)
    _, info = env.reset(options={"start_object": BLOCK, "goal_object": np.add(BLOCK, [0.039, 0, 0, 0.24])})
    assert info["is_success"]
    _, reward, _, _, info = env.step(np.zeros(7))
    assert reward == pytest.approx(-info["distance"] - 0.1 * info["heading_error"]) == pytest.approx(-0.063, abs=1e-3)


def test_headings_wrap():
    assert heading_error(3.1, -3.1) == pytest.approx(-0.0832, abs=1e-3)
    assert heading_error(0.2, 0.5) == pytest.approx(-0.3)


def test_sampled_episodes(env):
    for seed in range(30):
        obs, info = env.reset(seed=seed)
        assert info["distance"] >= env.config.min_distance - 1e-6 and not info["is_success"]
        for block in (info["object"], info["goal"]["object"]):
            assert (block[[0, 1, 3]] >= BLOCK_LOW - 1e-6).all() and (block[[0, 1, 3]] <= BLOCK_HIGH + 1e-6).all()
        for state, block in ((obs["state"], info["object"]), (info["goal"]["state"], info["goal"]["object"])):
            assert not reaches_into(state, block, 0.0)
            assert (state > PUSH_WORKSPACE.low - 1e-6).all() and (state < PUSH_WORKSPACE.high + 1e-6).all()


def test_the_block_is_in_sight_at_the_start_and_in_the_goal_picture():
    env = envs.make("push", image_size=128)
    for seed in range(30):
        obs, info = env.reset(seed=seed)
        for image in (obs["image"], info["goal"]["image"]):
            red, green, blue = image.astype(int).transpose(2, 0, 1)
            yellow = (red > 110) & (green > 95) & (blue < 60) & (np.abs(red - green) < 60)
            magenta = (red > 100) & (green < 40) & (blue > 80)
            assert yellow.sum() > 100 and magenta.sum() > 80
            columns = np.nonzero(yellow | magenta)[1]
            assert columns.min() > 0 and columns.max() < 127
    env.close()


@pytest.mark.parametrize("step", [0.02, 0.075])
def test_the_block_goes_as_far_as_it_is_pushed_and_stays_there(env, step):
    env.reset(options={"start": BEHIND, "start_object": BLOCK, "goal_object": BLOCK})
    for _ in range(round(0.15 / step)):
        env.step(AHEAD * (step / 0.05))
    info = env.step(np.zeros(7))[4]
    np.testing.assert_allclose(info["object"], np.add(BLOCK, [0.148, 0, 0, 0]), atol=0.012)
    again = env.step(np.zeros(7))[4]
    np.testing.assert_allclose(again["object"], info["object"], atol=1e-4)


@pytest.mark.parametrize("side", [-1, 1])
def test_pushing_beside_the_middle_turns_the_block(env, side):
    env.reset(options={"start": np.add(BEHIND, [0, side * 0.04, 0, 0, 0, 0, 0]), "start_object": BLOCK})
    for _ in range(2):
        info = env.step(AHEAD)[4]
    assert -side * info["object"][3] > 0.15


def test_fingers_do_not_press_onto_the_block(env):
    for place in ([0, 0], [0.07, 0.05], [-0.1, 0]):
        start = np.array([*(BLOCK[:2] + place), 0.13, 0, 0, 0, 1])
        env.reset(options={"start": start, "start_object": BLOCK})
        for action in ([0, 0, -0.075, 0, 0, 0, -1], [0, 0, -0.075, 0, 0, 0, 0], [0, 0, -0.03, 0, 0, 0, 0]):
            obs, _, _, _, info = env.step(action)
        assert obs["state"][2] > BLOCK_TOP + TIP_BELOW_TOOL
        np.testing.assert_allclose(info["object"], BLOCK, atol=5e-4)


def test_beside_the_block_the_fingers_go_down(env):
    start = np.array([BLOCK[0], BLOCK[1] + 0.12, 0.11, 0, 0, 0, 1])
    env.reset(options={"start": start, "start_object": BLOCK})
    obs, _, _, _, info = env.step([0, 0, -0.075, 0, 0, 0, 0])
    assert obs["state"][2] == pytest.approx(PUSH_HEIGHT, abs=1e-3)
    np.testing.assert_allclose(info["object"], BLOCK, atol=5e-4)


def test_sizes_are_those_of_the_model():
    model = Arm(GoalEnvConfig(image_size=32), scene=SCENE, workspace=PUSH_WORKSPACE).model
    np.testing.assert_array_equal(model.geom("block").size, BLOCK_HALF)
    finger = model.geom("finger1")
    np.testing.assert_allclose(FINGER_HALF, [finger.size[0], 2 * finger.size[1]])
    hand_to_tool, hand_to_finger = model.site("tool").pos[2], model.body("finger1").pos[2]
    assert hand_to_finger + finger.pos[2] + finger.size[2] - hand_to_tool == pytest.approx(TIP_BELOW_TOOL)
    hand = model.geom("hand")
    lowest_palm = PUSH_WORKSPACE.low[2] + hand_to_tool - hand.pos[2] - hand.size[2]
    assert lowest_palm > BLOCK_TOP


def test_the_whole_workspace_is_within_reach_and_off_singularities():
    arm = Arm(GoalEnvConfig(image_size=32), scene=SCENE, workspace=PUSH_WORKSPACE)
    grid = [
        np.linspace(low, high, 4) for low, high in zip(PUSH_WORKSPACE.low[:3], PUSH_WORKSPACE.high[:3], strict=True)
    ]
    for x, y, z, yaw in itertools.product(*grid, (-0.6, 0.6)):
        joints = arm.solve(np.array([x, y, z, 0, 0, yaw, 0]), REST_JOINTS)[:7]
        assert (joints > arm.model.jnt_range[:7, 0] + 0.05).all()
        assert (joints < arm.model.jnt_range[:7, 1] - 0.05).all()
        assert np.sin(joints[5]) > 0.05


def test_the_gripper_stays_upright(env):
    env.reset(seed=0)
    for action in random_actions(0, 20):
        state = env.advance(action)
    np.testing.assert_allclose(state[3:5], 0, atol=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"object": BLOCK},
            r"options of reset must be 'start', 'start_object', 'goal' and 'goal_object', got \['object'",
        ),
        ({"start_object": BLOCK[:3]}, "start_object must be 4 finite numbers, x, y, z and yaw, got"),
        (
            {"goal_object": np.add(BLOCK, [0, 0, 0.1, 0])},
            "goal_object must lie on the table, with its centre at z = 0.035, got",
        ),
        (
            {"goal_object": np.add(BLOCK, [0.4, 0, 0, 0])},
            r"goal_object must lie in the workspace \[0.36, -0.29\] .. .*0.92",
        ),
        ({"start": np.add(BEHIND, [0.9, 0, 0, 0, 0, 0, 0])}, r"start must lie in the workspace \[0.36, "),
        (
            {"start": np.array([*BLOCK[:2], 0.04, 0, 0, 0, 1]), "start_object": BLOCK},
            "the fingers reached into the block",
        ),
    ],
)
def test_bad_reset_options(env, options, message):
    with pytest.raises(ValueError, match=message):
        env.reset(options=options)


def test_options_out_of_range():
    from vjepa_wm.envs.arm.push.env import PushConfig

    with pytest.raises(
        ValueError, match=r"min_distance must satisfy 0 < success_radius < min_distance <= 0.2, got 0.2"
    ):
        PushConfig(success_radius=0.2)
    with pytest.raises(ValueError, match="success_angle must be between 0 and pi, got 4"):
        PushConfig(success_angle=4)
    with pytest.raises(ValueError, match="image_size must be between 16 and 1024, got 8"):
        PushConfig(image_size=8)
