"""Latents of a data set that grows: what is there is taken over, if it is of the same episodes, and never changes."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from small_trajectories import contents, make_dataset, make_episode, make_objects, make_writer, write_foreign

from vjepa_wm.data.latents import latent_store
from vjepa_wm.data.latents.latent_store import encode_dataset, encode_episode
from vjepa_wm.data.media.video import write_video
from vjepa_wm.data.trajectories.dataset import TrajectoryDataset
from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.encoder_config import VideoEncoderConfig
from vjepa_wm.safe_files import FolderInUseError

CONFIG = VideoEncoderConfig(image_size=32, patch_size=8, embed_dim=24, depth=1, num_heads=2)
ARRAYS = ("z", "states", "actions")


def encoder():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return VideoEncoder(CONFIG).eval()


@pytest.fixture
def dataset(tmp_path):
    return make_dataset(tmp_path / "set")


def grow(root, seeds):
    with make_writer(root) as writer:
        for seed in seeds:
            writer.add_episode(*make_episode(5 + seed, seed), "more")
    return TrajectoryDataset(root)


def note_episodes(monkeypatch, act=lambda number: None):
    """Return the list that the numbers of encoded episodes are put down in; `act` is called before each."""
    seen = []

    def encode(model, episode, **options):
        seen.append(episode.index)
        act(episode.index)
        return encode_episode(model, episode, **options)

    monkeypatch.setattr(latent_store, "encode_episode", encode)
    return seen


def check_whole(latents, dataset, tmp_path):
    """Compare with latents that were encoded in one go."""
    whole = encode_dataset(encoder(), dataset, store=tmp_path / "whole")
    assert latents.num_episodes == dataset.num_episodes
    np.testing.assert_array_equal(latents.lengths, dataset.lengths)
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(latents, name), getattr(whole, name))


def test_only_new_episodes_are_encoded(dataset, tmp_path, monkeypatch):
    encode_dataset(encoder(), dataset, store=tmp_path / "store")
    grown = grow(dataset.root, range(4, 7))
    seen = note_episodes(monkeypatch)
    latents = encode_dataset(encoder(), grown, store=tmp_path / "store")
    assert seen == [4, 5, 6] and len(list((tmp_path / "store").iterdir())) == 1
    check_whole(latents, grown, tmp_path)


def test_objects_grow_too(tmp_path):
    def add(seed):
        with make_writer(tmp_path / "set", object_names=("x", "y", "z", "yaw")) as writer:
            writer.add_episode(*make_episode(6 + seed, seed), "push", objects=make_objects(6 + seed, seed))
        return encode_dataset(encoder(), TrajectoryDataset(tmp_path / "set")).objects

    np.testing.assert_array_equal(add(0), make_objects(6))
    np.testing.assert_array_equal(add(1), np.concatenate([make_objects(6), make_objects(7, 1)]))


def test_all_episodes_in_one_growing_file(tmp_path, monkeypatch):
    """As LeRobot writes them: the file that holds the first episodes is another when there are more."""
    root = tmp_path / "set"
    write_foreign(root)
    for folder in ("data", "meta/episodes"):
        path = root / folder / "chunk-000/file-000.parquet"
        pq.write_table(pq.read_table(path, filters=[("episode_index", "<", 2)]), path)
    info = json.loads((root / "meta/info.json").read_text())
    (root / "meta/info.json").write_text(json.dumps(info | {"total_episodes": 2}))
    assert encode_dataset(encoder(), TrajectoryDataset(root)).num_episodes == 2
    write_foreign(root)
    seen = note_episodes(monkeypatch)
    latents = encode_dataset(encoder(), TrajectoryDataset(root))
    assert seen == [2]
    check_whole(latents, TrajectoryDataset(root), tmp_path)


def test_who_reads_while_a_set_grows_sees_what_was_there(dataset, tmp_path, monkeypatch):
    store = tmp_path / "store"
    before = encode_dataset(encoder(), dataset, store=store)
    kept = {name: getattr(before, name).copy() for name in ARRAYS}
    grown, opened = grow(dataset.root, range(4, 6)), []

    def open_the_old(number):
        opened.append(encode_dataset(encoder(), TrajectoryDataset(dataset.root, episodes=range(4)), store=store))

    seen = note_episodes(monkeypatch, open_the_old)
    encode_dataset(encoder(), grown, store=store)
    assert seen == [4, 5] and len(opened) == 2
    for latents in (before, *opened):
        assert latents.num_frames == 30
        for name in ARRAYS:
            np.testing.assert_array_equal(getattr(latents, name), kept[name])


KILLED = """
import os, signal, sys
from pathlib import Path
from test_growing_latents import CONFIG, encoder
from vjepa_wm.data.latents import latent_folder, latent_store, row_file
from vjepa_wm.data.trajectories.dataset import TrajectoryDataset

root, store, moment = sys.argv[1:]
die = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
if moment == "between arrays":
    def append(self, rows, write=row_file.RowFile.append):
        write(self, rows)
        self.save()
        if len(rows) == 10 and rows.ndim == 2:
            die()
    row_file.RowFile.append = append
elif moment == "before the note":
    latent_folder.write_json = die
latent_store.SAVE_EVERY = 100
latent_store.encode_dataset(encoder(), TrajectoryDataset(root), store=Path(store))
"""


@pytest.mark.parametrize("moment", ["between arrays", "before the note"])
def test_a_kill_while_it_grows_loses_and_mixes_nothing(dataset, tmp_path, monkeypatch, moment):
    store = tmp_path / "store"
    before = encode_dataset(encoder(), dataset, store=store)
    kept = before.z.copy()
    grown = grow(dataset.root, range(4, 7))
    (folder,) = store.iterdir()
    size = (folder / "z.bin").stat().st_size
    path = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1] / "support"), *sys.path])
    command = [sys.executable, "-c", KILLED, str(dataset.root), str(store), moment]
    killed = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert (folder / "z.bin").stat().st_size > size  # there is something to be cut off
    seen = note_episodes(monkeypatch)
    check_whole(encode_dataset(encoder(), grown, store=store), grown, tmp_path)
    assert seen[:3] == [4, 5, 6]
    np.testing.assert_array_equal(before.z, kept)


def change_state(root):
    path = root / "data/chunk-000/file-002.parquet"
    table = pq.read_table(path)
    column = table.schema.get_field_index("observation.state")
    values = table.column(column).to_pylist()
    values[3][0] += 1e-3
    changed = pa.array(values, table.field(column).type)
    pq.write_table(table.set_column(column, table.field(column), changed), path)


def change_pictures(root):
    write_video(root / "videos/observation.images.front/chunk-000/file-002.mp4", 255 - make_episode(8, 2)[0], 5)


@pytest.mark.parametrize("change", [change_state, change_pictures])
def test_a_changed_beginning_is_noticed(dataset, tmp_path, monkeypatch, caplog, change):
    store = tmp_path / "store"
    encode_dataset(encoder(), dataset, store=store)
    (folder,) = store.iterdir()
    before = contents(folder)
    change(dataset.root)
    seen = note_episodes(monkeypatch)
    changed = TrajectoryDataset(dataset.root)
    latents = encode_dataset(encoder(), changed, store=store)
    assert seen == [0, 1, 2, 3]
    assert f"latents in {folder} begin as {dataset.root} does, but are of other episodes" in caplog.text
    assert contents(folder) == before and sorted(store.iterdir()) == [folder, Path(f"{folder}-2")]
    check_whole(latents, changed, tmp_path)
    encode_dataset(encoder(), TrajectoryDataset(dataset.root), store=store)
    assert seen[4:] == [0, 1, 2, 3]  # those of check_whole


def test_two_sets_with_one_beginning_do_not_mix(dataset, tmp_path, monkeypatch):
    """The second grows what the first began; then the first finds that its own rest is not there."""
    store = tmp_path / "store"
    encode_dataset(encoder(), dataset, store=store)
    other = make_dataset(tmp_path / "other")
    first, second = grow(dataset.root, [5]), grow(other.root, [6])
    seen = note_episodes(monkeypatch)
    of_second = encode_dataset(encoder(), second, store=store)
    assert seen == [4]
    of_first = encode_dataset(encoder(), first, store=store)
    assert seen[1:] == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(of_second.states[30:], make_episode(11, 6)[1])
    np.testing.assert_array_equal(of_first.states[30:], make_episode(10, 5)[1])


def test_two_do_not_grow_the_same_at_once(dataset, tmp_path, monkeypatch):
    store = tmp_path / "store"
    encode_dataset(encoder(), dataset, store=store)
    grown = grow(dataset.root, range(4, 6))

    def start_another(number):
        with pytest.raises(FolderInUseError, match="is writing into"):
            encode_dataset(encoder(), TrajectoryDataset(dataset.root), store=store)

    with monkeypatch.context() as patched:
        seen = note_episodes(patched, start_another)
        latents = encode_dataset(encoder(), grown, store=store)
    assert seen == [4, 5]
    check_whole(latents, grown, tmp_path)
