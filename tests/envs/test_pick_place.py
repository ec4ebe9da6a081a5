"""The task in parts: sub-goals are exact pictures in order, and each part holds by a rule of its own."""

from __future__ import annotations

import numpy as np
import pytest

from vjepa_wm import envs
from vjepa_wm.envs.arm.brick.geometry import BRICK_HIGH, BRICK_LOW, BRICK_WORKSPACE, LIFT, LYING, holds, pose_around
from vjepa_wm.envs.arm.brick.pick_place.env import GONE_ABOVE, SUBGOALS, PickPlaceConfig, pose_above

BRICK = np.array([0.50, -0.10, LYING, 0.4])
GOAL = np.array([0.56, 0.10, LYING, -0.3])
LIFTED = np.add(GOAL, [0, 0, LIFT, 0])
OPEN = np.array([0, 0, 0, 0, 0, 0, -1.0])


@pytest.fixture(scope="module")
def env():
    env = envs.make("pick_place", image_size=64)
    yield env
    env.close()


def info_at(env, pose, brick):
    """Return the info with gripper and brick put there."""
    return env.reset(options={"start": pose, "start_object": brick, "goal_object": GOAL})[1]


def test_subgoals_are_the_parts_of_the_way(env):
    _, info = env.reset(options={"start_object": BRICK, "goal_object": GOAL})
    grasped, carried, placed = info["goal"]["subgoals"]
    assert tuple(subgoal["name"] for subgoal in info["goal"]["subgoals"]) == SUBGOALS
    np.testing.assert_allclose(grasped["object"], BRICK, atol=1e-6)
    np.testing.assert_allclose(grasped["state"], pose_around(BRICK), atol=1e-6)
    np.testing.assert_allclose(carried["object"], LIFTED, atol=1e-6)
    np.testing.assert_allclose(carried["state"], pose_around(LIFTED), atol=1e-6)
    np.testing.assert_allclose(placed["object"], GOAL, atol=1e-6)
    np.testing.assert_allclose(placed["state"], pose_above(GOAL), atol=1e-6)
    for name in ("image", "state", "object"):
        np.testing.assert_array_equal(info["goal"][name], placed[name])


@pytest.mark.parametrize("number", [1, 2, 3])
def test_each_subgoal_picture_is_that_of_its_state_and_counts_there(env, number):
    _, info = env.reset(options={"start_object": BRICK, "goal_object": GOAL})
    assert info["num_subgoals_reached"] == 0
    subgoal = info["goal"]["subgoals"][number - 1]
    there = {"start": subgoal["state"], "start_object": subgoal["object"], "goal_object": GOAL}
    obs, info = env.reset(options=there)
    np.testing.assert_array_equal(obs["image"], subgoal["image"])
    assert info["num_subgoals_reached"] == number
    assert info["is_success"] == (number == 3)
    for _ in range(3):
        obs, _, _, _, info = env.step(np.zeros(7))
    assert info["num_subgoals_reached"] == number
    assert np.abs(obs["image"].astype(int) - subgoal["image"]).mean() < 0.5


def test_carried_needs_height_and_place(env):
    assert info_at(env, pose_around(LIFTED), LIFTED)["num_subgoals_reached"] == 2
    for offset in ([0.045, 0, 0, 0], [0, 0, -0.055, 0]):
        brick = np.add(LIFTED, offset)
        assert info_at(env, pose_around(brick), brick)["num_subgoals_reached"] == 1


def test_success_needs_place_height_and_letting_go(env):
    beside = np.add(GOAL, [0.03, -0.02, 0, 0])
    info = info_at(env, pose_above(beside), beside)
    assert info["is_success"] and info["distance"] == pytest.approx(np.hypot(0.03, 0.02), abs=1e-5)
    further = np.add(GOAL, [0.03, -0.03, 0, 0])
    assert not info_at(env, pose_above(further), further)["is_success"]
    info = info_at(env, pose_around(GOAL), GOAL)
    assert info["distance"] == pytest.approx(0, abs=1e-6) and not info["is_success"]
    _, reward, _, _, info = env.step(OPEN)
    assert info["is_success"] and reward == -info["distance"]
    higher = np.add(GOAL, [0, 0, 0.012, 0])
    assert not info_at(env, pose_around(higher), higher)["is_success"]


def test_sampled_episodes(env):
    for seed in range(30):
        _, info = env.reset(seed=seed)
        goal = info["goal"]
        brick, place = info["object"], goal["object"]
        assert np.linalg.norm(brick[:2] - place[:2]) >= env.config.min_distance and not info["is_success"]
        for one in (brick, place):
            assert (one[[0, 1, 3]] >= BRICK_LOW - 1e-6).all() and (one[[0, 1, 3]] <= BRICK_HIGH + 1e-6).all()
        for subgoal in goal["subgoals"]:
            state = subgoal["state"]
            assert (state > BRICK_WORKSPACE.low - 1e-6).all() and (state < BRICK_WORKSPACE.high + 1e-6).all()
            assert holds(state, subgoal["object"]) == (subgoal["name"] != "placed")
        # The gripper need not be turned against the brick on the way: the heading in the picture can be had.
        turns = [subgoal["state"][5] - subgoal["object"][3] for subgoal in goal["subgoals"]]
        np.testing.assert_allclose(turns, 0, atol=1e-5)


def test_a_start_far_from_the_sampled_range_gets_a_goal(env):
    _, info = env.reset(seed=0, options={"start_object": np.array([0.67, 0.27, LYING, 3.0])})
    assert np.linalg.norm(info["object"][:2] - info["goal"]["object"][:2]) >= env.config.min_distance
    assert abs(info["goal"]["subgoals"][0]["state"][5]) < 0.2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"place": GOAL}, r"reset must be 'start', 'start_object', 'goal' and 'goal_object', got \['place'"),
        ({"goal_object": LIFTED}, "goal_object must lie on the table, with its centre at z = 0.028, got z = 0.128"),
        ({"goal_object": GOAL[:2]}, "goal_object must be 4 finite numbers, x, y, z and yaw, got"),
        ({"goal_object": np.add(GOAL, [0, 0, 0, 1.6])}, "goal_object must be turned by at most 1.2 .* yaw = 1.3"),
        (
            {"goal_object": GOAL, "goal": pose_around(GOAL)},
            "goal must be a gripper that has let go of goal_object, for example",
        ),
        (
            {"goal_object": GOAL, "goal": pose_around(GOAL, gripper=0.9)},
            "goal must leave the fingers outside the brick at",
        ),
    ],
)
def test_bad_reset_options(env, options, message):
    with pytest.raises(ValueError, match=message):
        env.reset(options=options)


def test_options_out_of_range():
    with pytest.raises(
        ValueError, match=r"min_distance must satisfy 0 < success_radius < min_distance <= 0.2, got 0.04 and 0.3"
    ):
        PickPlaceConfig(min_distance=0.3)


def test_the_open_gripper_of_the_goal_is_clear_of_the_brick():
    assert pose_above(GOAL)[6] == 0 and GONE_ABOVE - 0.011 > LYING
