"""The task with a drawer: exact goals, how the drawer answers to the fingers, errors in options."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from vjepa_wm import envs
from vjepa_wm.envs.arm.drawer.env import DrawerConfig
from vjepa_wm.envs.arm.drawer.geometry import (
    CABINET_TOP,
    DRAWER_HIGH,
    DRAWER_LOW,
    HANDLE_CLOSED,
    MAX_OPENING,
    pose_at_handle,
)
from vjepa_wm.envs.arm.hand import TIP_BELOW_TOOL
from vjepa_wm.envs.arm.workspace import ACTION_HIGH

DRAWER = np.array([0.53, 0.11, 0.06])
CLOSE_GRIPPER = np.eye(7)[6]
PULL = np.array([0, -0.05, 0, 0, 0, 0, 1])


@pytest.fixture
def env():
    env = envs.make("drawer", image_size=64)
    yield env
    env.close()


@pytest.fixture
def twin():
    env = envs.make("drawer", image_size=64)
    yield env
    env.close()


def random_actions(seed, num_steps):
    return np.random.default_rng(seed).uniform(-ACTION_HIGH, ACTION_HIGH, (num_steps, 7)).astype(np.float32)


def start_at(env, pose, drawer=DRAWER, goal=0.15):
    return env.reset(options={"start": pose, "start_object": drawer, "goal_object": [*drawer[:2], goal]})


def run(env, actions):
    for action in actions:
        obs, _, _, _, info = env.step(action)
    return obs, info


def test_a_state_restored_while_holding_the_handle_goes_on_equally(env, twin):
    start_at(env, pose_at_handle(DRAWER))
    twin.reset(seed=1)
    run(env, [CLOSE_GRIPPER, PULL])
    saved = env.get_state()
    actions = [PULL, -0.5 * PULL, *random_actions(2, 5)]
    first = [env.step(action) for action in actions]
    final = env.get_state()
    assert first[0][4]["object"][2] > DRAWER[2] + 0.08
    for other in (twin, env):
        other.set_state(saved)
        for action, expected in zip(actions, first, strict=True):
            obs, _, _, _, info = other.step(action)
            np.testing.assert_array_equal(obs["image"], expected[0]["image"])
            np.testing.assert_array_equal(obs["state"], expected[0]["state"])
            np.testing.assert_array_equal(info["object"], expected[4]["object"])
        np.testing.assert_array_equal(other.get_state(), final)


def test_the_place_of_the_cabinet_is_restored_in_the_picture(env, twin):
    obs, info = env.reset(seed=0)
    other, other_info = twin.reset(seed=1)
    assert np.abs(info["object"][:2] - other_info["object"][:2]).max() > 0.01
    assert (other["image"] != obs["image"]).any()
    twin.set_state(env.get_state())
    np.testing.assert_array_equal(twin.render(), obs["image"])


@pytest.mark.parametrize("seed", range(3))
def test_the_goal_is_at_rest(env, seed):
    goal = env.reset(seed=seed)[1]["goal"]
    there = {"start": goal["state"], "start_object": goal["object"], "goal_object": goal["object"]}
    obs, info = env.reset(options=there)
    np.testing.assert_array_equal(obs["image"], goal["image"])
    assert info["is_success"] and info["distance"] == 0
    obs, info = run(env, [np.zeros(7)] * 5)
    assert info["distance"] < 1e-5
    assert np.abs(obs["image"].astype(int) - goal["image"]).mean() < 0.2


@pytest.mark.parametrize("way", [0.06, -0.05])
def test_gripping_moving_and_letting_go_ends_as_the_goal_picture(env, way):
    _, info = start_at(env, pose_at_handle(DRAWER), goal=DRAWER[2] + way)
    assert not info["is_success"]
    obs, info = run(env, [CLOSE_GRIPPER, [0, -way / 2, 0, 0, 0, 0, 1]])
    assert obs["state"][6] == pytest.approx(HANDLE_CLOSED, abs=0.06)
    obs, info = run(env, [[0, -way / 2, 0, 0, 0, 0, 1], [0, 0, 0, 0, 0, 0, -1], np.zeros(7)])
    assert info["is_success"] and info["distance"] < 0.005
    np.testing.assert_allclose(obs["state"], info["goal"]["state"], atol=0.006)
    assert np.abs(obs["image"].astype(int) - info["goal"]["image"]).mean() < 1.5


def test_hooking_with_open_fingers_moves_the_drawer_too(env):
    start_at(env, pose_at_handle(DRAWER))
    info = run(env, [[0, -0.05, 0, 0, 0, 0, 0]] * 2)[1]
    # The fingers have 3 cm of play.
    assert info["object"][2] == pytest.approx(DRAWER[2] + 0.07, abs=0.006)


@pytest.mark.parametrize("sign", [-1, 1])
def test_the_drawer_stops_at_both_ends(env, sign):
    start_at(env, pose_at_handle(DRAWER))
    info = run(env, [CLOSE_GRIPPER, *[sign * PULL * [1, 1, 1, 1, 1, 1, sign]] * 6])[1]
    assert info["object"][2] == pytest.approx(MAX_OPENING if sign > 0 else 0.0, abs=2e-3)


def test_the_drawer_stays_where_it_is_left(env):
    start = pose_at_handle(DRAWER) - [0, 0.06, 0, 0, 0, 0, -1]
    start_at(env, start)
    before = run(env, [[0, 0.06, 0, 0, 0, 0, 0], [0, -0.05, 0.03, 0, 0, 0, 0]])[1]
    assert before["object"][2] < DRAWER[2] - 0.02  # closed by a push against the handle
    after = run(env, [np.zeros(7)] * 10)[1]
    np.testing.assert_allclose(after["object"], before["object"], atol=1e-5)


def test_the_front_closes_when_it_is_pushed_and_not_further_than_shut(env):
    # Beside the handle, against the front.
    start = np.array([DRAWER[0] + 0.105, DRAWER[1] - DRAWER[2] - 0.05, 0.09, 0, 0, 0, 1])
    start_at(env, start)
    obs, info = run(env, [[0, 0.07, 0, 0, 0, 0, 0]] * 4)
    assert abs(info["object"][2]) < 1e-3
    assert obs["state"][1] + 0.03 == pytest.approx(DRAWER[1], abs=3e-3)
    np.testing.assert_allclose(obs["state"][[0, 2, 3, 4]], start[[0, 2, 3, 4]], atol=5e-3)


def test_sampled_episodes(env):
    openings = []
    for seed in range(40):
        obs, info = env.reset(seed=seed)
        goal = info["goal"]
        assert info["distance"] >= env.unwrapped.config.min_distance - 1e-6 and not info["is_success"]
        np.testing.assert_array_equal(info["object"][:2], goal["object"][:2])
        for drawer in (info["object"], goal["object"]):
            assert (drawer >= DRAWER_LOW - 1e-6).all() and (drawer <= DRAWER_HIGH + 1e-6).all()
        assert obs["state"][2] - TIP_BELOW_TOOL > CABINET_TOP and obs["state"][6] < 1e-6
        np.testing.assert_allclose(goal["state"], pose_at_handle(goal["object"]), atol=1e-5)
        openings.append((info["object"][2], goal["object"][2]))
    opened = [start < goal for start, goal in openings]
    assert 0.25 < np.mean(opened) < 0.75
    assert np.ptp(openings) > 0.14


def test_handle_front_and_tray_are_in_sight_at_the_start():
    env = envs.make("drawer", image_size=128)
    for seed in range(30):
        image = env.reset(seed=seed)[0]["image"]
        red, green, blue = image.astype(int).transpose(2, 0, 1)
        handle = (red > 110) & (green > 90) & (blue < 60) & (np.abs(red - green) < 60)
        front = (red > 90) & (green < 40) & (blue > 70)
        assert handle.sum() > 50 and front.sum() > 60
        columns = np.nonzero(handle | front)[1]
        assert columns.min() > 0 and columns.max() < 127
    env.close()


def test_the_opening_is_seen_in_the_picture():
    env = envs.make("drawer", image_size=128)
    beside = np.array([0.4, 0.25, 0.25, 0, 0, 0, 0])
    images = [start_at(env, beside, np.array([0.53, 0.11, opening]))[0]["image"] for opening in np.arange(9) * 0.02]
    for one, other in itertools.pairwise(images):
        assert (one != other).any(axis=2).sum() > 80
    cream = [((image[..., 2] > 90) & (image[..., 0] > image[..., 2] + 15)).sum() for image in images]
    assert cream[-1] > cream[0] + 250
    env.close()


def test_success_reward_and_distance(env):
    _, info = start_at(env, np.array([0.4, 0.25, 0.25, 0, 0, 0, 0]), goal=0.081)
    assert info["distance"] == pytest.approx(0.021, abs=1e-6) and not info["is_success"]
    _, info = start_at(env, np.array([0.4, 0.25, 0.25, 0, 0, 0, 0]), goal=0.041)
    assert info["distance"] == pytest.approx(0.019, abs=1e-6) and info["is_success"]
    assert env.step(np.zeros(7))[1] == pytest.approx(-0.019, abs=1e-5)


def test_one_given_object_places_the_cabinet_of_both(env):
    for name, other in (("start_object", "goal_object"), ("goal_object", "start_object")):
        _, info = env.reset(seed=0, options={name: DRAWER})
        objects = {"start_object": info["object"], "goal_object": info["goal"]["object"]}
        np.testing.assert_allclose(objects[name], DRAWER, atol=1e-6)
        np.testing.assert_allclose(objects[other][:2], DRAWER[:2], atol=1e-6)
        assert abs(objects[other][2] - DRAWER[2]) >= 0.06 - 1e-6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"object": DRAWER},
            r"options of reset must be 'start', 'start_object', 'goal' and 'goal_object', got \['object'",
        ),
        ({"start_object": DRAWER[:2]}, "start_object must be 3 finite numbers, x, y and opening, got"),
        (
            {"goal_object": np.add(DRAWER, [0, 0, 0.2])},
            r"goal_object must lie within \[0.45, 0.08, 0.0\] .. \[0.61, 0.14, 0.18\], got \[0.53, 0.11, 0.26\]",
        ),
        (
            {"start_object": DRAWER, "goal_object": np.add(DRAWER, [0.01, 0, 0])},
            r"must have the cabinet at one place, got \[0.53, 0.11\] and \[0.54, 0.11\]",
        ),
        ({"start": [0.9, 0, 0.2, 0, 0, 0, 0]}, r"start must lie in the workspace \[0.36, "),
        (
            {"start": [0.53, 0.2, 0.09, 0, 0, 0, 0], "start_object": DRAWER},
            "the fingers reached into the cabinet or the handle",
        ),
    ],
)
def test_bad_reset_options(env, options, message):
    with pytest.raises(ValueError, match=message):
        env.reset(options=options)


def test_options_out_of_range():
    with pytest.raises(
        ValueError, match=r"must satisfy 0 < success_distance < min_distance <= 0.12, got 0.07 and 0.06"
    ):
        DrawerConfig(success_distance=0.07)
    with pytest.raises(ValueError, match="image_size must be between 16 and 1024, got 8"):
        DrawerConfig(image_size=8)
