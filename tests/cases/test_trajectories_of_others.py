"""What damaged and odd LeRobot data sets must become.

A case is one line: what is changed in a small whole set, and the words of the error, which names the file; or what is
read.
"""

import logging
from io import BytesIO

import numpy as np
import odd_pictures
import pytest
from odd_trajectories import (
    DATA,
    ROWS,
    VIDEO,
    column,
    column_twice,
    content,
    feature,
    info,
    picture_set,
    pipe_in_place_of,
    set_with_bad_episodes,
    without,
    write_foreign_set,
)
from PIL import Image

from vjepa_wm.data.clips.clip_sources import find_clip_source
from vjepa_wm.data.latents.latent_set import LatentSet
from vjepa_wm.data.trajectories.dataset import TrajectoryDataset
from vjepa_wm.data.trajectories.metadata_checks import EpisodeError, TrajectoryError
from vjepa_wm.data.trajectories.trajectory_options import TrajectoryOptions
from vjepa_wm.training import encoded_data
from vjepa_wm.training.encoded_data import encode_good_episodes, warn_of_targets

TOP = "observation.images.top"
DAMAGED = {
    "10^17 frames": (
        column(ROWS, "length", lambda old: 10**17),
        "length must be at most 10,000,000, got 1000",
    ),
    "a column twice": (column_twice(DATA, "action"), r"file-000\.parquet must have each column once, got action twice"),
    "a column of rows twice": (column_twice(ROWS, "length"), r"file-000\.parquet must have each column once"),
    "info.json is a list": (content("meta/info.json", b"[]"), r"info\.json must hold a json object, got a list"),
    "info.json is cut": (content("meta/info.json", b'{"fps": 1'), r"info\.json is not valid json"),
    "info.json is no text": (content("meta/info.json", b"\xff\xfe\0\0"), r"info\.json is not valid json"),
    "info.json is a pointer": (content("meta/info.json", b"version https://git-lfs.x\n"), "info.json.*git lfs pull"),
    "no version": (without("codebase_version"), r"version must be v3\.x, got unknown"),
    "version 3": (info(codebase_version=3.0), r"version must be v3\.x, got 3\.0 in .*info\.json"),
    "version null": (info(codebase_version=None), r"version must be v3\.x, got null"),
    "no fps": (without("fps"), r"no fps in .*info\.json"),
    "fps 0": (info(fps=0), r"fps must be a positive number in .*info\.json, got 0"),
    "fps null": (info(fps=None), "fps must be a positive number .* got null"),
    "fps a text": (info(fps="30"), 'fps must be a positive number .* got "30"'),
    "fps true": (info(fps=True), "fps must be a positive number .* got true"),
    "fps infinite": (info(fps=float("inf")), "fps must be a positive number .* got Infinity"),
    "a text for a count": (info(total_episodes="3"), 'total_episodes must be a count .* got "3"'),
    "a negative count": (info(total_episodes=-3), "total_episodes must be a count .* got -3"),
    "10^12 episodes": (info(total_episodes=10**12), "one row for each of 1000000000000 episodes, got 3"),
    "features a list": (info(features=[]), "features must be an object"),
    "a feature null": (info(features={"action": None}), "feature 'action' of .* must be an object, got null"),
    "dtype missing": (info(features={"action": {"shape": [1]}}), "dtype must be a text in feature 'action'"),
    "shape missing": (info(features={"action": {"dtype": "float32"}}), "shape must be a list .* got null"),
    "shape of texts": (feature("action", shape=["1"]), "shape must be a list of positive whole numbers"),
    "shape negative": (feature("action", shape=[-1]), "shape must be a list of positive whole numbers"),
    "shape of 10^12": (feature("action", shape=[10**6, 10**6]), "shape must be at most 1,000,000 numbers"),
    "names a number": (feature("action", names=7), "names must be a list, an object or null in feature 'action'"),
    "camera info a text": (feature(TOP, info="depth"), "info must be an object in feature 'observation.images.top'"),
    "data_path null": (info(data_path=None), "data_path must be a path inside the data set"),
    "data_path above": (info(data_path="../x/{file_index}"), "data_path must be a path inside the data set"),
    "data_path absolute": (info(data_path="/etc/{file_index}"), "data_path must be a path inside the data set"),
    "data_path of another field": (info(data_path="{episode_chunk}"), "data_path must be .*chunk_index"),
    "video_path missing": (without("video_path"), "video_path must be a path inside the data set"),
    "video_path above": (info(video_path="{video_key}/../../x"), "video_path must be a path inside the data set"),
    "rows without length": (column(ROWS, "length", None), r"no column length in .*file-000\.parquet"),
    "length a text": (column(ROWS, "length", str), 'length must be a positive count, got "4" for episode 0'),
    "length null": (column(ROWS, "length", lambda old: None), "length must be a positive count, got null"),
    "length 0": (column(ROWS, "length", lambda old: 0), "length must be a positive count, got 0"),
    "file a text": (column(ROWS, "data/file_index", str), 'data/file_index must be a count, got "0"'),
    "episode a text": (column(ROWS, "episode_index", str), 'episode_index must be a count, got "0"'),
    "no video times": (column(ROWS, f"videos/{TOP}/from_timestamp", None), "no column .*from_timestamp in .*episodes"),
    "video time NaN": (column(ROWS, f"videos/{TOP}/to_timestamp", lambda old: float("nan")), "a time in seconds"),
    "rows are no parquet": (content(ROWS, b"PAR1 nothing PAR1"), r"cannot read .*file-000\.parquet as parquet"),
    "rows are a pointer": (content(ROWS, b"version https://git-lfs.x\n"), "file-000.parquet as parquet.*git lfs pull"),
    "rows are a pipe": (pipe_in_place_of(ROWS), r"not a file: .*file-000\.parquet"),
    "data are no parquet": (content(DATA, b"x" * 99), r"cannot read .*data.*file-000\.parquet as parquet"),
    "data are a pipe": (pipe_in_place_of(DATA), r"not a file: .*data.*file-000\.parquet"),
    "states are texts": (column(DATA, "observation.state", lambda old: list(map(str, old))), "must hold numbers"),
    "a state is missing": (column(DATA, "observation.state", lambda old: None), "must have a value in every row"),
    "frames are texts": (column(DATA, "frame_index", str), "'frame_index' of .* must hold numbers"),
    "video is a pointer": (content(VIDEO, b"version https://git-lfs.x\n"), r"file-000\.mp4.*git lfs pull"),
    "stats are a list": (content("meta/stats.json", b"[1]"), r"stats\.json must hold a json object"),
    "stats of texts": (content("meta/stats.json", b'{"action": {"min": ["a"]}}'), "min of 'action' must be numbers"),
    "stats ragged": (content("meta/stats.json", b'{"action": {"min": [[1], 2]}}'), "min of 'action' must be numbers"),
    "stats flat": (content("meta/stats.json", b'{"action": 1}'), "statistics of 'action' must be an object"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_set(tmp_path, name):
    change, words = DAMAGED[name]
    change(write_foreign_set(tmp_path / "set"))
    with pytest.raises(TrajectoryError, match=words):
        TrajectoryDataset(tmp_path / "set").episode(0)


@pytest.mark.parametrize("name", [name for name in DAMAGED if "fps" in name or "rows" in name or "video_path" in name])
def test_damaged_set_as_a_source_of_clips(tmp_path, name):
    change, words = DAMAGED[name]
    change(write_foreign_set(tmp_path / "set"))
    if name == "rows without length":
        assert len(find_clip_source(tmp_path / "set").videos) == 3  # clips do not need it
        return
    with pytest.raises(TrajectoryError, match=words):
        find_clip_source(tmp_path / "set")


def encoded(picture, form="png", **options):
    file = BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def turned():
    exif = Image.Exif()
    exif[0x112] = 6
    return encoded(odd_pictures.corner(6), exif=exif)


def transparent():
    pixels = np.array(odd_pictures.corner(1))
    return encoded(Image.fromarray(np.dstack([pixels, pixels[..., 0]])))


CELLS = {
    "turned by EXIF": (turned, lambda frame: frame[2:14, 2:30].min() == 255 and frame[18:].max() == 0),
    "transparent": (transparent, lambda frame: frame.min() == 255),
    "16 bits": (lambda: encoded(Image.fromarray(np.full((32, 64), 4000, np.uint16))), "8 bits per colour"),
    "floats": (lambda: encoded(Image.fromarray(np.zeros((32, 64), np.float32)), "tiff"), "8 bits per colour"),
    "broken": (lambda: b"\x89PNG nothing", f"cannot read frame 0, column '{TOP}', episode 1 of .*file-000.parquet"),
    "empty": (lambda: b"", f"stored within the file, got none in frame 0, column '{TOP}'"),
}


@pytest.mark.parametrize("name", CELLS)
def test_picture_in_a_column(tmp_path, name):
    make, must = CELLS[name]
    dataset = TrajectoryDataset(picture_set(tmp_path / "set", lambda k: make()))
    if callable(must):
        assert must(dataset.episode(1).frames[0])
    else:
        with pytest.raises(EpisodeError, match=must):
            dataset.episode(1)


def encode(dataset):
    """Stand in for an encoder: the mean colour of each frame is its latent."""
    episodes = [dataset.episode(i) for i in range(dataset.num_episodes)]
    lengths = np.array([len(episode.states) for episode in episodes])
    joined = {name: np.concatenate([getattr(one, name) for one in episodes]) for name in ("states", "actions")}
    z = np.concatenate([one.frames.mean(axis=(1, 2))[:, None].astype(np.float16) for one in episodes])
    return LatentSet(z=z, **joined, objects=None, firsts=np.cumsum(lengths) - lengths, lengths=lengths)


def test_bad_episodes_are_named_and_left_out_up_to_a_share(tmp_path, caplog):
    root = set_with_bad_episodes(tmp_path / "set", 1, 2)
    latents = encode_good_episodes(root, TrajectoryOptions(), encode, max_bad_share=0.5)
    assert latents.lengths.tolist() == [6, 9]
    assert "bad episode 1 is left out: cut short" in caplog.text and "state must be finite" in caplog.text
    with pytest.raises(
        TrajectoryError, match=r"2 of 4 episodes of .* are bad, max_bad_share is 0\.25 .*\n  1: cut short"
    ):
        encode_good_episodes(root, TrajectoryOptions(), encode, max_bad_share=0.25)
    chosen = TrajectoryOptions(episodes=(0, 3))
    assert encode_good_episodes(root, chosen, encode, max_bad_share=0.0).lengths.tolist() == [6, 9]


def test_episodes_are_looked_at_once_as_long_as_the_files_stay(tmp_path, caplog, monkeypatch):
    root, looked = set_with_bad_episodes(tmp_path / "set", 1), []
    find = encoded_data.find_bad_episodes
    monkeypatch.setattr(encoded_data, "find_bad_episodes", lambda dataset: looked.append(0) or find(dataset))
    for count in (1, 1):
        caplog.clear()
        latents = encode_good_episodes(root, TrajectoryOptions(), encode, max_bad_share=0.5)
        assert len(looked) == count and latents.num_episodes == 3 and "bad episode 1 is left out" in caplog.text
    encode_good_episodes(root, TrajectoryOptions(episodes=(0, 2)), encode, max_bad_share=0.0)
    assert len(looked) == 2
    info = root / "meta" / "info.json"
    info.write_text(info.read_text() + " ")
    encode_good_episodes(root, TrajectoryOptions(), encode, max_bad_share=0.5)
    assert len(looked) == 3


def test_an_episode_that_breaks_while_it_is_decoded_is_left_out(tmp_path, caplog):
    root = picture_set(tmp_path / "set", lambda k: b"no picture" if k == 5 else transparent())
    latents = encode_good_episodes(root, TrajectoryOptions(), encode, max_bad_share=0.4)
    assert latents.lengths.tolist() == [4, 5] and "bad episode 1 is left out: cannot read frame 1" in caplog.text


def test_targets_among_actions_are_noticed(tmp_path, caplog):
    generator = np.random.default_rng(0)
    states = np.cumsum(generator.normal(size=(40, 7)), axis=0).astype(np.float32)
    for actions, is_warned in ((np.roll(states, -1, axis=0), True), (np.roll(states, -1, axis=0) - states, False)):
        caplog.clear()
        latents = LatentSet(
            z=np.zeros((40, 1, 1), np.float16),
            states=states,
            actions=actions,
            objects=None,
            firsts=np.array([0]),
            lengths=np.array([40]),
        )
        with caplog.at_level(logging.WARNING):
            warn_of_targets(latents, tmp_path)
        assert ("look like targets" in caplog.text) == is_warned
