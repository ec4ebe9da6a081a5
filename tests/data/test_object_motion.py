from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import vjepa_wm
from vjepa_wm.data.latents.latent_set import LatentSet
from vjepa_wm.data.latents.latent_store import encode_dataset
from vjepa_wm.data.latents.object_motion import ObjectMotionConfig, moving_frames, object_motion
from vjepa_wm.data.latents.window_mixture import WindowMixture
from vjepa_wm.data.trajectories.dataset import TrajectoryDataset
from vjepa_wm.models.load import load_world_model
from vjepa_wm.stages.collect import CollectConfig, run_collect

QUICK = ObjectMotionConfig(steps=150, batch_size=128)


def made_scene(num_episodes=40, num_frames=20, seed=0):
    """Latents of a robot that always moves and fills most tokens, and of an object that moves in some steps.

    Returns:
        The set, and after which frames the object moves, (F,).
    """
    rng = np.random.default_rng(seed)
    moves = rng.random((num_episodes, num_frames)) < 0.15
    moves[:, -1] = False
    angles = rng.uniform(0, 2 * np.pi, moves.shape)
    steps = 0.7 * np.stack((np.cos(angles), np.sin(angles)), axis=-1) * moves[..., None]
    objects = rng.normal(size=(num_episodes, 1, 2)) + np.roll(steps, 1, axis=1).cumsum(axis=1)
    robot = rng.normal(size=(num_episodes, 1, 3)) + 0.4 * rng.normal(size=(num_episodes, num_frames, 3)).cumsum(axis=1)
    strong, weak = 2 * rng.normal(size=(3, 9 * 8)), rng.normal(size=(2, 9 * 8)) * (np.arange(72) < 16)
    z = np.sin(robot @ strong) * (np.arange(72) >= 8) + 0.4 * np.sin(objects @ weak)
    z = (z + 0.02 * rng.normal(size=z.shape)).reshape(-1, 9, 8).astype(np.float16)
    lengths = np.full(num_episodes, num_frames)
    states = robot.reshape(-1, 3).astype(np.float32)
    firsts = np.cumsum(lengths) - lengths
    made = LatentSet(z=z, states=states, actions=states, objects=None, firsts=firsts, lengths=lengths)
    return made, moves.reshape(-1)


def auc(scores, truth):
    """Return how often a frame with motion has the higher score of two."""
    ranks = scores.argsort().argsort()
    positive = truth.sum()
    return (ranks[truth].sum() - positive * (positive - 1) / 2) / (positive * (~truth).sum())


def test_what_moves_beside_the_robot_is_found():
    made, moves = made_scene()
    rows = made.window_starts(2)
    amounts = object_motion(made, QUICK)
    change = np.abs(made.z[rows + 1].astype(np.float32) - made.z[rows]).mean(axis=(1, 2))
    assert auc(change, moves[rows]) < 0.65  # what the picture alone tells
    assert auc(amounts[rows], moves[rows]) > 0.7
    assert not amounts[19::20].any()


def test_windows_with_motion_become_more():
    made, moves = made_scene()
    moving = moving_frames(made, QUICK)
    assert moving.sum() == pytest.approx(0.25 * 40 * 19, abs=2) and not moving[19::20].any()
    shares = []
    for given in (None, [moving]):
        mixture = WindowMixture([made], 2, moving=given)
        rows = np.concatenate([rows for step in range(20) for _, rows in mixture.draw(step, 100)])
        shares.append(moves[rows].mean())
    assert shares[1] > 1.5 * shares[0]


def test_only_the_asked_episodes_are_read_and_the_answer_is_the_same_again():
    made, _ = made_scene(num_episodes=12)
    few = ObjectMotionConfig(steps=5)
    part = made.part([1, 4, 5, 7])
    first, again = (object_motion(part, few, seed=3) for _ in range(2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, object_motion(part, few, seed=4))
    others = np.setdiff1d(np.arange(240), part.frames())
    spoiled = made.z.copy()
    spoiled[others] = np.nan
    assert not first[others].any() and first[part.window_starts(2)].all()
    assert np.array_equal(first, object_motion(replace(part, z=spoiled), few, seed=3))


def test_short_episodes_do_no_harm():
    made, _ = made_scene(num_episodes=3)
    short = LatentSet(
        z=made.z,
        states=made.states,
        actions=made.actions,
        objects=None,
        firsts=np.array([0, 20]),
        lengths=np.array([2, 1]),
    )
    amounts = object_motion(short, ObjectMotionConfig(steps=2))
    assert np.isfinite(amounts).all() and np.flatnonzero(amounts).tolist() == [0]
    with pytest.raises(ValueError, match="object motion needs an episode of at least two frames, there is none"):
        object_motion(short.part([1]), ObjectMotionConfig(steps=2))


def test_a_real_data_set_is_divided(tmp_path):
    run_collect(CollectConfig(env="push", policy="noisy_expert", episodes=6, steps=12, out=tmp_path / "set", workers=0))
    model = load_world_model(Path(vjepa_wm.__file__).parent / "weights/arm")
    latents = encode_dataset(model.encoder, TrajectoryDataset(tmp_path / "set"))
    moving = moving_frames(latents, ObjectMotionConfig(steps=30, batch_size=24))
    assert moving.shape == (6 * 13,) and moving.sum() == 18  # of 72 steps
    mixture = WindowMixture([latents], 3, moving=[moving])
    rows = np.concatenate([rows for step in range(10) for _, rows in mixture.draw(step, 10)])
    assert (moving[rows] | moving[rows + 1]).mean() == 0.5


def test_wrong_options_are_named():
    with pytest.raises(ValueError, match="moving_share must be between 0 and 1, got 1"):
        ObjectMotionConfig(moving_share=1)
    with pytest.raises(ValueError, match="max_gap must be at least 1, got 0"):
        ObjectMotionConfig(max_gap=0)
