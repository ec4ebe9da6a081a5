import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_trajectories import FRONT, OBJECT, contents, make_dataset, make_episode, make_objects, make_writer, read_all

from vjepa_wm.data.media.video import read_frames
from vjepa_wm.data.trajectories.dataset import TrajectoryDataset, TrajectoryError
from vjepa_wm.data.trajectories.stats import STATS


@pytest.fixture
def dataset(tmp_path):
    return make_dataset(tmp_path / "set")


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
    replace, before = os.replace, contents(root)

    def replace_then_die(source, target):
        replace(source, target)
        if part[last_file] in str(target):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt), make_writer(root) as writer:
        patch.setattr(os, "replace", replace_then_die)
        writer.add_episode(*make_episode(9, 5), "stack")
    survived = TrajectoryDataset(root)
    assert survived.num_episodes == 4 and survived.episode(3).task == "play"
    assert contents(root) != before
    make_writer(root).close()  # puts right what was left, also the statistics and tasks
    assert contents(root) == before
    with make_writer(root) as writer:
        writer.add_episode(*make_episode(5, 6), "push")
    assert TrajectoryDataset(root).lengths == [6, 7, 8, 9, 5]
    assert np.array_equal(TrajectoryDataset(root).episode(4).states, make_episode(5, 6)[1])
    assert TrajectoryDataset(root).stats["action"]["count"].tolist() == [35]


def test_files_move_on_to_the_next_chunk(tmp_path, monkeypatch):
    monkeypatch.setattr("vjepa_wm.data.trajectories.writer.CHUNK_SIZE", 2)
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
        ({"cameras": ["wrist"]}, r"shape of observation\.images\.front must be .* got None"),
    ],
)
def test_appending_with_other_settings_is_refused(dataset, changes, message):
    with pytest.raises(TrajectoryError, match=message):
        make_writer(dataset.root, **changes)


def test_writer_refuses_a_foreign_folder_and_bad_settings(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(TrajectoryError, match="new or empty folder"):
        make_writer(tmp_path)
    with pytest.raises(ValueError, match="fps must be positive and finite, got 0"):
        make_writer(tmp_path / "new", fps=0)
    with pytest.raises(ValueError, match=r"image_size must be even .* got \(33, 33\)"):
        make_writer(tmp_path / "new", image_size=33)


def test_writer_refuses_bad_episodes_and_writes_nothing(tmp_path):
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
        with pytest.raises(ValueError, match=message), make_writer(tmp_path / "set") as writer:
            writer.add_episode(*arguments)
    assert [path.name for path in (tmp_path / "set").rglob("*")] == ["meta", ".lock"]


def test_objects_must_fit_the_data_set(tmp_path):
    bad = make_objects(5)
    bad[3] = np.nan
    with make_writer(tmp_path / "with", object_names=OBJECT) as writer:
        for objects, message in (
            (None, r"objects must be given when, .* \['x', 'y', 'z', 'yaw'\], got none"),
            (make_objects(4), r"objects must be \(5, 4\) for these frames, got \(4, 4\)"),
            (bad, r"objects must be finite, got .* in row 3"),
        ):
            with pytest.raises(ValueError, match=message):
                writer.add_episode(*make_episode(5), "push", objects=objects)
        writer.add_episode(*make_episode(5), "push", objects=make_objects(5))
    with pytest.raises(TrajectoryError, match=r"shape of observation.environment_state must be \[4\] to append"):
        make_writer(tmp_path / "with")
    with (
        pytest.raises(ValueError, match=r"objects must be given when, .* got some"),
        make_writer(tmp_path / "w") as writer,
    ):
        writer.add_episode(*make_episode(5), "push", objects=make_objects(5))


def test_every_camera_and_every_name_comes_back(tmp_path):
    names = {"cameras": ("front", "wrist"), "state_names": ("x", "y"), "action_names": ("dx", "dy")}
    (front, states, actions), wrist = make_episode(5), make_episode(5, seed=99)[0]
    with make_writer(tmp_path / "set", robot_type="point", **names) as writer:
        writer.add_episode({"front": front, "wrist": wrist}, states[:, :2], actions[:, :2], "go")
    info = json.loads((tmp_path / "set/meta/info.json").read_text())
    assert info["robot_type"] == "point"
    assert info["features"]["observation.state"] == {"dtype": "float32", "shape": [2], "names": ["x", "y"]}
    assert info["features"]["action"]["names"] == ["dx", "dy"]
    for camera, frames in (("front", front), ("wrist", wrist)):
        path = tmp_path / f"set/videos/observation.images.{camera}/chunk-000/file-000.mp4"
        assert np.abs(read_frames(path)[0].astype(int) - frames).mean() < 3
    data = read_all(tmp_path / "set/data")
    assert np.array_equal(data["observation.state"].to_pylist(), states[:, :2])
    assert np.array_equal(data["action"].to_pylist(), actions[:, :2])
    (row,) = read_all(tmp_path / "set/meta/episodes").to_pylist()
    assert row["stats/observation.images.wrist/max"][2] == [[119 / 255]] != row[f"stats/{FRONT}/max"][2]


def test_cameras_named_in_another_order_are_the_same(tmp_path):
    frames, states, actions = make_episode(5)
    for cameras in (("front", "wrist"), ("wrist", "front")):
        with make_writer(tmp_path / "set", cameras=cameras) as writer:
            writer.add_episode({"wrist": frames // 2, "front": frames}, states, actions, "go")
    first, second = (
        [(tmp_path / f"set/videos/observation.images.{camera}/chunk-000/file-{k:03d}.mp4").read_bytes() for k in (0, 1)]
        for camera in ("front", "wrist")
    )
    assert first[0] == first[1] != second[0] == second[1]


def test_the_frames_must_be_those_of_the_cameras(tmp_path):
    frames, states, actions = make_episode(5)
    with make_writer(tmp_path / "set", cameras=("front", "wrist")) as writer:
        with pytest.raises(ValueError, match=r"those of the cameras \['front', 'wrist'\], got \['front'\]"):
            writer.add_episode(frames, states, actions, "go")
        with pytest.raises(ValueError, match="frames of all cameras must be equally many, got 5 and 4 of wrist"):
            writer.add_episode({"front": frames, "wrist": frames[:4]}, states, actions, "go")
    for cameras in ("front", (), ("front", "front")):
        with pytest.raises(ValueError, match="cameras must be a list of different names, at least one, got"):
            make_writer(tmp_path / "other", cameras=cameras)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"state_names": tuple("abcdefg")}, r"names of observation\.state must be \['x', .* got \['a', 'b'"),
        ({"action_names": tuple("abcdefg")}, r"names of action must be \['dx', .* got \['a', 'b'"),
        ({"object_names": ("x",)}, r"shape of observation\.environment_state must be None to append .* got \[1\]"),
    ],
)
def test_appending_with_other_names_is_refused(dataset, changes, message):
    with pytest.raises(TrajectoryError, match=message):
        make_writer(dataset.root, **changes)


def test_opening_puts_right_what_a_killed_recorder_left(dataset, tmp_path):
    root, before = dataset.root, contents(dataset.root)
    left = ["data/chunk-000/file-004.parquet", "meta/episodes/chunk-000/file-004.parquet.tmp", "meta/info.json.tmp"]
    for name in (*left, f"videos/{FRONT}/chunk-000/file-004.mp4"):
        (root / name).write_bytes(b"left")
    make_writer(root).close()
    assert contents(root) == before


def test_a_data_set_has_one_recorder_at_a_time(tmp_path):
    with make_writer(tmp_path / "set") as writer:
        with pytest.raises(TrajectoryError, match=r"process \d+ on .* is writing into .*set just now; let it end"):
            make_writer(tmp_path / "set")
        writer.add_episode(*make_episode(4), "go")
    with make_writer(tmp_path / "set") as writer:
        assert writer.num_episodes == 1


def test_the_work_of_an_episode_does_not_grow_with_their_number(tmp_path, monkeypatch):
    written = []
    write_bytes = Path.write_bytes
    monkeypatch.setattr(Path, "write_bytes", lambda path, content: written.append(path) or write_bytes(path, content))
    with make_writer(tmp_path / "set") as writer:
        counts = []
        for seed in range(6):
            written.clear()
            writer.add_episode(*make_episode(4, seed), "go")
            counts.append((len(written), sum((path.parent / path.stem).stat().st_size for path in written)))
    assert len({number for number, _ in counts}) == 1
    assert counts[-1][1] < 1.1 * counts[1][1]


def test_the_variation_of_every_episode_comes_back(tmp_path):
    with make_writer(tmp_path) as writer:
        writer.add_episode(*make_episode(4), task="go", variation={"table": "oak", "light": "dim"})
    with make_writer(tmp_path) as writer:
        with pytest.raises(ValueError, match=r"factors of the episodes before, \['light', 'table'\], got \[\]"):
            writer.add_episode(*make_episode(4), task="go")
        writer.add_episode(*make_episode(4), task="go", variation={"light": "warm", "table": "default"})
    dataset = TrajectoryDataset(tmp_path)
    assert [dataset.episode(i).variation for i in range(2)] == [
        {"light": "dim", "table": "oak"},
        {"light": "warm", "table": "default"},
    ]
    assert read_all(tmp_path / "meta/episodes").num_rows == 2
