"""A data set that lerobot 0.6.1 itself wrote is read as lerobot reads it.

`lerobot_set.zip` is what `tests/reference/lerobot_set.py` makes: three episodes in one file of each kind, an AV1
camera, one of pictures in parquet, one for depth, names in a dict, a nested and a boolean column; and what lerobot
reads from it.
"""

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest

from vjepa_wm.data.clips.clip_sources import find_clip_source
from vjepa_wm.data.trajectories.dataset import TrajectoryDataset
from vjepa_wm.data.trajectories.trajectory_options import TrajectoryOptions

TOP, HAND = "observation.images.top", "observation.images.hand"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lerobot")
    shutil.unpack_archive(Path(__file__).parents[1] / "support/lerobot_set.zip", folder)
    return folder


@pytest.fixture(scope="module")
def read(folder):
    return dict(np.load(folder / "read.npz"))


def test_numbers_pictures_and_tasks_are_what_lerobot_reads(folder, read):
    dataset = TrajectoryDataset(folder / "set", TrajectoryOptions(camera="top"))
    assert (dataset.fps, dataset.lengths, sorted(dataset.cameras)) == (10.0, [5, 7, 4], [HAND, TOP])
    for k in range(3):
        episode = dataset.episode(k)
        assert episode.task == f"task {k % 2}"
        assert np.array_equal(episode.states, read[f"observation.state {k}"])
        assert np.array_equal(episode.actions, read[f"action {k}"])
        assert episode.frames.shape == (dataset.lengths[k], 32, 32, 3)
        # Another release of FFmpeg may round colours otherwise.
        assert np.abs(episode.frames[[0, -1]].astype(int) - read[f"{TOP} {k}"]).max() <= 1
        assert np.array_equal(dataset.frames(k, "hand")[[0, -1]], read[f"{HAND} {k}"])
        white = (dataset.frames(k, HAND)[:, 16:24] == 250).all(axis=-1)
        assert white.any(axis=1).argmax(axis=1).tolist() == [2 * t for t in range(dataset.lengths[k])]


def test_columns_may_be_named_dicts_nested_or_boolean(folder, read):
    options = TrajectoryOptions(
        camera="hand", state=("observation.state:turn.pos,0", "tool:3", "held"), action=("tool", "action:reach.pos")
    )
    dataset = TrajectoryDataset(folder / "set", options)
    for k in range(3):
        state, tool = read[f"observation.state {k}"], read[f"tool {k}"]
        expected = np.column_stack([state[:, [2, 0]], tool[:, 1, 0], read[f"held {k}"]]).astype(np.float32)
        episode = dataset.episode(k)
        assert np.array_equal(episode.states, expected)
        expected = np.column_stack([tool.reshape(-1, 9), read[f"action {k}"][:, 1]]).astype(np.float32)
        assert np.array_equal(episode.actions, expected)


def test_depth_cameras_are_left_out_with_a_message(folder, caplog):
    with caplog.at_level(logging.INFO):
        TrajectoryDataset(folder / "set", TrajectoryOptions(camera="top"))
    assert "depth cameras are left out: observation.images.depth of" in caplog.text
    with pytest.raises(ValueError, match=r"unknown camera 'depth' .*; known cameras: .*images\.hand, .*images\.top"):
        TrajectoryDataset(folder / "set", TrajectoryOptions(camera="depth"))


def test_the_list_of_tasks_is_not_needed(folder, tmp_path):
    shutil.copytree(folder / "set", tmp_path / "set")
    (tmp_path / "set/meta/tasks.parquet").unlink()
    (tmp_path / "set/meta/stats.json").unlink()
    dataset = TrajectoryDataset(tmp_path / "set", TrajectoryOptions(camera="top"))
    assert dataset.episode(1).task == "task 1" and dataset.stats == {}


def test_pretraining_takes_its_videos(folder):
    assert [item.path.parts[-3] for item in find_clip_source(folder / "set").videos] == [TOP] * 3
