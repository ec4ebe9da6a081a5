"""The task that needs a grip: exact goals, how the brick is held, and what the arm is kept from."""

from __future__ import annotations

import itertools
import multiprocessing

import numpy as np
import pytest

from vjepa_wm import envs
from vjepa_wm.envs.arm.arm import REST_JOINTS, Arm
from vjepa_wm.envs.arm.brick.geometry import (
    BRICK_HALF,
    BRICK_HIGH,
    BRICK_LOW,
    BRICK_WORKSPACE,
    HOLDING,
    LIFT,
    LYING,
    TIP_BELOW_TOOL,
    fingers_over,
    fitting_yaw,
    holds,
    keep_grip,
    pose_around,
    reaches_into,
)
from vjepa_wm.envs.arm.brick.grasp.env import GraspConfig
from vjepa_wm.envs.arm.hand import ONE_FINGER_HALF
from vjepa_wm.envs.arm.workspace import ACTION_HIGH
from vjepa_wm.envs.goal_env import GoalEnvConfig

BRICK = np.array([0.53, 0.02, LYING, 0.4])
AROUND = pose_around(BRICK)
OPEN_AROUND = pose_around(BRICK, gripper=0.0)
STAY = np.zeros(7)
CLOSE, OPEN = np.array([0, 0, 0, 0, 0, 0, 1.0]), np.array([0, 0, 0, 0, 0, 0, -1.0])
UP, DOWN = np.array([0, 0, 0.075, 0, 0, 0, 0]), np.array([0, 0, -0.075, 0, 0, 0, 0])


@pytest.fixture(scope="module")
def env():
    env = envs.make("grasp", image_size=64)
    yield env
    env.close()


def run(env, actions):
    """Take the actions and return the last state, brick and whether the brick is held."""
    for action in actions:
        state = env.advance(np.asarray(action, dtype=np.float64))
    brick = env._info()["object"]
    return state, brick, holds(state, brick)


def moves(seed, num_steps, scale=1.0):
    """Return actions in all directions that leave the gripper alone."""
    actions = np.random.default_rng(seed).uniform(-ACTION_HIGH, ACTION_HIGH, (num_steps, 7)) * scale
    actions[:, 6] = 0.0
    return actions


def go_on(saved, actions, results):
    """Restore a state and go on: what another process does."""
    env = envs.make("grasp", image_size=64)
    env.reset(seed=9)
    env.set_state(saved)
    restored = env.render()
    for action in actions:
        env.advance(action)
    results.put((restored, env.render(), env.get_state()))
    env.close()


@pytest.mark.parametrize("seed", range(3))
def test_goal_picture_is_that_of_holding_the_brick_there(env, seed):
    _, info = env.reset(seed=seed)
    goal = info["goal"]
    there = {"start": goal["state"], "start_object": goal["object"], "goal_object": goal["object"]}
    obs, info = env.reset(options=there)
    np.testing.assert_array_equal(obs["image"], goal["image"])
    assert info["is_success"] and info["distance"] == 0
    for _ in range(5):
        obs, _, _, _, info = env.step(STAY)
    assert info["distance"] < 2e-3  # held, where nothing tells the gripper to press on
    assert np.abs(obs["image"].astype(int) - goal["image"]).mean() < 0.5


def test_grasping_and_lifting_ends_as_the_goal_picture(env):
    _, info = env.reset(options={"start": OPEN_AROUND, "start_object": BRICK})
    assert info["distance"] == pytest.approx(LIFT) and not info["is_success"]
    env.step(CLOSE)
    env.step(UP)
    obs, reward, _, _, info = env.step(UP / 3)
    assert info["is_success"] and info["distance"] < 5e-3
    assert reward == -info["distance"]
    assert obs["state"][6] == pytest.approx(HOLDING, abs=0.02)
    assert np.abs(obs["image"].astype(int) - info["goal"]["image"]).mean() < 1.0


def test_without_a_grip_the_brick_stays_where_it_lies(env):
    env.reset(options={"start": OPEN_AROUND, "start_object": BRICK})
    _, brick, held = run(env, [UP, UP])
    assert not held
    np.testing.assert_allclose(brick, BRICK, atol=1e-3)


def test_what_is_held_stays_in_the_fingers(env):
    env.reset(options={"start": OPEN_AROUND, "start_object": BRICK})
    state, brick, _ = run(env, [CLOSE, UP, UP])
    grip = brick[:3] - state[:3]
    state, brick, held = run(env, moves(0, 20, 0.7))
    assert held and np.linalg.norm(state[:3] - AROUND[:3]) > 0.1
    # Against the gripper, which has turned meanwhile: its height, and how far it is from it.
    moved = brick[:3] - state[:3]
    assert abs(moved[2] - grip[2]) < 8e-3
    assert abs(np.linalg.norm(moved[:2]) - np.linalg.norm(grip[:2])) < 8e-3
    assert abs(fitting_yaw(brick[3] - state[5])) < 0.05


def test_what_is_held_does_not_creep_or_shake(env):
    env.reset(options={"start": OPEN_AROUND, "start_object": BRICK})
    state, brick, _ = run(env, [CLOSE, UP, UP])
    later, held_brick, held = run(env, [STAY] * 50)
    assert held
    np.testing.assert_allclose(held_brick[:3] - later[:3], brick[:3] - state[:3], atol=1e-3)
    np.testing.assert_allclose(later[:3], state[:3], atol=6e-3)  # the weight draws the arm down, a little per step
    assert np.abs(env._arm.data.qvel).max() < 0.01
    assert env._arm.data.contact.dist.min() > -1e-3


def test_the_grip_stays_until_told_to_open(env):
    env.reset(options={"start": OPEN_AROUND, "start_object": BRICK})
    _, _, held = run(env, [CLOSE, UP, [0, 0, 0, 0, 0, 0, -0.05], [0, 0, 0.05, 0, 0, 0, 0.02]])
    assert held
    _, brick, held = run(env, [OPEN, STAY, STAY])
    assert not held and brick[2] == pytest.approx(LYING, abs=1e-3)
    assert keep_grip(0.3, 0.0, 1.0) == pytest.approx(0.7)
    assert keep_grip(0.3, -0.2, 1.0) == -0.2
    assert keep_grip(0.3, 0.1, 0.31) == 0.1  # nothing held


def test_holding_the_brick_goes_on_equally_in_another_process(env):
    env.reset(options={"start": OPEN_AROUND, "start_object": BRICK})
    run(env, [CLOSE, UP])
    saved, picture, actions = env.get_state(), env.render(), moves(2, 200, 0.4)
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    process = context.Process(target=go_on, args=(saved, actions, results))
    process.start()
    held = run(env, actions)[2]
    restored, last, final = results.get(timeout=120)
    process.join()
    assert held
    np.testing.assert_array_equal(restored, picture)
    np.testing.assert_array_equal(last, env.render())
    np.testing.assert_array_equal(final, env.get_state())


def test_a_brick_that_is_dropped_comes_to_rest_lying(env):
    held_at = np.add(BRICK, [0, 0, 0.12, 0])
    env.reset(options={"start": pose_around(held_at), "start_object": held_at})
    _, first, _ = run(env, [OPEN, STAY, STAY])
    assert first[2] == pytest.approx(LYING, abs=1e-3)
    assert np.linalg.norm(first[:2] - BRICK[:2]) < 0.03
    np.testing.assert_allclose(run(env, [STAY])[1], first, atol=1e-4)


def test_a_brick_that_is_pushed_goes_with_the_fingers_and_stays_there(env):
    start = np.array([0.42, 0.02, 0.03, 0, 0, 0, 1])
    env.reset(options={"start": start, "start_object": BRICK * [1, 1, 1, 0]})
    state, brick, _ = run(env, [[0.05, 0, 0, 0, 0, 0, 0]] * 2)
    assert brick[0] - BRICK_HALF[0] - ONE_FINGER_HALF[0] == pytest.approx(state[0], abs=0.02)
    np.testing.assert_allclose(run(env, [STAY])[1], brick, atol=1e-3)


def test_fingers_do_not_press_onto_the_brick(env):
    for place, gripper in (((0, 0), 1.0), ((0, 0.05), 0.0), ((0.07, 0), 0.6)):
        start = np.array([*(BRICK[:2] + place), 0.12, 0, 0, 0.4, gripper])
        env.reset(options={"start": start, "start_object": BRICK})
        state, brick, _ = run(env, [DOWN, DOWN, [0, 0, -0.02, 0, 0, 0, 0]])
        assert state[2] > 2 * LYING + TIP_BELOW_TOOL
        np.testing.assert_allclose(brick, BRICK, atol=1e-3)


def test_open_fingers_go_down_beside_the_brick(env):
    env.reset(options={"start": np.add(OPEN_AROUND, [0, 0, 0.07, 0, 0, 0, 0]), "start_object": BRICK})
    state, brick, _ = run(env, [DOWN])
    assert state[2] < LYING + 0.015
    np.testing.assert_allclose(brick, BRICK, atol=1e-3)


def test_a_held_brick_is_not_pressed_onto_the_table(env):
    env.reset(options={"start": OPEN_AROUND, "start_object": BRICK})
    state, brick, held = run(env, [CLOSE, UP, DOWN, DOWN, DOWN])
    assert held and brick[2] == pytest.approx(LYING, abs=3e-3)
    assert state[2] == pytest.approx(AROUND[2], abs=6e-3)


def test_contacts_change_nothing_in_free_motion(env):
    """The arm integrated for contacts moves as the one of scenes without."""
    reach = Arm(GoalEnvConfig(image_size=32, renderer="gl"), workspace=BRICK_WORKSPACE)
    env.reset(options={"start": np.array([0.5, -0.1, 0.25, 0, 0, 0, 0]), "start_object": BRICK})
    reach.place(env._arm.pose())
    for action in moves(1, 8, 0.5):
        state = env.advance(np.abs(action) * [1, -1, 0, 0, 0, 1, 0])
        reach.move(np.abs(action) * [1, -1, 0, 0, 0, 1, 0])
        np.testing.assert_allclose(state, reach.pose(), atol=2e-3)


def test_sampled_episodes(env):
    for seed in range(30):
        obs, info = env.reset(seed=seed)
        brick, state = info["object"], obs["state"]
        assert (brick[[0, 1, 3]] >= BRICK_LOW - 1e-6).all() and (brick[[0, 1, 3]] <= BRICK_HIGH + 1e-6).all()
        assert brick[2] == pytest.approx(LYING) and not info["is_success"]
        np.testing.assert_allclose(info["goal"]["object"], np.add(brick, [0, 0, LIFT, 0]), atol=1e-6)
        assert state[6] == pytest.approx(0, abs=1e-6) and not reaches_into(state, brick, 0.0)
        for pose in (state, info["goal"]["state"]):
            assert (pose > BRICK_WORKSPACE.low - 1e-6).all() and (pose < BRICK_WORKSPACE.high + 1e-6).all()
        assert holds(info["goal"]["state"], info["goal"]["object"])


def test_the_brick_is_in_sight_at_the_start_and_in_the_goal_picture():
    env = envs.make("grasp", image_size=128)
    for seed in range(30):
        obs, info = env.reset(seed=seed)
        for image, least in ((obs["image"], 150), (info["goal"]["image"], 60)):
            red, green, blue = image.astype(int).transpose(2, 0, 1)
            seen = ((red > 110) & (green > 95) & (blue < 60)) | ((red > 100) & (green < 40) & (blue > 80))
            assert seen.sum() > least
            columns = np.nonzero(seen)[1]
            assert columns.min() > 0 and columns.max() < 127
    env.close()


def test_who_holds_the_brick():
    assert holds(AROUND, BRICK) and holds(pose_around(np.add(BRICK, [0, 0, 0.1, np.pi])), np.add(BRICK, [0, 0, 0.1, 0]))
    assert not holds(OPEN_AROUND, BRICK)
    assert not holds(np.add(AROUND, [0, 0, 0.05, 0, 0, 0, 0]), BRICK)
    assert not holds(np.add(AROUND, [0.2, 0, 0, 0, 0, 0, 0]), BRICK)
    assert not holds(np.add(AROUND, [0, 0, 0, 0, 0, 0, 0.2]), BRICK)


def test_fingers_over_the_brick_agree_with_points_of_them():
    """Against points spread over the fingers: some are within the brick's outline or none is."""
    rng = np.random.default_rng(0)
    poses = np.tile(OPEN_AROUND, (300, 1))
    poses[:, [0, 1, 5, 6]] += rng.uniform([-0.12, -0.12, -1.5, 0], [0.12, 0.12, 1.5, 1], (300, 4))
    found = fingers_over(poses, BRICK, slack=0.0)
    points = np.stack(np.meshgrid(np.linspace(-1, 1, 41), np.linspace(-1, 1, 41)), axis=-1).reshape(-1, 2)
    points *= ONE_FINGER_HALF
    for pose, is_over in zip(poses, found, strict=True):
        spread = ONE_FINGER_HALF[1] + 0.04 * (1 - pose[6])
        corners = np.concatenate([np.add(points, [0, spread]), points - [0, spread]])
        cos, sin = np.cos(pose[5]), np.sin(pose[5])
        offset = corners @ np.array([[cos, sin], [-sin, cos]]) + pose[:2] - BRICK[:2]
        cos, sin = np.cos(BRICK[3]), np.sin(BRICK[3])
        depth = (BRICK_HALF[:2] - np.abs(offset @ np.array([[cos, -sin], [sin, cos]]))).min(axis=1).max()
        if abs(depth) > 2e-3:
            assert is_over == (depth > 0)
    assert 50 < found.sum() < 250


def test_sizes_are_those_of_the_model(env):
    model = env._arm.model
    np.testing.assert_array_equal(model.geom("brick").size, BRICK_HALF)
    np.testing.assert_array_equal(model.geom("finger1").size[:2], ONE_FINGER_HALF)
    hand_to_tool, hand = model.site("tool").pos[2], model.geom("hand")
    lowest_palm = BRICK_WORKSPACE.low[2] + hand_to_tool - hand.pos[2] - hand.size[2]
    assert lowest_palm > 2 * LYING
    assert BRICK_WORKSPACE.low[2] - TIP_BELOW_TOOL == pytest.approx(0.01)


def test_the_whole_workspace_is_within_reach_and_off_singularities(env):
    arm = env._arm
    grid = [
        np.linspace(low, high, 4) for low, high in zip(BRICK_WORKSPACE.low[:3], BRICK_WORKSPACE.high[:3], strict=True)
    ]
    for x, y, z, yaw in itertools.product(*grid, (-1.2, 1.2)):
        joints = arm.solve(np.array([x, y, z, 0, 0, yaw, 0]), REST_JOINTS)[:7]
        assert (joints > arm.model.jnt_range[:7, 0] + 0.05).all()
        assert (joints < arm.model.jnt_range[:7, 1] - 0.05).all()
        assert np.sin(joints[5]) > 0.05


LIFTED = np.add(BRICK, [0, 0, 0.1, 0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"brick": BRICK},
            r"options of reset must be 'start', 'start_object', 'goal' and 'goal_object', got \['brick'",
        ),
        ({"start_object": BRICK[:3]}, "start_object must be 4 finite numbers, x, y, z and yaw, got"),
        (
            {"start_object": np.add(BRICK, [0.4, 0, 0, 0])},
            r"start_object must lie in the workspace \[0.38, .* got \[0.93",
        ),
        ({"goal_object": np.add(BRICK, [0, 0, 0.3, 0])}, "goal_object must lie in the workspace"),
        (
            {"start_object": np.add(BRICK, [0, 0, 0, 1.1])},
            "start_object must be turned by at most 1.2 .* got yaw = 1.5",
        ),
        (
            {"start_object": LIFTED},
            "start_object must lie on the table, .* or between the closed fingers of start",
        ),
        ({"start": np.add(AROUND, [0.9, 0, 0, 0, 0, 0, 0])}, r"start must lie in the workspace \[0.38, "),
        (
            {"start": np.add(AROUND, [0, 0, 0, 0, 0, 0, 0.5]), "start_object": BRICK},
            "start must leave the fingers outside the brick at",
        ),
        ({"goal": OPEN_AROUND, "goal_object": LIFTED}, "goal must be a gripper closed around the brick at"),
    ],
)
def test_bad_reset_options(env, options, message):
    with pytest.raises(ValueError, match=message):
        env.reset(options=options)


def test_options_out_of_range():
    with pytest.raises(ValueError, match=r"success_radius must be above 0 and below 0.1, .*, got 0.1"):
        GraspConfig(success_radius=0.1)
