"""Choosing cameras, columns, rate and conversion, on data sets laid out as other recorders do."""

import json
from io import BytesIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from vjepa_wm.data.media.video import write_video
from vjepa_wm.data.trajectories.dataset import TrajectoryDataset
from vjepa_wm.data.trajectories.episode_frames import kept_frames
from vjepa_wm.data.trajectories.layout import TrajectoryError
from vjepa_wm.data.trajectories.trajectory_options import TrajectoryOptions
from vjepa_wm.models.pose import pose_difference

LENGTHS = (31, 20, 8)
FILES = ((0, 1), (2,))  # episodes in each data file
HAND, TOP = "observation.images.hand", "observation.images.top"


def frame(k):
    """Make a picture whose brightness is the number of the frame in the data set."""
    return np.full((16, 16, 3), 3 * k + 20, np.uint8)


def png(picture):
    file = BytesIO()
    Image.fromarray(picture).save(file, format="PNG")
    return {"bytes": file.getvalue(), "path": "frame.png"}


def numbers():
    """Return the columns by name: position, Euler angles and a width of the gripper, each in a column of its own."""
    rng, total = np.random.default_rng(0), sum(LENGTHS)
    return {
        "position": rng.normal(size=(total, 3)).astype(np.float32),
        "angles": rng.uniform(-1, 1, (total, 3)).astype(np.float32),
        "width": rng.uniform(0, 0.08, total),  # plain numbers, as LeRobot stores columns of shape [1]
        "closed": rng.random(total) > 0.5,
        "count": np.arange(total, dtype=np.int64),
        "action": rng.normal(size=(total, 7)).astype(np.float32),
    }


def write_set(root, fps=30, **changes):
    """Write the columns, pictures in parquet (hand) and a video (top); episodes in two data files, rows in three."""
    columns = numbers() | {
        "episode_index": np.repeat(range(len(LENGTHS)), LENGTHS),
        "frame_index": np.concatenate([np.arange(length) for length in LENGTHS]),
    }
    features = {
        name: {"dtype": str(values.dtype), "shape": list(values.shape[1:]) or [1], "names": None}
        for name, values in columns.items()
    }
    features["position"]["names"] = ["x", "y", "z"]
    features["angles"]["names"] = {"axes": ["roll", "pitch", "yaw"]}
    features["action"]["names"] = {"x": 0, "y": 1}  # not as many as there are numbers
    features |= {"note": {"dtype": "string", "shape": [1], "names": None}}
    features |= {HAND: {"dtype": "image", "shape": [16, 16, 3]}, TOP: {"dtype": "video", "shape": [3, 16, 16]}}
    table = pa.table({name: values.tolist() for name, values in columns.items()})
    pictures = [png(frame(k)) for k in range(sum(LENGTHS))]
    table = table.append_column("note", pa.array(["?"] * len(table))).append_column(HAND, pa.array(pictures))
    for place, episodes in enumerate(FILES):
        path = root / f"data/chunk-000/file-{place:03d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = np.flatnonzero(np.isin(columns["episode_index"], episodes))
        pq.write_table(table.take(rows[::-1]), path)  # LeRobot does not promise an order of rows
    ends = np.cumsum(LENGTHS)
    write_video(root / f"videos/{TOP}/chunk-000/file-000.mp4", np.stack([frame(k) for k in range(ends[-1])]), fps)
    for k, length in enumerate(LENGTHS):
        row = {"episode_index": k, "length": length, "data/chunk_index": 0, "data/file_index": int(k == 2)}
        row |= {f"videos/{TOP}/chunk_index": 0, f"videos/{TOP}/file_index": 0}
        row |= {f"videos/{TOP}/from_timestamp": (ends[k] - length) / fps, f"videos/{TOP}/to_timestamp": ends[k] / fps}
        path = root / f"meta/episodes/chunk-000/file-{k:03d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist([row]), path)
    info = {"codebase_version": "v3.0", "fps": fps, "total_episodes": len(LENGTHS), "features": features}
    info |= {"data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"}
    info |= {"video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"}
    (root / "meta/info.json").write_text(json.dumps(info | changes))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("options") / "set"
    write_set(folder)
    return folder


def choose(**options):
    return TrajectoryOptions(**{"camera": "hand", "state": ("position", "width"), **options})


def brightness(frames):
    return np.rint((frames.mean(axis=(1, 2, 3)) - 20) / 3).astype(int).tolist()


@pytest.mark.parametrize("camera", ["hand", "top"])
def test_pictures_of_parquet_and_of_videos_come_in_order(root, camera):
    dataset = TrajectoryDataset(root, choose(camera=camera))
    for k, start in enumerate((0, 31, 51)):
        episode = dataset.episode(k)
        assert brightness(episode.frames) == list(range(start, start + LENGTHS[k]))
        assert episode.frames.dtype == np.uint8 and episode.frames.shape[1:] == (16, 16, 3)
        assert np.array_equal(episode.actions, numbers()["action"][start : start + LENGTHS[k]])
        assert episode.task == "" and episode.objects is None
        assert brightness(dataset.frames(k, TOP)) == brightness(episode.frames)


def test_columns_and_numbers_of_them_are_put_end_to_end(root):
    options = choose(state=("position:z,x", "width", "closed", "count"), action=("action:6,0", "angles:pitch"))
    episode, columns = TrajectoryDataset(root, options).episode(1), numbers()
    rows = slice(31, 51)
    expected = (columns["position"][rows, [2, 0]], columns["width"][rows], columns["closed"][rows], np.arange(31, 51))
    assert np.array_equal(episode.states, np.column_stack(expected).astype(np.float32))
    expected = (columns["action"][rows, [6, 0]], columns["angles"][rows, 1])
    assert np.array_equal(episode.actions, np.column_stack(expected))
    # Two names for seven numbers do not say which they are.
    with pytest.raises(TrajectoryError, match=r"no number 'x' in column 'action' of .*; it has 0, 1, .*, 6"):
        TrajectoryDataset(root, choose(action=("action:x",)))


@pytest.mark.parametrize(
    ("length", "stride", "expected"),
    [
        (7, 1.0, [0, 1, 2, 3, 4, 5, 6]),
        (13, 6.0, [0, 6, 12]),
        (12, 6.0, [0, 6]),
        (31, 7.5, [0, 7, 15, 22, 30]),
        (30, 7.5, [0, 7, 15, 22]),
        (8, 30 / 13, [0, 2, 5, 7]),
        (1, 3.0, [0]),
    ],
)
def test_frames_at_a_lower_rate_are_the_nearest_in_time(length, stride, expected):
    assert kept_frames(length, stride).tolist() == expected


@pytest.mark.parametrize("camera", ["hand", "top"])
@pytest.mark.parametrize(("fps", "kept"), [(5, range(0, 31, 6)), (4, [0, 7, 15, 22, 30])])
def test_at_a_lower_rate_actions_span_the_frames_that_are_kept(root, camera, fps, kept):
    options = choose(camera=camera, fps=fps, state=("position", "angles", "width"))
    dataset = TrajectoryDataset(root, options)
    assert dataset.fps == fps and dataset.lengths[0] == len(kept)
    episode, columns = dataset.episode(0), numbers()
    assert brightness(episode.frames) == list(kept)
    states = np.column_stack([columns[name][list(kept)] for name in ("position", "angles", "width")])
    assert np.allclose(episode.states, states, atol=1e-6)
    moved = pose_difference(torch.tensor(states[:-1]), torch.tensor(states[1:])).numpy()
    assert np.allclose(episode.actions[:-1], moved, atol=1e-6) and not episode.actions[-1].any()
    assert [len(dataset.episode(i).states) for i in range(3)] == dataset.lengths


def test_the_recorded_rate_keeps_the_recorded_actions(root):
    for fps in (None, 30):
        assert np.array_equal(TrajectoryDataset(root, choose(fps=fps)).episode(2).actions, numbers()["action"][51:])
    from_states = TrajectoryDataset(root, choose(actions="from_states", action=())).episode(2)
    assert np.allclose(from_states.actions[:-1], np.diff(from_states.states, axis=0), atol=1e-6)
    assert not from_states.actions[-1].any()


def test_a_gripper_and_angles_of_their_own_columns_become_a_pose(root):
    options = choose(
        state=("position", "angles", "width"), pose="euler", degrees=True, gripper_open=0.08, gripper_closed=0.0
    )
    episode, columns = TrajectoryDataset(root, options).episode(1), numbers()
    rows = slice(31, 51)
    assert np.array_equal(episode.states[:, :3], columns["position"][rows])
    assert np.allclose(episode.states[:, 3:6], np.deg2rad(columns["angles"][rows]), atol=1e-6)
    assert np.allclose(episode.states[:, 6], 1 - columns["width"][rows] / 0.08, atol=1e-6)
    assert np.allclose(episode.actions[:-1, :3], np.diff(columns["position"][rows], axis=0), atol=1e-6)
    recorded = TrajectoryDataset(root, choose(state=("position", "angles"), pose="euler", actions="recorded"))
    assert np.array_equal(recorded.episode(1).actions, columns["action"][rows])
    assert not recorded.episode(1).states[:, 6].any()


def test_parts_of_a_split_are_read_by_the_same_options(root):
    train, val = TrajectoryDataset(root, choose(fps=5)).split(0.34, seed=1)
    assert train.fps == val.fps == 5 and sorted(train.episodes + val.episodes) == [0, 1, 2]
    assert brightness(val.episode(0).frames)[:2] == [(0, 31, 51)[val.episodes[0]] + k for k in (0, 6)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"camera": None}, r"a camera must be named for .*; known cameras: .*\.hand, .*\.top"),
        ({"camera": "wrist"}, r"unknown camera 'wrist' for .*; known cameras: .*\.hand, .*\.top"),
        ({"state": ("pose",)}, r"no column 'pose' for state in .*; it has action, angles, closed, .*, width"),
        ({"state": ("pose:x",)}, "no column 'pose' for state in .*; it has action, angles"),
        ({"action": ("delta",)}, "no column 'delta' for action in .*; it has action, angles"),
        (
            {"state": ("position:x,w",)},
            r"no number 'w' in column 'position' of .*; it has x, y, z, and by place 0 to 2",
        ),
        (
            {"state": ("angles:3",)},
            r"no number '3' in column 'angles' of .*; it has roll, pitch, yaw, and by place 0 to 2",
        ),
        ({"state": ("note",)}, "column 'note' of .* must hold numbers, got string; action, angles, .*, width do"),
        ({"state": (HAND,)}, "column 'observation.images.hand' of .* must hold numbers, got image"),
        ({"fps": 60}, r"fps must be at most 30, that of .*, got 60"),
        (
            {"fps": 5, "actions": "recorded"},
            r"actions must be from_states at fps 5, as those of .* recorded at 30; got",
        ),
        (
            {"pose": "euler", "state": ("position", "angles"), "actions": "recorded", "action": ("action:0,1,2",)},
            r"recorded actions must be 7 numbers, .* got 3 from action:0,1,2; from_states needs none",
        ),
        (
            {"pose": "matrix"},
            r"state must hold 12 numbers for pose matrix \(x, y, z, matrix\), .* got 4 from position, w",
        ),
    ],
)
def test_what_a_data_set_lacks_is_named_beside_what_it_has(root, options, message):
    with pytest.raises(TrajectoryError, match=message):
        TrajectoryDataset(root, choose(**options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fps": 0}, "fps must be positive or none, got 0"),
        ({"state": ()}, "state must name at least one column, got none"),
        ({"action": ()}, "action must name at least one column unless actions are from_states, got none"),
        ({"gripper_open": 1.0}, r"gripper_open and gripper_closed must differ, got 1\.0 for both"),
        ({"gripper_open": 0.5}, "gripper_open and gripper_closed must go with a pose, which as_is leaves unchanged"),
        ({"pose": "joints"}, "robot must be given with pose joints and only then, got pose joints, None"),
        ({"pose": "euler", "tool": "hand"}, r"tool and joints must be left out unless pose is joints, got hand, \(\)"),
        ({"degrees": True}, "degrees must go with pose euler, rotation_vector or joints, got pose as_is"),
    ],
)
def test_options_that_cannot_be_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        TrajectoryOptions(**options)


def rewrite(root, change):
    """Change the table of episode 2, which has a data file of its own."""
    path = root / "data/chunk-000/file-001.parquet"
    pq.write_table(change(pq.read_table(path, partitioning=None)), path)


def set_cell(table, name, row, value):
    values = table[name].to_pylist()
    values[row] = value
    return table.set_column(table.column_names.index(name), name, pa.array(values))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: set_cell(t, "width", 0, float("nan")), r"state must be finite, .* in frame 7 of episode 2 of"),
        (
            lambda t: set_cell(t, "action", 7, [1e400] * 7),
            r"action must be finite, got \[inf, .* in frame 0 of episode 2",
        ),
        (
            lambda t: set_cell(t, "width", 3, None),
            r"column 'width' of .* must have a value in every row, got 1 without",
        ),
        (
            lambda t: set_cell(t, "action", 3, [0.0]),
            r"column 'action' of .* equally long lists, got 50 numbers in 8 rows",
        ),
        (lambda t: t.drop_columns("width"), r"no column width in .*file-001\.parquet; it has action, angles, "),
        (lambda t: t.set_column(0, "position", t["action"]), r"column 'position' must have the 3 numbers .* got 7"),
        (lambda t: t.drop_columns(HAND), r"no column observation\.images\.hand in .*file-001\.parquet; it has"),
        (
            lambda t: set_cell(t, HAND, 3, {"bytes": b"", "path": "a.png"}),
            r"pictures must be stored within the file, got",
        ),
        (
            lambda t: set_cell(t, HAND, 3, {"bytes": b"no png", "path": ""}),
            r"cannot read frame 4, column .*episode 2 .* as a picture",
        ),
        (lambda t: set_cell(t, HAND, 3, png(frame(0)[:8])), r"pictures change their size in column .*hand', episode 2"),
        (lambda t: t.slice(1), r"episode 2 of .* has 8 frames, its parquet file 7"),
    ],
)
def test_damaged_files_say_what_is_wrong(tmp_path, change, message):
    write_set(tmp_path)
    rewrite(tmp_path, change)
    dataset = TrajectoryDataset(tmp_path, choose())
    assert len(dataset.episode(0).states) == 31
    with pytest.raises(TrajectoryError, match=message):
        dataset.episode(2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"codebase_version": "v2.1"},
            r"LeRobot version must be v3\.x, got v2\.1 in .*; LeRobot's converter can lift it",
        ),
        (
            {"features": {"action": {"dtype": "float32", "shape": [7]}}},
            "no camera with colour pictures in .*; it has action",
        ),
    ],
)
def test_another_layout_is_refused(tmp_path, changes, message):
    write_set(tmp_path, **changes)
    with pytest.raises(TrajectoryError, match=message):
        TrajectoryDataset(tmp_path, choose())


def test_an_info_file_without_what_is_needed_is_named(tmp_path):
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta/info.json").write_text(json.dumps({"codebase_version": "v3.0", "fps": 5, "features": {}}))
    with pytest.raises(TrajectoryError, match=r"no data_path, total_episodes in .*info\.json; it has codebase_version"):
        TrajectoryDataset(tmp_path)
