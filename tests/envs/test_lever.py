"""The task with a lever: it turns and stays, the fingers keep off what does not give way, policies turn it."""

from __future__ import annotations

import itertools
import subprocess
import sys

import numpy as np
import pytest

from vjepa_wm import envs
from vjepa_wm.envs import find_task
from vjepa_wm.envs.arm.arm import REST_JOINTS
from vjepa_wm.envs.arm.hand import TIP_BELOW_TOOL, TO_CAMERA, direction, seen_from
from vjepa_wm.envs.arm.lever.env import LeverConfig
from vjepa_wm.envs.arm.lever.geometry import (
    GAP,
    HUB_RADIUS,
    LEVER_HALF,
    LEVER_HIGH,
    LEVER_LOW,
    LEVER_TOP,
    LEVER_WORKSPACE,
    PUSH_HEIGHT,
    place_beside,
    pose_beside,
    reaches_into,
    stay_out,
    turn_between,
)
from vjepa_wm.envs.arm.lever.policies import LeverExpert, LeverPlay, Turn, TurnRunner
from vjepa_wm.envs.arm.workspace import ACTION_HIGH

LEVER = np.array([0.53, 0.02, 0.7])
BESIDE = np.array([0.4, 0.25, 0.2, 0, 0, 0, 1])


@pytest.fixture(scope="module")
def env():
    env = envs.make("lever", image_size=32)
    yield env
    env.close()


@pytest.fixture(scope="module")
def seen():
    env = envs.make("lever", image_size=128)
    yield env
    env.close()


def start_at(env, pose, lever=LEVER, turn=1.0):
    return env.reset(options={"start": pose, "start_object": lever, "goal_object": np.add(lever, [0, 0, turn])})


def push_pose(place):
    return np.array([*place, PUSH_HEIGHT, 0, 0, 0, 1])


def run(env, policy, seed, num_steps):
    """Return states (num_steps + 1, 7), levers (num_steps + 1, 3), actions (num_steps, 7) and the last info."""
    obs, info = env.reset(seed=seed)
    states, levers, actions = [obs["state"]], [info["object"]], []
    for _ in range(num_steps):
        actions.append(policy({"state": states[-1]}, info))
        states.append(env.advance(actions[-1]))
        info = env._info()
        levers.append(info["object"])
    return np.stack(states), np.stack(levers), np.stack(actions), info


def visible(image):
    """Count the pixels of the bright arm and of the other."""
    red, green, blue = image.astype(int).transpose(2, 0, 1)
    bright = (red > 110) & (green > 90) & (blue < 60) & (np.abs(red - green) < 60)
    return np.array([bright.sum(), ((red > 90) & (green < 50) & (blue > 70)).sum()])


def test_success_is_read_off_the_angle_also_across_the_turn_from_pi_to_minus_pi(env):
    for start, goal, angle in ((0.3, 0.44, 0.14), (0.3, 0.46, 0.16), (3.1, -3.1, 0.0832), (-0.5, 2.0, 2.5)):
        levers = {"start_object": [0.53, 0, start], "goal_object": [0.53, 0, goal]}
        _, info = env.reset(options={"start": BESIDE} | levers)
        assert info["angle"] == pytest.approx(angle, abs=1e-4) and info["is_success"] == (angle <= 0.15)
        assert info["distance"] == pytest.approx(LEVER_HALF[0] * info["angle"])
        assert env.step(np.zeros(7))[1] == pytest.approx(-info["distance"], abs=1e-5)


@pytest.mark.parametrize(("arm", "way"), [(1, 1), (1, -1), (-1, 1), (-1, -1)])
def test_either_arm_turns_either_way_and_the_lever_stays_where_it_is_left(env, arm, way):
    place = place_beside(LEVER, way, arm)
    start_at(env, push_pose(place))
    into = arm * way * direction(LEVER[2] + np.pi / 2)
    env.advance([*(0.06 * into), 0, 0, 0, 0, 0])
    turned = way * turn_between(LEVER[2], env._arm.lever()[2])
    assert 0.2 < turned < 0.4  # 3.5 cm, 11 cm from the axis
    env.advance([*(-0.03 * into), 0, 0, 0, 0, 0])
    left = env._arm.lever()
    for _ in range(10):
        env.advance(np.zeros(7))
    np.testing.assert_allclose(env._arm.lever(), left, atol=1e-5)
    np.testing.assert_allclose(left[:2], LEVER[:2], atol=1e-9)


def test_a_hit_lever_does_not_turn_on(env):
    start_at(env, push_pose(place_beside(LEVER, 1, 1)))
    into = direction(LEVER[2] + np.pi / 2)
    env.advance([*(0.075 * into), 0, 0, 0, 0, 0])
    seen = seen_from(env._state()[:2].astype(float), np.array([*LEVER[:2], 0, env._arm.lever()[2]]))
    assert abs(seen[1]) < 0.07  # the fingers still touch it, or nearly


def test_a_state_restored_while_pushing_goes_on_equally(env):
    start_at(env, push_pose(place_beside(LEVER, 1, 1)))
    into = direction(LEVER[2] + np.pi / 2)
    env.advance([*(0.05 * into), 0, 0, 0, 0, 0])
    saved, twin = env.get_state(), envs.make("lever", image_size=32)
    twin.reset(seed=5)
    twin.set_state(saved)
    np.testing.assert_array_equal(twin.render(), env.render())
    for _ in range(3):
        action = [*(0.04 * into), 0, 0, 0, 0, 0]
        np.testing.assert_array_equal(twin.advance(action), env.advance(action))
    np.testing.assert_array_equal(twin.get_state(), env.get_state())
    assert turn_between(LEVER[2], env._arm.lever()[2]) > 0.5
    twin.close()


def test_the_fingers_do_not_press_down_onto_lever_or_hub(env):
    for along, across in ((0.0, 0.0), (0.1, 0.0), (-0.14, 0.01), (0.0, 0.05)):
        place = LEVER[:2] + along * direction(LEVER[2]) + across * direction(LEVER[2] + np.pi / 2)
        for gripper in (0.0, 1.0):
            start_at(env, np.array([*place, 0.15, 0, 0, 0, gripper]))
            for _ in range(3):
                state = env.advance([0, 0, -0.06, 0, 0, 0, 0]).astype(float)
                assert not reaches_into(state, env._arm.lever(), 0.003)
            np.testing.assert_allclose(env._arm.lever(), LEVER, atol=1e-4)


def test_beside_the_lever_the_fingers_go_down(env):
    place = place_beside(LEVER, 1, 1)
    start_at(env, np.array([*place, 0.11, 0, 0, 0, 1]))
    assert env.advance([0, 0, -0.075, 0, 0, 0, 0])[2] == pytest.approx(PUSH_HEIGHT, abs=2e-3)
    np.testing.assert_allclose(env._arm.lever(), LEVER, atol=1e-4)


@pytest.mark.parametrize("arm", [1, -1])
def test_the_fingers_stop_at_the_ends(env, arm):
    lever = np.array([0.53, 0.0, np.pi / 2])
    start = push_pose([0.53, arm * 0.22])
    start_at(env, start, lever)
    for _ in range(3):
        state = env.advance([0, -arm * 0.04, 0, 0, 0, 0, 0])
    assert abs(state[1]) == pytest.approx(LEVER_HALF[0] + 0.03, abs=3e-3)
    np.testing.assert_allclose(env._arm.lever(), lever, atol=3e-3)  # half a millimetre at its ends
    assert abs(env.advance([0, arm * 0.03, 0, 0, 0, 0, 0])[1]) > LEVER_HALF[0] + 0.055  # away from there they are free


def test_the_fingers_stop_at_the_hub(env):
    lever = np.array([0.53, 0.0, np.pi / 2])
    start_at(env, push_pose([0.46, 0.0]), lever)  # where a push would find no leverage
    for _ in range(3):
        state = env.advance([0.04, 0, 0, 0, 0, 0, 0])
    assert 0.53 - state[0] == pytest.approx(HUB_RADIUS + 0.024, abs=3e-3)
    np.testing.assert_allclose(env._arm.lever(), lever, atol=1e-3)


@pytest.mark.parametrize("gripper", [0.0, 0.5])
def test_fingers_on_both_arms_do_not_press(env, gripper):
    lever = np.array([0.53, 0.0, np.pi / 2])
    start_at(env, np.array([0.44, 0.0, PUSH_HEIGHT, 0, 0, 0, gripper]), lever)
    for _ in range(3):
        state = env.advance([0.04, 0, 0, 0, 0, 0, 0])
    assert state[0] > 0.47
    np.testing.assert_allclose(state[3:6], 0, atol=1e-3)
    np.testing.assert_allclose(env._arm.lever(), lever, atol=3e-3)


def test_fingers_around_an_arm_close_upon_it_and_turn_it_both_ways(env):
    lever = np.array([0.53, 0.0, 0.0])
    start_at(env, np.array([0.43, 0.0, PUSH_HEIGHT, 0, 0, 0, 0]), lever)
    state = env.advance([0, 0, 0, 0, 0, 0, 1])
    assert 2 * 0.04 * (1 - state[6]) == pytest.approx(2 * LEVER_HALF[1], abs=2e-3)
    turned = []
    for action in ([0, 0.04, 0, 0, 0, 0, 0], [0, -0.06, 0, 0, 0, 0, 0]):
        env.advance(action)
        turned.append(turn_between(lever[2], env._arm.lever()[2]))
    assert turned[0] < -0.3 and turned[1] > turned[0] + 0.3


def test_free_displacements_and_pushes_are_left_alone():
    action = np.array([0.05, -0.03, -0.02, 0, 0, 0.1, -0.5])
    np.testing.assert_array_equal(stay_out(BESIDE, action, LEVER), action)
    push = np.array([*(0.07 * direction(LEVER[2] + np.pi / 2)), 0, 0, 0, 0, 0])
    np.testing.assert_array_equal(stay_out(push_pose(place_beside(LEVER, 1, 1)), push, LEVER), push)


def test_whatever_is_done_the_fingers_stay_out_of_the_hub_and_the_hand_upright(env):
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    for _ in range(150):  # low, and mostly towards the axis
        inward = 0.03 * np.sign(env._arm.lever()[:2] - env._state()[:2])
        action = np.add(rng.uniform(-ACTION_HIGH, ACTION_HIGH), [*inward, -0.04, 0, 0, 0, 0])
        state = env.advance(action).astype(float)
        assert np.linalg.norm(state[:2] - env._arm.lever()[:2]) > 0.02 or state[2] > LEVER_TOP
        np.testing.assert_allclose(state[3:5], 0, atol=0.04)


def test_sizes_are_those_of_the_model(env):
    model = env._arm.model
    lever, hub = model.geom("lever"), model.geom("hub")
    np.testing.assert_array_equal(lever.size[:2], LEVER_HALF)
    assert lever.pos[2] + lever.size[2] == pytest.approx(LEVER_TOP) and not lever.pos[:2].any()
    assert hub.size[0] == HUB_RADIUS and hub.pos[2] + hub.size[1] <= LEVER_TOP
    hand = model.geom("hand")
    assert LEVER_WORKSPACE.low[2] + model.site("tool").pos[2] - hand.pos[2] - hand.size[2] > LEVER_TOP
    assert lever.pos[2] - lever.size[2] > PUSH_HEIGHT - TIP_BELOW_TOOL


def test_beside_any_sampled_lever_is_within_the_workspace_and_within_reach(env):
    low, high = (corner[:2] for corner in LEVER_WORKSPACE)
    for x, y in itertools.product(*zip(LEVER_LOW[:2], LEVER_HIGH[:2], strict=True)):
        for yaw, way, arm in itertools.product(np.linspace(-np.pi, np.pi, 24), [1, -1], [1, -1]):
            place = place_beside(np.array([x, y, yaw]), way, arm)
            assert (place > low - 2e-3).all() and (place < high + 2e-3).all()
            assert np.sin(env._arm.solve(push_pose(place), REST_JOINTS)[5]) > 0.05


def test_sampled_episodes_vary_and_their_goals_are_as_after_a_turn(env):
    turns, places = [], []
    for seed in range(60):
        obs, info = env.reset(seed=seed)
        start, goal = info["object"].astype(float), info["goal"]["object"].astype(float)
        turns.append(turn_between(start[2], goal[2]))
        places.append(start)
        np.testing.assert_array_equal(start[:2], goal[:2])
        assert info["angle"] >= env.config.min_turn - 1e-5
        assert obs["state"][2] > LEVER_TOP + TIP_BELOW_TOOL and obs["state"][6] > 0.99
        np.testing.assert_allclose(info["goal"]["state"], pose_beside(goal, int(np.sign(turns[-1]))), atol=1e-5)
        assert (info["goal"]["state"][:2] - goal[:2]) @ TO_CAMERA < 0
    assert 0.3 < np.mean(np.array(turns) > 0) < 0.7 and np.max(np.abs(turns)) > 2.5
    places = np.array(places)
    assert (np.ptp(places, axis=0) > 0.85 * (LEVER_HIGH - LEVER_LOW)).all()


def test_the_lever_is_in_sight_at_start_and_goal_and_its_angle_is_told_from_the_picture(seen):
    for seed in range(30):
        obs, info = seen.reset(seed=seed)
        assert visible(obs["image"]).min() > 30
        # The hand may be before one arm, but not before both.
        assert visible(info["goal"]["image"]).max() > 50
    for yaw in np.linspace(-3, 3, 13):
        one, other = (start_at(seen, BESIDE, np.array([0.53, 0, yaw + more]))[0]["image"] for more in (0, 0.15))
        assert (np.abs(one.astype(int) - other).max(axis=2) > 20).sum() > 80


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"object": LEVER}, r"options of reset must be 'start', 'start_object', 'goal' and 'goal_object', got"),
        ({"start_object": LEVER[:2]}, "start_object must be 3 finite numbers, x, y and yaw, got"),
        ({"goal_object": [0.7, 0, 0]}, r"goal_object must have its axis within \[0.5, -0.15\] .. \[0.57, 0.15\], got"),
        ({"start_object": LEVER, "goal_object": np.add(LEVER, [0.01, 0, 1])}, "must have the axis at one place, got"),
        ({"start": push_pose(LEVER[:2]), "start_object": LEVER}, "the fingers reached into the lever or its hub"),
    ],
)
def test_bad_reset_options(env, options, message):
    with pytest.raises(ValueError, match=message):
        env.reset(options=options)


def test_options_out_of_range():
    with pytest.raises(ValueError, match=r"0 < success_angle < min_turn <= 2.5, got 0.6 and 0.5"):
        LeverConfig(success_angle=0.6)


@pytest.mark.parametrize(("arm", "way", "radius"), [(1, 1, 0.11), (1, -1, 0.07), (-1, 1, 0.14), (-1, -1, 0.11)])
def test_a_turn_ends_where_it_is_planned_and_the_fingers_beside(env, arm, way, radius):
    start_at(env, BESIDE)
    runner, goal, levers = TurnRunner(Turn(LEVER[2] + way * 1.2, way, arm, radius)), LEVER[2] + way * 1.2, [LEVER[2]]
    state = BESIDE
    for _ in range(25):
        action = runner.next_action(state.astype(float), env._arm.lever())
        if action is None:
            break
        state = env.advance(action)
        levers.append(env._arm.lever()[2])
    assert action is None and abs(turn_between(levers[-1], goal)) < 0.03
    assert (way * np.diff(np.unwrap(levers)) > -1e-3).all()  # never the other way
    place = place_beside(env._arm.lever(), way, arm, gap=GAP, radius=radius)
    np.testing.assert_allclose(state[:2], place, atol=0.01)


@pytest.mark.parametrize("seed", range(8))
def test_expert_turns_it_to_the_goal_and_rests_as_in_the_goal_picture(env, seed):
    states, _, actions, info = run(env, LeverExpert(), seed, 20)
    assert info["is_success"] and info["angle"] < 0.03
    np.testing.assert_array_equal(actions[-1], np.zeros(7))
    np.testing.assert_allclose(states[-1], info["goal"]["state"], atol=0.012)


def test_the_expert_sets_right_what_is_undone(env):
    obs, info = env.reset(seed=1)
    expert, state = LeverExpert(), obs["state"]
    for step in range(45):
        if step == 15:
            assert info["is_success"]
            env._arm.data.joint("lever").qpos[:] += 0.8
            info = env._info()
            assert not info["is_success"]
        state = env.advance(expert({"state": state}, info))
        info = env._info()
    assert info["is_success"]


def test_expert_with_noise_solves_it_too_and_random_does_not(env):
    solved = {"noisy_expert": 0, "random": 0}
    for name in solved:
        for seed in range(8):
            policy = find_task("lever").make_policy(name, env, np.random.default_rng(seed))
            solved[name] += run(env, policy, seed, 40)[3]["is_success"]
    assert solved["noisy_expert"] >= 7 and solved["random"] <= 1


def test_play_turns_it_both_ways_by_both_arms_and_leaves_it(env):
    runs = [run(env, LeverPlay(np.random.default_rng([0, k])), k, 60) for k in range(7)]
    sides = set()
    changes = np.concatenate([np.diff(np.unwrap(levers[:, 2])) for _, levers, _, _ in runs])
    for states, levers, _, _ in runs:
        turned = np.diff(np.unwrap(levers[:, 2]))
        for k in np.flatnonzero(np.abs(turned) > 0.05):
            place = np.array([*levers[k, :2], 0, levers[k, 2]])
            sides.add((bool(seen_from(states[k, :2], place)[0] > 0), bool(turned[k] > 0)))
    assert len(sides) == 4
    assert (changes > 0.02).mean() > 0.08 and (changes < -0.02).mean() > 0.08
    assert (np.abs(changes) < 1e-3).mean() > 0.4
    heights = np.concatenate([states[:, 2] for states, *_ in runs])
    assert 0.2 < (heights < PUSH_HEIGHT + 0.02).mean() < 0.8


def test_policies_need_no_simulator():
    code = "import sys, vjepa_wm.envs.arm.lever.policies; sys.exit('mujoco' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
