import json
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vjepa_wm.data.trajectories import TrajectoryDataset, TrajectoryError
from vjepa_wm.data.trajectory_stats import STATS
from vjepa_wm.data.trajectory_writer import TrajectoryWriter
from vjepa_wm.data.video import write_video

FRONT = "observation.images.front"


def make_episode(num_frames, seed=0, size=(32, 48)):
    """Make frames of brightness 4 k with one moving block of colour, random states and random actions."""
    generator = np.random.default_rng(seed)
    frames = np.empty((num_frames, *size, 3), np.uint8)
    frames[:] = (40 + 4 * np.arange(num_frames, dtype=np.uint8))[:, None, None, None]
    for k in range(num_frames):
        frames[k, 8:16, 2 * k : 2 * k + 8] = (250, 20, 20 + seed)
    states = generator.normal(size=(num_frames, 7)).astype(np.float32)
    actions = generator.normal(size=(num_frames, 7)).astype(np.float32)
    actions[-1] = 0
    return frames, states, actions


def make_writer(root, **changes):
    return TrajectoryWriter(root, **{"fps": 5, "image_size": (32, 48), **changes})


@pytest.fixture
def dataset(tmp_path):
    with make_writer(tmp_path / "set") as writer:
        for seed, task in enumerate(("reach", "play", "reach", "play")):
            writer.add_episode(*make_episode(6 + seed, seed), task)
    return TrajectoryDataset(tmp_path / "set")


def read_all(folder):
    return pa.concat_tables([pq.ParquetFile(path).read() for path in sorted(folder.rglob("*.parquet"))])


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


def test_files_have_the_columns_of_lerobot_v3(dataset):
    root = dataset.root
    info = json.loads((root / "meta/info.json").read_text())
    assert info["codebase_version"] == "v3.0" and info["fps"] == 5
    assert (info["total_episodes"], info["total_frames"], info["total_tasks"]) == (4, 30, 2)
    assert info["splits"] == {"train": "0:4"}
    assert info["features"][FRONT]["shape"] == [32, 48, 3] and info["features"][FRONT]["dtype"] == "video"
    assert info["features"]["action"]["shape"] == [7] and len(info["features"]["action"]["names"]) == 7

    data = read_all(root / "data")
    assert set(data.column_names) == set(info["features"]) - {FRONT}
    assert data["index"].to_pylist() == list(range(30))
    assert data["episode_index"].to_pylist() == [0] * 6 + [1] * 7 + [2] * 8 + [3] * 9
    assert data["frame_index"].to_pylist()[:8] == [0, 1, 2, 3, 4, 5, 0, 1]
    assert data["timestamp"].to_pylist()[6:9] == pytest.approx([0, 0.2, 0.4])
    assert data["task_index"].to_pylist() == [0] * 6 + [1] * 7 + [0] * 8 + [1] * 9
    assert data.schema.field("action").type == pa.list_(pa.float32(), 7)
    assert data.schema.field("timestamp").type == pa.float32() and data.schema.field("index").type == pa.int64()

    rows = read_all(root / "meta/episodes").to_pylist()
    assert [row["dataset_from_index"] for row in rows] == [0, 6, 13, 21]
    assert [row["dataset_to_index"] for row in rows] == [6, 13, 21, 30]
    assert [row["tasks"] for row in rows] == [["reach"], ["play"], ["reach"], ["play"]]
    for row in rows:
        assert row[f"videos/{FRONT}/to_timestamp"] == pytest.approx(row["length"] / 5)
        for owner in ("data", f"videos/{FRONT}", "meta/episodes"):
            assert (row[f"{owner}/chunk_index"], row[f"{owner}/file_index"]) == (0, row["episode_index"])
        assert {f"stats/{name}/{stat}" for name in info["features"] for stat in STATS} <= set(row)


def test_tasks_are_the_index_of_a_pandas_table(dataset):
    table = pq.ParquetFile(dataset.root / "meta/tasks.parquet").read()
    pandas = json.loads(table.schema.metadata[b"pandas"])
    (index,) = pandas["index_columns"]
    assert table[index].to_pylist() == ["reach", "play"] and table["task_index"].to_pylist() == [0, 1]
    assert [column["field_name"] for column in pandas["columns"]] == ["task_index", index]


def test_statistics_are_those_of_all_frames(dataset):
    data = read_all(dataset.root / "data")
    actions = np.array(data["action"].to_pylist())
    stats = dataset.stats["action"]
    assert set(dataset.stats) == {*data.column_names, FRONT} and set(stats) == set(STATS)
    for name in ("min", "max", "mean", "std"):
        assert np.allclose(stats[name], getattr(actions, name)(0), atol=1e-6)
    assert stats["count"].tolist() == [30] and dataset.stats[FRONT]["count"].tolist() == [30]
    assert dataset.stats["timestamp"]["max"].shape == (1,)
    frames = np.concatenate([make_episode(6 + i, i)[0] for i in range(4)]) / 255
    for name in ("min", "max", "mean", "std"):
        assert np.allclose(dataset.stats[FRONT][name], getattr(frames, name)((0, 1, 2)).reshape(3, 1, 1))


def test_appending_continues_at_the_next_episode(dataset):
    with make_writer(dataset.root) as writer:
        assert (writer.num_episodes, writer.num_frames) == (4, 30)
        writer.add_episode(*make_episode(5, 9), "push")
        writer.add_episode(*make_episode(5, 8), "play")
    longer = TrajectoryDataset(dataset.root)
    assert longer.lengths == [6, 7, 8, 9, 5, 5]
    assert np.array_equal(longer.episode(4).states, make_episode(5, 9)[1]) and longer.episode(4).task == "push"
    assert np.array_equal(longer.episode(1).states, dataset.episode(1).states)
    assert pq.ParquetFile(longer.root / "meta/tasks.parquet").read()["task_index"].to_pylist() == [0, 1, 2]
    states = np.array(read_all(longer.root / "data")["observation.state"].to_pylist())
    assert longer.stats["observation.state"]["count"].tolist() == [40]
    assert np.allclose(longer.stats["observation.state"]["std"], states.std(0), atol=1e-6)


@pytest.mark.parametrize("last_file", ["video", "data", "episodes", "stats"])
def test_a_killed_recorder_leaves_all_finished_episodes(dataset, monkeypatch, last_file):
    """The recorder dies right after it has written the named file of episode 4."""
    root, part = dataset.root, {"video": ".mp4", "data": "data/", "episodes": "meta/episodes", "stats": "stats.json"}
    replace = os.replace

    def replace_then_die(source, target):
        replace(source, target)
        if part[last_file] in str(target):
            raise KeyboardInterrupt

    writer = make_writer(root)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "replace", replace_then_die)
        writer.add_episode(*make_episode(9, 5), "stack")
    survived = TrajectoryDataset(root)
    assert survived.num_episodes == 4 and survived.episode(3).task == "play"
    with make_writer(root) as writer:
        writer.add_episode(*make_episode(5, 6), "push")
    assert TrajectoryDataset(root).lengths == [6, 7, 8, 9, 5]
    assert np.array_equal(TrajectoryDataset(root).episode(4).states, make_episode(5, 6)[1])
    assert TrajectoryDataset(root).stats["action"]["count"].tolist() == [35]


def test_files_move_on_to_the_next_chunk(tmp_path, monkeypatch):
    monkeypatch.setattr("vjepa_wm.data.trajectory_writer.CHUNK_SIZE", 2)
    with make_writer(tmp_path / "set") as writer:
        for seed in range(3):
            writer.add_episode(*make_episode(4, seed), "play")
    assert (tmp_path / "set/data/chunk-001/file-000.parquet").is_file()
    assert np.array_equal(TrajectoryDataset(tmp_path / "set").episode(2).states, make_episode(4, 2)[1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fps": 10}, "fps must be 5 to append to .*set, got 10"),
        ({"robot_type": "sawyer"}, "robot_type must be franka to append"),
        ({"image_size": 64}, r"shape of observation\.images\.front must be \[32, 48, 3\] .* got \[64, 64, 3\]"),
        ({"camera": "wrist"}, r"shape of observation\.images\.front must be .* got None"),
    ],
)
def test_appending_with_other_settings_is_refused(dataset, changes, message):
    with pytest.raises(TrajectoryError, match=message):
        make_writer(dataset.root, **changes)


def test_writer_refuses_a_foreign_folder_and_bad_settings(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(TrajectoryError, match="new or empty folder"):
        make_writer(tmp_path)
    with pytest.raises(ValueError, match="fps must be positive, got 0"):
        make_writer(tmp_path / "new", fps=0)
    with pytest.raises(ValueError, match=r"image_size must be even .* got \(33, 33\)"):
        make_writer(tmp_path / "new", image_size=33)


def test_writer_refuses_bad_episodes_and_writes_nothing(tmp_path):
    writer = make_writer(tmp_path / "set")
    frames, states, actions = make_episode(5)
    with_nan = states.copy()
    with_nan[3, 1] = np.nan
    for arguments, message in (
        (
            (frames[:, :30], states, actions, "play"),
            r"frames must be uint8 \(T, 32, 48, 3\), got uint8 \(5, 30, 48, 3\)",
        ),
        ((frames.astype(np.float32), states, actions, "play"), "frames must be uint8"),
        ((frames, states[:4], actions, "play"), r"states must be \(5, 7\) .* got \(4, 7\)"),
        ((frames, states, actions[:, :4], "play"), r"actions must be \(5, 7\) .* got \(5, 4\)"),
        ((frames, with_nan, actions, "play"), "states must be finite, .* in row 3"),
        ((frames, states, actions + 1, "play"), "last row of actions must be zeros"),
        ((frames, states, actions, ""), "task must say"),
    ):
        with pytest.raises(ValueError, match=message):
            writer.add_episode(*arguments)
    assert not (tmp_path / "set").exists()


def write_foreign(root, cameras=("observation.images.top",)):
    """Write three episodes as other recorders do: all in one parquet and one mp4, variable lists, odd names."""
    lengths, ends = [4, 6, 5], np.cumsum([4, 6, 5])
    frames = np.concatenate([make_episode(length, seed)[0] for seed, length in enumerate(lengths)])
    numbers = np.arange(15)
    data = {
        "observation.state": [[float(k), -float(k)] for k in numbers],
        "action": [[k / 2] for k in numbers],
        "episode_index": np.repeat([0, 1, 2], lengths),
        "frame_index": np.concatenate([np.arange(length) for length in lengths]),
    }
    rows = {
        "episode_index": [0, 1, 2],
        "length": lengths,
        "tasks": [["a"], ["b"], ["a"]],
        "data/chunk_index": [0] * 3,
        "data/file_index": [0] * 3,
    }
    for camera in cameras:
        write_video(root / f"videos/{camera}/chunk-000/file-000.mp4", frames, 10)
        rows |= {f"videos/{camera}/chunk_index": [0] * 3, f"videos/{camera}/file_index": [0] * 3}
        rows[f"videos/{camera}/from_timestamp"] = (ends - lengths) / 10
        rows[f"videos/{camera}/to_timestamp"] = ends / 10
    features = {name: {"dtype": "float32", "shape": [1], "names": None} for name in data}
    features |= {camera: {"dtype": "video", "shape": [32, 48, 3], "names": None} for camera in cameras}
    info = {
        "codebase_version": "v3.0",
        "fps": 10,
        "total_episodes": 3,
        "features": features,
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
    }
    for name, columns in (("data", data), ("meta/episodes", rows)):
        (root / name / "chunk-000").mkdir(parents=True)
        pq.write_table(pa.table(columns), root / name / "chunk-000/file-000.parquet")
    (root / "meta/info.json").write_text(json.dumps(info))


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
        TrajectoryDataset(tmp_path, camera="front")
    for name in ("wrist", "observation.images.wrist"):
        assert TrajectoryDataset(tmp_path, camera=name).camera == "observation.images.wrist"


def test_windows_stay_within_episodes(dataset):
    windows = dataset.windows(7)
    assert windows == [(1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2)]
    assert len(dataset.windows(1)) == 30
    with pytest.raises(ValueError, match="num_frames must be at most 9, the longest episode, got 10"):
        dataset.windows(10)
    with pytest.raises(ValueError, match="num_frames must be at least 1, got 0"):
        dataset.windows(0)


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
        ({"drop": "action"}, "no column 'action' in .*; it has episode_index, .*, observation.state"),
        ({"drop": FRONT}, "no camera stored as video in .*; it has action, "),
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
    with pytest.raises(TrajectoryError, match=r"episode 2 of .* has 8 frames, its video 7"):
        TrajectoryDataset(dataset.root).episode(2)
    video.unlink()
    with pytest.raises(FileNotFoundError, match=r"video does not exist: .*file-002\.mp4"):
        TrajectoryDataset(dataset.root).episode(2)


OBJECT = ("x", "y", "z", "yaw")
COLUMN = "observation.environment_state"


def make_objects(num_frames, seed=0):
    return np.random.default_rng(100 + seed).normal(size=(num_frames, 4)).astype(np.float32)


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


def test_objects_must_fit_the_data_set(tmp_path):
    writer = make_writer(tmp_path / "with", object_names=OBJECT)
    with pytest.raises(ValueError, match=r"objects must be given when, .* \['x', 'y', 'z', 'yaw'\], got none"):
        writer.add_episode(*make_episode(5), "push")
    with pytest.raises(ValueError, match=r"objects must be \(5, 4\) for these frames, got \(4, 4\)"):
        writer.add_episode(*make_episode(5), "push", objects=make_objects(4))
    bad = make_objects(5)
    bad[3] = np.nan
    with pytest.raises(ValueError, match=r"objects must be finite, got .* in row 3"):
        writer.add_episode(*make_episode(5), "push", objects=bad)
    writer.add_episode(*make_episode(5), "push", objects=make_objects(5))
    with pytest.raises(TrajectoryError, match=r"shape of observation.environment_state must be \[4\] to append"):
        make_writer(tmp_path / "with")
    with pytest.raises(ValueError, match=r"objects must be given when, .* got some"):
        make_writer(tmp_path / "without").add_episode(*make_episode(5), "push", objects=make_objects(5))
