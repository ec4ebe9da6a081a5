import numpy as np
import pytest
import torch

from vjepa_wm.agents.recovery import Recovery, RecoveryConfig
from vjepa_wm.envs import ActionLimits, find_task

LIMITS = ActionLimits(
    size=(0.1, 0.1, 0.1, 0.5), state_low=(0, 0, 0), state_high=(1, 1, 1), away=(-1.0, -1.0, 1.0), discrete=(3,)
)
GO = np.array([0.05, 0.0, 0.0, 0.0], np.float32)
STAY = np.zeros(4, np.float32)


def play(actions, states, *, goal_is_far=True, seed=0, config=None):
    recovery, generator = Recovery(LIMITS, config), torch.Generator().manual_seed(seed)
    played = [
        recovery(
            np.array(action, np.float32), np.array(state, np.float32), goal_is_far=goal_is_far, generator=generator
        )
        for action, state in zip(actions, states, strict=True)
    ]
    return played, recovery


def test_who_moves_as_asked_is_left_alone():
    actions, states = [GO] * 5, [[0.05 * k, 0, 0, 0] for k in range(5)]
    played, recovery = play(actions, states)
    assert recovery.num_pushes == 0 and all(np.array_equal(action, GO) for action in played)


def test_who_is_blocked_is_pushed_never_down():
    pushes = []
    for seed in range(30):
        played, recovery = play([GO, GO], [[0, 0, 0, 0], [0.001, 0, 0, 0]], seed=seed)
        assert recovery.num_pushes == 1 and np.array_equal(played[0], GO)
        pushes.append(played[1] - GO)
    pushes = np.stack(pushes)
    np.testing.assert_allclose(np.linalg.norm(pushes[:, :3], axis=1), 0.05, rtol=1e-5)
    assert (pushes[:, 2] >= 0).all() and (pushes[:, 3] == 0).all()
    assert pushes[:, 0].min() < 0 < pushes[:, 0].max() and pushes[:, 1].min() < 0 < pushes[:, 1].max()


def test_who_rests_far_from_the_goal_is_pushed_and_near_it_left_alone():
    actions, states = [STAY] * 4, [[0.3, 0.3, 0.3, 0]] * 4
    played, _ = play(actions, states)
    assert [bool(action.any()) for action in played] == [False, False, True, True]  # the push was blocked too
    assert play(actions, states, goal_is_far=False)[1].num_pushes == 0


def test_a_gripper_that_closes_is_no_rest():
    states = [[0.3, 0.3, 0.3, 0.2 * k] for k in range(4)]
    assert play([STAY] * 4, states)[1].num_pushes == 0


def test_an_episode_begins_without_memory():
    recovery, generator = Recovery(LIMITS), torch.Generator().manual_seed(0)
    for _ in range(2):
        recovery.reset()
        assert np.array_equal(recovery(GO, np.zeros(4), goal_is_far=True, generator=generator), GO)
    assert recovery.num_pushes == 0


def test_equal_seeds_push_equally():
    blocked = [GO] * 3, [[0, 0, 0, 0]] * 3
    first, again, other = (play(*blocked, seed=seed)[0] for seed in (0, 0, 1))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


@pytest.mark.parametrize("task", ["push", "point_maze"])
def test_it_fits_the_tasks(task):
    limits = find_task(task).limits
    recovery, generator = Recovery(limits), torch.Generator().manual_seed(0)
    action, state = np.array(limits.size, np.float32), np.zeros(len(limits.size), np.float32)
    recovery(action, state, goal_is_far=True, generator=generator)
    pushed = recovery(action, state, goal_is_far=True, generator=generator)
    assert recovery.num_pushes == 1 and pushed.shape == action.shape and not np.array_equal(pushed, action)


def test_wrong_numbers_are_named():
    with pytest.raises(ValueError, match="push must be above 0 and at most 1, got 2"):
        RecoveryConfig(push=2)
    with pytest.raises(ValueError, match="rest_steps must be at least 1, got 0"):
        RecoveryConfig(rest_steps=0)
    with pytest.raises(ValueError, match="away must have 3 numbers, as state_low, got 1"):
        ActionLimits(size=(1.0,) * 3, state_low=(0,) * 3, state_high=(1,) * 3, away=(1.0,))
