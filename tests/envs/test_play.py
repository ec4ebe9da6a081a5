"""The loop in which every policy plays."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from point_world import PointEnv, PointExpert, picture
from square_world import SquareEnv

from vjepa_wm.envs.play import play, record

OPTIONS = {"start": [0.1, 0.1, 0.1], "goal": [0.34, 0.1, 0.1]}


def right(obs, info):
    return np.array([0.05, 0, 0, 0, 0, 0, 0])


def test_an_episode_begins_with_its_start_and_has_a_moment_after_each_action():
    moments = list(play(PointEnv(), right, num_steps=4, seed=0, options=OPTIONS))
    assert [moment.obs["state"][0] for moment in moments] == pytest.approx([0.1, 0.15, 0.2, 0.25, 0.3])
    assert moments[0].action is None and moments[0].seconds == 0
    assert all(moment.action[0] == np.float32(0.05) and moment.seconds > 0 for moment in moments[1:])
    assert [moment.info["is_success"] for moment in moments] == [False, False, False, False, True]
    assert not any(moment.has_ended for moment in moments)


def test_seed_and_options_decide_the_start():
    def start(seed, options=None):
        return next(play(PointEnv(), right, num_steps=1, seed=seed, options=options)).obs["state"].tolist()

    assert start(3) == start(3) == PointEnv().reset(seed=3)[0]["state"].tolist()
    assert start(3) != start(4)
    assert start(3, OPTIONS) == start(4, OPTIONS)


def test_an_action_outside_the_box_is_recorded_as_it_was_done():
    _, moment = play(PointEnv(), lambda obs, info: [9.0, -9, 0, 0, 0, 0, 0.5], num_steps=1, seed=0, options=OPTIONS)
    assert moment.action.dtype == np.float32
    np.testing.assert_allclose(moment.action, [0.075, -0.075, 0, 0, 0, 0, 0.075], rtol=1e-6)


def test_moments_keep_their_pictures_where_the_environment_draws_over_them():
    env = SquareEnv(cameras=("front", "side"))  # which draws into one buffer
    moments = list(play(env, lambda obs, info: np.full(7, 2.0), num_steps=3, seed=0))
    for before, after in pairwise(moments):
        assert (before.obs["image"] != after.obs["image"]).any() and not np.shares_memory(
            before.obs["image_side"], after.obs["image_side"]
        )


def test_whoever_looks_on_acts_before_the_next_action():
    wanted = {"way": 0.05}
    moments = play(PointEnv(), lambda obs, info: [wanted["way"], *[0] * 6], num_steps=2, seed=0, options=OPTIONS)
    next(moments), next(moments)
    wanted["way"] = -0.05
    assert next(moments).obs["state"][0] == pytest.approx(0.1)


@pytest.mark.parametrize("env", [PointEnv(ends_after=2), SquareEnv(ends_after=2)])
def test_an_environment_that_ends_the_episode_has_the_last_word(env):
    moments = list(play(env, lambda obs, info: np.zeros(7), num_steps=5, seed=0))
    assert [moment.has_ended for moment in moments] == [False, False, True]
    assert record(moments, 5).was_cut_short and not record(moments, 2).was_cut_short


def test_a_record_has_everything_moment_by_moment():
    env = PointEnv()
    rollout = record(play(env, PointExpert(np.random.default_rng(0)), num_steps=3, seed=0, options=OPTIONS), 3)
    assert rollout.states.shape == (4, 7) and rollout.actions.shape == (3, 7)
    assert rollout.states.dtype == rollout.actions.dtype == np.float32
    assert list(rollout.pictures) == ["image"] and rollout.frames is rollout.pictures["image"]
    for frame, state in zip(rollout.frames, rollout.states, strict=True):
        assert np.abs(frame.astype(int) - picture(state)).max() <= 1
    np.testing.assert_allclose(rollout.states[1:, :3], rollout.states[:-1, :3] + rollout.actions[:, :3], atol=1e-6)
    way = np.linalg.norm(rollout.states[:, :3] - rollout.goal["state"][:3], axis=1)
    np.testing.assert_allclose(rollout.distances, way, atol=1e-6)
    assert rollout.reached.tolist() == (rollout.distances <= 0.05).tolist()
    assert rollout.objects is None and rollout.variation is None and not rollout.was_cut_short
    assert rollout.seconds_per_action > 0


def test_objects_and_what_varied_are_recorded_where_there_are_any():
    class Furnished(PointEnv):
        def _info(self):
            return super()._info() | {
                "object": self._scene.place[:2].astype(np.float32),
                "variation": {"table": "navy"},
            }

    rollout = record(play(Furnished(), right, num_steps=2, seed=0), 2)
    np.testing.assert_array_equal(rollout.objects, rollout.states[:, :2])
    assert rollout.variation == {"table": "navy"}
