"""What the arm keeps its fingers off: the cabinet, the drawer and its handle, whose sizes are those of the model."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from vjepa_wm import envs
from vjepa_wm.envs.arm.arm import REST_JOINTS
from vjepa_wm.envs.arm.drawer.env import DrawerArm
from vjepa_wm.envs.arm.drawer.geometry import (
    BOXES_HIGH,
    BOXES_LOW,
    BOXES_TOP,
    CABINET_TOP,
    DRAWER_WORKSPACE,
    GRIP_HEIGHT,
    HANDLE_OUT,
    HANDLE_TOP,
    MAX_OPENING,
    handle_place,
    reaches_into,
    stay_out,
)
from vjepa_wm.envs.arm.workspace import ACTION_HIGH
from vjepa_wm.envs.goal_env import GoalEnvConfig

DRAWER = np.array([0.53, 0.11, 0.06])


@pytest.fixture
def env():
    env = envs.make("drawer", image_size=64)
    yield env
    env.close()


def start_at(env, pose, drawer=DRAWER, goal=0.15):
    return env.reset(options={"start": pose, "start_object": drawer, "goal_object": [*drawer[:2], goal]})


def run(env, actions):
    for action in actions:
        obs, _, _, _, info = env.step(action)
    return obs, info


@pytest.mark.parametrize("place", [[0, 0], [0.07, -0.04], [0.05, 0.1], [0.13, 0.1], [-0.1, -0.02]])
@pytest.mark.parametrize("gripper", [0.0, 1.0])
def test_fingers_do_not_press_onto_anything(env, place, gripper):
    closed = np.array([*DRAWER[:2], 0.0])
    start = np.array([*(closed[:2] + place), 0.2, 0, 0, 0, gripper])
    start_at(env, start, closed)
    for _ in range(4):
        obs, _, _, _, info = env.step([0, 0, -0.05, 0, 0, 0, 0])
        assert not reaches_into(obs["state"].astype(float), info["object"].astype(float), 0.003)
    np.testing.assert_allclose(info["object"], closed, atol=1e-4)
    assert obs["state"][2] > GRIP_HEIGHT + 0.01


def test_around_the_handle_and_beside_the_cabinet_the_fingers_go_down(env):
    for x, y, gripper in ((DRAWER[0], handle_place(DRAWER)[1], 0.0), (DRAWER[0] - 0.16, DRAWER[1] + 0.05, 1.0)):
        start_at(env, np.array([x, y, 0.155, 0, 0, 0, gripper]))
        obs, info = run(env, [[0, 0, -0.075, 0, 0, 0, 0]])
        assert obs["state"][2] == pytest.approx(GRIP_HEIGHT, abs=2e-3)
        np.testing.assert_allclose(info["object"], DRAWER, atol=1e-4)


@pytest.mark.parametrize(
    ("start", "way"),
    [
        ((-0.155, 0.05), (0.06, 0.0)),  # the cabinet's left side
        ((0.155, -0.02), (-0.06, 0.0)),  # the open drawer's right side
        ((0.0, -0.135), (0.06, 0.0)),  # a post, from between handle and front
        ((0.115, -0.14), (-0.06, 0.0)),  # the handle's end
    ],
)
def test_fingers_stop_at_sides_that_do_not_give_way(env, start, way):
    pose = np.array([*(DRAWER[:2] + start), 0.085, 0, 0, 0, 0.74])
    start_at(env, pose)
    obs, info = run(env, [[*way, 0, 0, 0, 0, 0]] * 3)
    np.testing.assert_allclose(info["object"], DRAWER, atol=1e-4)
    np.testing.assert_allclose(obs["state"][3:6], 0, atol=2e-3)
    gone = obs["state"][:2] - pose[:2]
    assert 0.002 < abs(gone[0]) < 0.045
    assert not reaches_into(obs["state"].astype(float), info["object"].astype(float), 0.003)
    # Away from there nothing holds them.
    obs, _ = run(env, [[-way[0] / 3, 0, 0, 0, 0, 0, 0]])
    assert abs(obs["state"][0] - pose[0] - gone[0] + way[0] / 3) < 2e-3


def test_free_displacements_are_left_alone():
    action = np.array([0.05, -0.03, -0.02, 0, 0, 0.1, -0.5])
    np.testing.assert_array_equal(stay_out(np.array([0.45, -0.2, 0.1, 0, 0, 0, 1]), action, DRAWER), action)


def test_whatever_is_done_the_fingers_stay_out_of_the_cabinet(env):
    env.reset(seed=0)
    rng, deepest = np.random.default_rng(0), 0
    for _ in range(150):
        # Low, and mostly towards the cabinet.
        action = np.add(rng.uniform(-ACTION_HIGH, ACTION_HIGH), [0, 0.03, -0.04, 0, 0, 0, 0])
        state = env.advance(action).astype(float)
        drawer = env._arm.drawer()
        deepest += reaches_into(state, np.array([*drawer[:2], 0.0]), 0.012)
        np.testing.assert_allclose(state[3:5], 0, atol=0.06)
        assert -2e-3 < drawer[2] < MAX_OPENING + 2e-3
    assert deepest == 0


def test_sizes_are_those_of_the_model():
    model = DrawerArm(GoalEnvConfig(image_size=32)).model
    handle, front = model.geom("handle"), model.geom("front")
    assert handle.pos[1] == -HANDLE_OUT and handle.pos[2] + handle.size[2] == pytest.approx(HANDLE_TOP)
    np.testing.assert_array_equal(model.joint("drawer").range, [0, MAX_OPENING])
    shapes = {2: handle, 3: model.geom("post2"), 4: model.geom("post1")}
    for box, geom in shapes.items():
        np.testing.assert_allclose(BOXES_LOW[box], geom.pos[:2] - geom.size[:2], atol=1e-9)
        np.testing.assert_allclose(BOXES_HIGH[box], geom.pos[:2] + geom.size[:2], atol=1e-9)
        assert BOXES_TOP[box] == pytest.approx(geom.pos[2] + geom.size[2])
    np.testing.assert_allclose(BOXES_LOW[1], front.pos[:2] - front.size[:2], atol=1e-9)
    rest = [
        k for k in range(model.ngeom) if model.body("cabinet").id <= model.geom_bodyid[k] <= model.body("drawer").id
    ]
    rest = [k for k in rest if model.geom(k).name not in ("handle", "post1", "post2")]
    highs, lows = model.geom_pos[rest] + model.geom_size[rest], model.geom_pos[rest] - model.geom_size[rest]
    np.testing.assert_allclose(highs.max(0), [*BOXES_HIGH[0], CABINET_TOP], atol=1e-9)
    np.testing.assert_allclose(lows.min(0)[:2], BOXES_LOW[0], atol=1e-9)
    hand, hand_to_tool = model.geom("hand"), model.site("tool").pos[2]
    assert DRAWER_WORKSPACE.low[2] + hand_to_tool - hand.pos[2] - hand.size[2] > CABINET_TOP


def test_the_whole_workspace_is_within_reach_and_off_singularities():
    arm = DrawerArm(GoalEnvConfig(image_size=32))
    low, high = DRAWER_WORKSPACE
    grid = [np.linspace(low[k], high[k], 4) for k in range(3)]
    for x, y, z, yaw in itertools.product(*grid, (low[5], high[5])):
        joints = arm.solve(np.array([x, y, z, 0, 0, yaw, 0]), REST_JOINTS)[:7]
        assert (joints > arm.model.jnt_range[:7, 0] + 0.05).all()
        assert (joints < arm.model.jnt_range[:7, 1] - 0.05).all()
        assert np.sin(joints[5]) > 0.05
