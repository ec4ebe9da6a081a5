"""Data sets of this package and of lerobot, each read by the other, hold the same numbers, tasks and times.

It needs lerobot, and Python 3.12 or newer for lerobot 0.6.1 (what its encoders say goes to stderr):

    python3.12 -m venv lerobot_env
    lerobot_env/bin/pip install -e ".[dev]" "lerobot[dataset]==0.6.1"
    lerobot_env/bin/python -m pytest tests/reference/test_lerobot.py

Pictures come through a codec: ours and lerobot's decoding of one file are equal, the raw ones differ by what it loses.
"""

from functools import partial

import numpy as np
import pytest
from lerobot_set import ACTION, IMAGES, STATE, read_theirs, to_uint8, write_theirs

from vjepa_wm.data.collection.episode_player import seeds_of
from vjepa_wm.data.collection.record import collect
from vjepa_wm.data.trajectories.dataset import TrajectoryDataset
from vjepa_wm.data.trajectories.trajectory_options import TrajectoryOptions
from vjepa_wm.data.trajectories.writer import TrajectoryWriter
from vjepa_wm.envs import find_task, make
from vjepa_wm.envs.play import play, record

pytestmark = pytest.mark.filterwarnings("ignore")  # of lerobot itself
OBJECTS, FRONT, TASK = "observation.environment_state", IMAGES + "front", "push, play"
NUM_EPISODES, NUM_STEPS = 10, 40


@pytest.fixture(scope="module")
def lerobot():
    how = "lerobot is not installed: pip install 'lerobot[dataset]==0.6.1'"
    pytest.importorskip("lerobot", reason=how)
    return pytest.importorskip("lerobot.datasets", reason=how).LeRobotDataset


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A data set as `vjepa-wm collect` makes it, and by episode what went into it."""
    root, task = tmp_path_factory.mktemp("ours") / "set", find_task("push")
    make_env, make_policy = partial(make, task, image_size=64), partial(task.make_policy, "play")
    env = make_env()
    names = {"state_names": env.state_names, "action_names": env.action_names, "object_names": env.object_names}
    with TrajectoryWriter(root, fps=env.control_hz, image_size=64, cameras=env.cameras, **names) as writer:
        settings = {"num_episodes": NUM_EPISODES, "num_steps": NUM_STEPS, "seed": 0, "task": TASK}
        collect(make_env, make_policy, writer, progress=False, **settings)
    raw = []
    for k in range(NUM_EPISODES):
        seed, rng = seeds_of(0, k)
        rollout = record(play(env, make_policy(env, rng), num_steps=NUM_STEPS, seed=seed), NUM_STEPS)
        actions = np.append(rollout.actions, np.zeros((1, 7), np.float32), axis=0)  # nothing is done at the last frame
        raw.append({"images": rollout.frames, "states": rollout.states, "objects": rollout.objects, "actions": actions})
    env.close()
    return root, raw


def mean_difference(pictures, others):
    """Return how far pictures are apart in the mean [grey levels]."""
    return np.abs(pictures.astype(np.int16) - others).mean()


def test_we_read_what_we_recorded(recorded):
    root, raw = recorded
    ours = TrajectoryDataset(root)
    assert len(ours) == NUM_EPISODES
    for k, kept in enumerate(raw):
        episode = ours.episode(k)
        assert episode.task == TASK
        for found, name in ((episode.states, "states"), (episode.actions, "actions"), (episode.objects, "objects")):
            assert np.array_equal(found, kept[name])
        assert mean_difference(episode.frames, kept["images"]) < 5


def test_lerobot_reads_what_we_recorded(lerobot, recorded):
    root, raw = recorded
    ours = TrajectoryDataset(root)
    step = 1 / ours.fps
    deltas = {FRONT: [-step, 0.0, step], STATE: [-step, 0.0, step], ACTION: [0.0, step]}
    theirs = lerobot("local/ours", root=root, video_backend="pyav", delta_timestamps=deltas)
    starts = np.cumsum([0, *(len(kept["states"]) for kept in raw)])
    assert (theirs.fps, theirs.num_episodes, theirs.num_frames) == (ours.fps, len(raw), starts[-1])
    assert np.array_equal(theirs.meta.episodes["dataset_from_index"], starts[:-1])
    assert np.array_equal(theirs.meta.episodes["dataset_to_index"], starts[1:])
    for k, kept in enumerate(raw):
        length, frames = len(kept["states"]), ours.episode(k).frames
        for t in range(length):
            item, around = theirs[int(starts[k]) + t], np.clip([t - 1, t, t + 1], 0, length - 1)
            assert (item["task"], int(item["episode_index"])) == (TASK, k)
            assert round(float(item["timestamp"]) * ours.fps) == t
            assert np.array_equal(item[STATE].numpy(), kept["states"][around])
            assert np.array_equal(item[ACTION].numpy(), kept["actions"][around[1:]])
            assert np.array_equal(item[OBJECTS].numpy(), kept["objects"][t])
            assert item[f"{FRONT}_is_pad"].tolist() == [t == 0, False, t == length - 1]
            assert np.array_equal(to_uint8(item[FRONT]), frames[around])


def test_lerobot_finds_our_statistics(lerobot, recorded):
    root, raw = recorded
    stats = lerobot("local/ours", root=root, video_backend="pyav").meta.stats
    for column, name in ((STATE, "states"), (OBJECTS, "objects")):
        values = np.concatenate([kept[name] for kept in raw]).astype(np.float64)
        for stat in ("min", "max", "mean", "std"):
            assert np.allclose(stats[column][stat], getattr(values, stat)(0))
    every = np.concatenate([kept["images"] for kept in raw]) / 255
    assert np.allclose(stats[FRONT]["mean"].ravel(), every.mean((0, 1, 2)))


@pytest.mark.parametrize("codec", ["libsvtav1", "h264"])
def test_we_read_what_lerobot_writes(lerobot, tmp_path, codec):
    written = write_theirs(tmp_path / "set", codec, lengths=(12, 30, 7, 21), size=(96, 128))
    read = read_theirs(tmp_path / "set")
    options = TrajectoryOptions(camera="top", state=(STATE, "tool:1,0", "held"), action=("action:lift.pos,turn.pos",))
    ours = TrajectoryDataset(tmp_path / "set", options)
    assert sorted(ours.cameras) == [IMAGES + name for name in ("hand", "top", "wrist")]
    assert len(ours) == len(read)
    for k, (before, after) in enumerate(zip(written, read, strict=True)):
        episode = ours.episode(k)
        states = np.column_stack([after[STATE], after["tool"].reshape(-1, 9)[:, [1, 0]], after["held"]])
        assert episode.task == before["task"]
        assert np.array_equal(episode.states, states.astype(np.float32))
        assert np.array_equal(episode.actions, after[ACTION][:, [0, 2]])
        assert np.array_equal(ours.frames(k, "hand"), before[IMAGES + "hand"])
        for camera in ("top", "wrist"):
            assert np.array_equal(ours.frames(k, camera), after[IMAGES + camera])
            assert mean_difference(ours.frames(k, camera), before[IMAGES + camera]) < 5
