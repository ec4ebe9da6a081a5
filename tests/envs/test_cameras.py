"""The cameras of the arm's scenes: a second fixed one and one on the hand, beside the main one."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from vjepa_wm import envs

CAMERAS = ("front", "side", "wrist")
IMAGES = ("image", "image_side", "image_wrist")
ABOVE = np.array([0.5, 0.0, 0.2, 0.0, 0.0, 0.0, 0.0])


def changed(first, second):
    """Return the share of pixels that differ."""
    return float((first != second).any(axis=2).mean())


def red_pixels(image):
    red, green, blue = image.astype(int).transpose(2, 0, 1)
    return (red > 60) & (green < 0.4 * red) & (blue < 0.4 * red)


@pytest.fixture
def env():
    env = envs.make("push", image_size=128, cameras=CAMERAS)
    yield env
    env.close()


@pytest.mark.parametrize("task", ["reach", "push", "drawer"])
def test_observations_and_goals_have_a_picture_of_each_camera(task):
    envs.register()
    env = gymnasium.make(f"vjepa_wm/{task}-v0", image_size=64, cameras=CAMERAS).unwrapped
    check_env(env)
    assert env.cameras == CAMERAS
    obs, info = env.reset(seed=0)
    for name in IMAGES:
        assert obs[name].shape == info["goal"][name].shape == (64, 64, 3)
        assert obs[name].std() > 10 and changed(obs[name], info["goal"][name]) > 0.01
    env.close()


def test_more_cameras_leave_the_main_picture_alone(env):
    alone = envs.make("push", image_size=128)
    obs, info = env.reset(seed=1)
    expected_obs, expected_info = alone.reset(seed=1)
    np.testing.assert_array_equal(obs["image"], expected_obs["image"])
    np.testing.assert_array_equal(info["goal"]["image"], expected_info["goal"]["image"])
    assert set(expected_obs) == {"image", "state"}
    alone.close()


def test_the_main_camera_is_the_first():
    env = envs.make("push", image_size=64, cameras=("side", "front"))
    obs, _ = env.reset(seed=0)
    assert set(obs) == {"image", "image_front", "state"}
    np.testing.assert_array_equal(env.render(), obs["image"])
    env.close()


def test_goal_pictures_of_all_cameras_are_those_of_the_goal_state(env):
    _, info = env.reset(seed=2)
    goal = info["goal"]
    options = {"start": goal["state"], "start_object": goal["object"], "goal_object": goal["object"]}
    obs, _ = env.reset(options=options)
    for name in IMAGES:
        np.testing.assert_array_equal(obs[name], goal[name])


def test_the_side_camera_sees_what_the_hand_hides_from_the_front():
    env = envs.make("push", image_size=128, cameras=CAMERAS)
    # On the line from the camera to the block.
    block = np.array([0.5, 0.0, 0.035, 0.0])
    hidden = {"start": np.array([0.57, -0.08, 0.11, 0, 0, 0, 1]), "start_object": block, "goal_object": block}
    obs, _ = env.reset(options=hidden)

    def seen(image):
        red, green, blue = image.astype(int).transpose(2, 0, 1)
        return int(((np.abs(red - green) < 60) & (red > 60) & (blue < 0.5 * green)).sum())

    beside = {"start": np.array([0.4, 0.2, 0.2, 0, 0, 0, 1]), "start_object": block, "goal_object": block}
    free, _ = env.reset(options=beside)
    assert seen(obs["image"]) < 0.5 * seen(free["image"])
    assert seen(obs["image_side"]) > 0.8 * seen(free["image_side"]) > 50
    env.close()


def test_the_wrist_camera_moves_with_the_hand_and_sees_fingers_and_what_is_below(env):
    block = np.array([0.5, 0.0, 0.035, 0.0])
    options = {"start": ABOVE, "start_object": block, "goal_object": block}
    obs, _ = env.reset(options=options)
    moved, _ = env.reset(options=options | {"start": np.add(ABOVE, [0.08, 0.1, 0, 0, 0, 0.3, 0])})
    # The hand stays where it is in the picture, all else moves.
    hand = red_pixels(obs["image_wrist"])
    np.testing.assert_array_equal(red_pixels(moved["image_wrist"]), hand)
    assert 0.03 < hand.mean() < 0.3
    assert changed(obs["image_wrist"], moved["image_wrist"]) > 0.03
    closed, _ = env.reset(options=options | {"start": ABOVE + np.eye(7)[6]})
    fingers = (obs["image_wrist"] != closed["image_wrist"]).any(axis=2)
    assert fingers.sum() > 100
    gone, _ = env.reset(options=options | {"start_object": np.add(block, [0, 0.15, 0, 0])})
    assert changed(obs["image_wrist"], gone["image_wrist"]) > 0.02


def test_unknown_cameras_are_named_with_those_there_are():
    with pytest.raises(ValueError, match=r"cameras must be different ones of front, side, wrist, got \['top'\]"):
        envs.make("push", cameras=("top",))
    with pytest.raises(ValueError, match="cameras must be different ones of front, side, wrist, got"):
        envs.make("drawer", cameras=("front", "front"))
