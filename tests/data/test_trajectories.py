import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_trajectories import (
    FRONT,
    OBJECT,
    make_dataset,
    make_episode,
    make_objects,
    make_writer,
    read_all,
    write_foreign,
)

from vjepa_wm.data.media.video import write_video
from vjepa_wm.data.trajectories.dataset import TrajectoryDataset, TrajectoryError
from vjepa_wm.data.trajectories.trajectory_options import TrajectoryOptions


@pytest.fixture
def dataset(tmp_path):
    return make_dataset(tmp_path / "set")


def test_episodes_come_back_as_written(dataset):
    assert (dataset.num_episodes, len(dataset), dataset.fps, dataset.camera) == (4, 4, 5.0, FRONT)
    assert dataset.lengths == [6, 7, 8, 9]
    for i, task in enumerate(("reach", "play", "reach", "play")):
        frames, states, actions = make_episode(6 + i, i)
        episode = dataset.episode(i)
        assert (episode.index, episode.task) == (i, task)
        assert episode.states.dtype == episode.actions.dtype == np.float32
        assert np.array_equal(episode.states, states) and np.array_equal(episode.actions, actions)
        assert episode.frames.dtype == np.uint8 and episode.frames.shape == frames.shape
        assert np.abs(episode.frames.astype(int) - frames).mean() < 3
    with pytest.raises(IndexError, match="i must be from 0 to 3, got 4"):
        dataset.episode(4)


def test_many_episodes_in_one_file_are_told_apart(tmp_path):
    write_foreign(tmp_path)
    dataset = TrajectoryDataset(tmp_path)
    assert dataset.stats == {} and dataset.lengths == [4, 6, 5]
    for i, (start, length) in enumerate(((0, 4), (4, 6), (10, 5))):
        episode = dataset.episode(i)
        expected = make_episode(length, i)[0]
        assert episode.frames.shape == expected.shape
        assert np.abs(episode.frames[..., 1].astype(int) - expected[..., 1]).mean() < 3
        assert episode.states[:, 0].tolist() == list(range(start, start + length)) and episode.states.shape[1] == 2
        assert episode.actions[:, 0].tolist() == [k / 2 for k in range(start, start + length)]
    assert [dataset.episode(i).task for i in range(3)] == ["a", "b", "a"]


def test_a_camera_must_be_named_where_there_are_several(tmp_path):
    write_foreign(tmp_path, cameras=("observation.images.top", "observation.images.wrist"))
    with pytest.raises(
        TrajectoryError, match=r"a camera must be named .* known cameras: .*images\.top, .*images\.wrist"
    ):
        TrajectoryDataset(tmp_path)
    with pytest.raises(TrajectoryError, match=r"unknown camera 'front' .*; known cameras: .*top, .*wrist"):
        TrajectoryDataset(tmp_path, TrajectoryOptions(camera="front"))
    for name in ("wrist", "observation.images.wrist"):
        assert TrajectoryDataset(tmp_path, TrajectoryOptions(camera=name)).camera == "observation.images.wrist"


def test_split_divides_by_episode_and_by_seed(dataset):
    train, val = dataset.split(0.25, seed=0)
    assert (train.num_episodes, val.num_episodes) == (3, 1)
    assert sorted(train.episodes + val.episodes) == [0, 1, 2, 3]
    assert val.lengths == [6 + val.episodes[0]] and val.episode(0).index == val.episodes[0]
    assert {tuple(dataset.split(0.25, seed=0)[1].episodes) for _ in range(3)} == {tuple(val.episodes)}
    assert len({tuple(dataset.split(0.25, seed=seed)[1].episodes) for seed in range(20)}) == 4
    for share in (0.0, 0.1, 1.0):
        with pytest.raises(ValueError, match=f"at least one of 4 episodes in each part, got {share}"):
            dataset.split(share, seed=0)


def test_wrong_folders_say_what_is_wrong(tmp_path, dataset):
    with pytest.raises(FileNotFoundError, match=r"does not exist: .*nowhere"):
        TrajectoryDataset(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"meta/info\.json is missing in .*empty"):
        TrajectoryDataset(tmp_path / "empty")
    with pytest.raises(TrajectoryError, match=r"episodes must be from 0 to 3 in .*, got \[4, 7\]"):
        TrajectoryDataset(dataset.root, episodes=[4, 1, 7])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"codebase_version": "v2.1"}, r"version must be v3\.x, got v2\.1"),
        ({"drop": "action"}, "no column 'action' for action in .*; it has episode_index, .*, observation.state"),
        ({"drop": FRONT}, "no camera with colour pictures in .*; it has action, "),
        ({"total_episodes": 0}, "no episode in"),
        ({"total_episodes": 6}, "one row for each of 6 episodes, got 4"),
    ],
)
def test_wrong_datasets_say_what_is_wrong(dataset, change, message):
    path = dataset.root / "meta/info.json"
    info = json.loads(path.read_text())
    info["features"].pop(change.pop("drop", None), None)
    path.write_text(json.dumps(info | change))
    with pytest.raises(TrajectoryError, match=message):
        TrajectoryDataset(dataset.root)


def test_damaged_episodes_say_what_is_wrong(dataset):
    data, video = (
        dataset.root / f"{name}/chunk-000/file-002.{suffix}"
        for name, suffix in (("data", "parquet"), (f"videos/{FRONT}", "mp4"))
    )
    table = pq.ParquetFile(data).read()
    pq.write_table(table.slice(0, 5), data)
    with pytest.raises(TrajectoryError, match=r"episode 2 of .* has 8 frames, its parquet file 5"):
        dataset.episode(2)
    pq.write_table(table.drop_columns("action"), data)
    with pytest.raises(TrajectoryError, match=r"no column action in .*file-002\.parquet; it has episode_index"):
        TrajectoryDataset(dataset.root).episode(2)
    pq.write_table(table, data)
    write_video(video, make_episode(7)[0], 5)
    with pytest.raises(TrajectoryError, match=r"an episode has 8 frames, its video .*file-002\.mp4 7"):
        TrajectoryDataset(dataset.root).episode(2)
    video.unlink()
    with pytest.raises(TrajectoryError, match=r"video does not exist: .*file-002\.mp4"):
        TrajectoryDataset(dataset.root).episode(2)


COLUMN = "observation.environment_state"


def test_objects_come_back_as_written(tmp_path):
    for seed in range(2):  # the second time appends
        with make_writer(tmp_path / "set", object_names=OBJECT) as writer:
            writer.add_episode(*make_episode(5 + seed, seed), "push", objects=make_objects(5 + seed, seed))
    dataset = TrajectoryDataset(tmp_path / "set")
    assert dataset.object_names == OBJECT
    for i in range(2):
        episode = dataset.episode(i)
        assert episode.objects.dtype == np.float32 and np.array_equal(episode.objects, make_objects(5 + i, i))
        assert np.array_equal(dataset.objects(i), episode.objects)
        assert np.array_equal(episode.states, make_episode(5 + i, i)[1])
    feature = json.loads((dataset.root / "meta/info.json").read_text())["features"][COLUMN]
    assert feature == {"dtype": "float32", "shape": [4], "names": list(OBJECT)}
    assert read_all(dataset.root / "data").schema.field(COLUMN).type == pa.list_(pa.float32(), 4)
    every = np.concatenate([make_objects(5), make_objects(6, 1)])
    assert np.allclose(dataset.stats[COLUMN]["mean"], every.mean(0), atol=1e-6)
    with pytest.raises(IndexError, match="i must be from 0 to 1, got 2"):
        dataset.objects(2)


def test_a_data_set_without_objects_has_no_column_for_them(dataset):
    assert dataset.object_names == () and dataset.objects(0) is None and dataset.episode(0).objects is None
    assert COLUMN not in read_all(dataset.root / "data").column_names


@pytest.mark.parametrize("names", [{"block": ["x", "y"], "lid": ["angle"]}, None])
def test_objects_of_other_recorders_are_read(tmp_path, names):
    with make_writer(tmp_path / "set", object_names=("x", "y", "angle")) as writer:
        writer.add_episode(*make_episode(5), "push", objects=make_objects(5)[:, :3])
    info = json.loads((tmp_path / "set/meta/info.json").read_text())
    info["features"][COLUMN]["names"] = names
    (tmp_path / "set/meta/info.json").write_text(json.dumps(info))
    dataset = TrajectoryDataset(tmp_path / "set")
    assert dataset.object_names == (("x", "y", "angle") if names else ("0", "1", "2"))
    assert np.array_equal(dataset.objects(0), make_objects(5)[:, :3])
