"""Data sets of this package and of lerobot, each read by the other, hold the same numbers, tasks and times.

It needs lerobot, and Python 3.12 or newer for lerobot 0.6.1 (what its encoders say goes to stderr):

    python3.12 -m venv lerobot_env
    lerobot_env/bin/pip install -e ".[dev]" "lerobot[dataset]==0.6.1"
    lerobot_env/bin/python -m pytest tests/reference/test_lerobot.py

Pictures come through a codec: ours and lerobot's decoding of one file are equal, the raw ones differ by what it loses.
"""

import gymnasium
import numpy as np
import pytest
from lerobot_set import ACTION, IMAGES, STATE, read_theirs, to_uint8, write_theirs

from vjepa_wm.data.collection.record import collect
from vjepa_wm.data.trajectories.dataset import TrajectoryDataset
from vjepa_wm.data.trajectories.read_options import TrajectoryOptions
from vjepa_wm.data.trajectories.writer import TrajectoryWriter
from vjepa_wm.envs import make
from vjepa_wm.envs.policies import policy_maker

pytestmark = pytest.mark.filterwarnings("ignore")  # of lerobot itself
OBJECTS, FRONT, TASK = "observation.environment_state", IMAGES + "front", "push, play"
NUM_EPISODES, NUM_STEPS = 10, 40


@pytest.fixture(scope="module")
def lerobot():
    how = "lerobot is not installed: pip install 'lerobot[dataset]==0.6.1'"
    pytest.importorskip("lerobot", reason=how)
    return pytest.importorskip("lerobot.datasets", reason=how).LeRobotDataset


class Keep(gymnasium.Wrapper):
    """Remembers everything, episode by episode."""

    def __init__(self, env):
        super().__init__(env)
        self.episodes = []

    def reset(self, **options):
        obs, info = self.env.reset(**options)
        self.episodes.append({"images": [], "states": [], "objects": [], "actions": []})
        self._keep(obs, info)
        return obs, info

    def step(self, action):
        obs, reward, terminated, truncated, info = self.env.step(action)
        self.episodes[-1]["actions"].append(np.array(action))
        self._keep(obs, info)
        return obs, reward, terminated, truncated, info

    def _keep(self, obs, info):
        for name, value in (("images", obs["image"]), ("states", obs["state"]), ("objects", info["object"])):
            self.episodes[-1][name].append(np.array(value))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A data set as `vjepa-wm collect` makes it, and by episode what went into it."""
    root, env = tmp_path_factory.mktemp("ours") / "set", Keep(make("push", image_size=64))
    own = env.unwrapped
    names = {"state_names": own.state_names, "action_names": own.action_names, "object_names": own.object_names}
    with TrajectoryWriter(root, fps=own.control_hz, image_size=64, cameras=own.cameras, **names) as writer:
        settings = {"num_episodes": NUM_EPISODES, "num_steps": NUM_STEPS, "seed": 0, "task": TASK}
        collect(lambda: env, policy_maker("push", "play"), writer, progress=False, **settings)
    raw = [{name: np.array(values) for name, values in episode.items()} for episode in env.episodes]
    for episode in raw:  # nothing is done at the last frame
        episode["actions"] = np.append(episode["actions"], np.zeros((1, 7)), axis=0).astype(np.float32)
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
