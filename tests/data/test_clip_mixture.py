import csv
import re
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from small_videos import frame_numbers, grey_frames, write_at
from torch.utils.data import DataLoader, Dataset

from vjepa_wm.data.clips import frame_store
from vjepa_wm.data.clips.bad_files import write_bad_files
from vjepa_wm.data.clips.clip_mixture import ClipMixture
from vjepa_wm.data.clips.clip_sources import ClipSource, find_clip_source
from vjepa_wm.data.clips.clip_times import count_starts, nearest
from vjepa_wm.data.clips.open_mixture import open_mixture
from vjepa_wm.data.media.video import VideoError, write_video


def mixture(*paths, weights=None, **changes):
    settings = {"num_frames": 4, "fps": 10, "seed": 0, "cache_bytes": 0, "num_threads": 2}
    return open_mixture([find_clip_source(path) for path in paths], weights, **settings | changes)


def write_pictures(folder, num_pictures):
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(num_pictures):
        Image.fromarray(np.full((8, 12, 3), 4 * k, np.uint8)).save(folder / f"{k}.png")


@pytest.fixture
def videos(tmp_path):
    """Five videos of ten frames at 10 a second; frame k of video v is 10 v + k, times 4, in brightness."""
    folder = tmp_path / "videos"
    for k in range(5):
        write_video(folder / f"{k}.mp4", grey_frames(50, 16, 16)[10 * k : 10 * k + 10], 10)
    return folder


def test_nearest_takes_the_earlier_of_two_equally_near():
    times = np.array([0.0, 1.0, 2.0, 4.0])
    assert nearest(times, np.array([0.0, 0.5, 0.51, 1.5, 2.9, 3.1, 9.0])).tolist() == [0, 0, 1, 1, 2, 3, 3]


def test_count_starts():
    times = np.arange(10) / 5
    assert count_starts(times, 0.0) == 10
    assert count_starts(times, 1.0) == 5  # frames 0 to 4; the clip from frame 4 ends on the last frame
    assert count_starts(times, 1.8) == 1
    assert count_starts(times, 3.6) == 1
    assert count_starts(times + 0.7, 3.6) == 1
    with pytest.raises(VideoError, match=r"too short: 1\.80 s \(10 frames\), while a clip takes 3\.70 s"):
        count_starts(times, 3.7)
    with pytest.raises(VideoError, match="too short"):
        count_starts(times[:1], 1.0)
    assert count_starts(times[:1], 0.0) == 1


def test_clips_follow_real_time_not_the_nominal_rate(tmp_path):
    # One second at 20 frames a second, then one at 5: a clip of 5 a second skips frames first and takes each one later.
    times = [*range(0, 1000, 50), *range(1000, 2001, 200)]
    write_at(tmp_path / "a.mp4", times)
    expected = {0: [0, 4, 8, 12, 16, 20], 10: [10, 14, 18, 20, 21, 22], 20: [20, 21, 22, 23, 24, 25]}
    clips = mixture(tmp_path, num_frames=6, fps=5)
    drawn = {clip[0]: clip for clip in (frame_numbers(clips.video(number)) for number in range(200))}
    assert sorted(drawn) == list(range(21))
    assert all(drawn[start] == clip for start, clip in expected.items())
    slow = mixture(tmp_path, num_frames=5, fps=10)
    assert [20, 20, 21, 21, 22] in [frame_numbers(slow.video(number)) for number in range(200)]


def test_every_start_of_a_video_is_equally_likely(videos):
    clips = mixture(videos / "0.mp4")
    starts = [frame_numbers(clips.video(number))[0] for number in range(700)]
    assert np.abs(np.bincount(starts) / 700 - 1 / 7).max() < 0.05 and max(starts) == 6


def test_a_short_video_repeats_its_last_frame(videos):
    clips = mixture(videos / "0.mp4", num_frames=14)
    assert frame_numbers(clips.video(0)) == [*range(10), 9, 9, 9, 9]


@pytest.mark.parametrize("changes", [{"cache_bytes": 2**20}, {"cache_bytes": 9000}, {"open_at_start": 0}])
def test_a_sample_depends_on_its_number_only(videos, changes):
    one, other = mixture(videos), mixture(videos, **changes)
    numbers = [*range(25), 10**6, 10**12]
    clips = {number: one.video(number) for number in numbers}
    assert all(torch.equal(other.video(number), clips[number]) for number in reversed(numbers))
    assert all(torch.equal(other.video(number), clips[number]) for number in numbers)
    assert len({tuple(frame_numbers(clip)) for clip in clips.values()}) > 15
    reseeded = mixture(videos, seed=1)
    assert any(not torch.equal(reseeded.video(number), clips[number]) for number in range(5))
    longer = mixture(videos, num_frames=2, fps=5)  # another stage of a run goes on in the same order of videos
    assert [frame_numbers(longer.video(k))[0] // 10 for k in range(10)] == [
        frame_numbers(clips[k])[0] // 10 for k in range(10)
    ]


def test_a_mixture_opens_nothing_until_it_draws(videos):
    (videos / "garbage.mp4").write_bytes(b"no video")
    settings = {"num_frames": 4, "fps": 10, "seed": 0, "max_bad_share": 0.4}
    clips = ClipMixture([find_clip_source(videos)], **settings)
    assert not clips.bad and clips.report() == f"{videos}: 6 videos, 0 pictures"
    opened = open_mixture([find_clip_source(videos)], cache_bytes=2**20, **settings)
    assert len(opened.bad) == 1 and "1 of 6 opened videos are bad" in opened.report()
    assert all(torch.equal(clips.video(number), opened.video(number)) for number in range(12))
    assert clips.bad == opened.bad


class Clips(Dataset):
    def __init__(self, mixture):
        self.mixture = mixture

    def __len__(self):
        return 12

    def __getitem__(self, number):
        return self.mixture.video(number), len(self.mixture.videos.decoded)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize(
    ("method", "share_memory", "num_in_memory"),
    [("fork", False, 5), ("fork", True, 5), ("spawn", False, 0), ("spawn", True, 5)],
)
def test_samples_are_the_same_in_other_processes(videos, method, share_memory, num_in_memory):
    clips = mixture(videos, cache_bytes=2**20, share_memory=share_memory)
    loader = DataLoader(Clips(clips), batch_size=None, num_workers=1, multiprocessing_context=method)
    for number, (clip, num_kept) in enumerate(loader):
        assert torch.equal(clip, clips.video(number)) and num_kept == num_in_memory
    assert number == 11


def test_too_little_shared_memory_is_said_and_not_used(videos, monkeypatch, caplog):
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(frame_store.shutil, "disk_usage", lambda path: usage._replace(free=100))
    clips = mixture(videos, cache_bytes=2**20, share_memory=True)
    assert not clips.videos.decoded._block.is_shared() and "has 100 bytes left, 38400 are needed" in caplog.text
    assert torch.equal(clips.video(3), mixture(videos).video(3))


def test_an_epoch_visits_every_video_once(videos):
    clips = mixture(videos)
    epochs = [[frame_numbers(clips.video(5 * epoch + k))[0] // 10 for k in range(5)] for epoch in range(4)]
    assert all(sorted(epoch) == list(range(5)) for epoch in epochs) and len({tuple(epoch) for epoch in epochs}) > 1


def test_sources_take_turns_by_weight_and_pictures_among_those_that_have_any(tmp_path, videos):
    write_pictures(tmp_path / "bright", 4)
    write_pictures(tmp_path / "mixed", 8)
    shutil.copy(videos / "4.mp4", tmp_path / "mixed/x.mp4")
    paths = (videos, tmp_path / "bright", tmp_path / "mixed")
    clips = mixture(*paths, weights=(3, 1, 1))
    counts = np.bincount([clips._video_order[number][0] for number in range(10_000)])
    assert counts.tolist() == [7500, 2500]
    counts = np.bincount([clips._picture_order[number][0] for number in range(10_000)])
    assert counts.tolist() == [5000, 5000]
    by_size = mixture(*paths)
    counts = np.bincount([by_size._video_order[number][0] for number in range(10_000)])
    assert counts.tolist() == [8333, 1667]
    pictures = [by_size.picture(number) for number in range(12)]
    assert all(picture.shape == (1, 8, 12, 3) and picture.dtype == torch.uint8 for picture in pictures)
    assert torch.equal(by_size.picture(3), mixture(*paths).picture(3))


def test_without_pictures_a_frame_of_a_video_is_one(videos):
    clips = mixture(videos)
    frames = [frame_numbers(clips.picture(number))[0] for number in range(500)]
    assert clips.picture(0).shape == (1, 16, 16, 3)
    assert [frame // 10 for frame in frames[:40]] == [frame_numbers(clips.video(k))[0] // 10 for k in range(40)]
    assert len(set(frames)) == 50
    assert frame_numbers(mixture(videos, cache_bytes=2**20).picture(7)) == [frames[7]]


def test_without_videos_there_are_no_clips(tmp_path):
    write_pictures(tmp_path / "pictures", 3)
    clips = mixture(tmp_path / "pictures")
    assert sorted(frame_numbers(clips.picture(number))[0] for number in range(3)) == [0, 1, 2]
    nothing = ClipMixture([ClipSource(name="empty", videos=(), pictures=(), files="")], num_frames=4, fps=10, seed=0)
    with pytest.raises(ValueError, match="sources hold nothing to draw pictures from: empty"):
        nothing.picture(0)
    with pytest.raises(ValueError, match=r"sources hold no video to draw clips from: .*pictures"):
        clips.video(0)
    with pytest.raises(ValueError, match="number must be at least 0, got -1"):
        clips.picture(-1)


def test_bad_files_are_replaced_named_and_reported(videos, tmp_path, caplog):
    (videos / "garbage.mp4").write_bytes(b"no video")
    write_video(videos / "short.mp4", grey_frames(1, 16, 16), 10)
    write_pictures(videos, 2)
    (videos / "broken.png").write_bytes(b"no picture")
    clips = mixture(videos, max_bad_share=0.4)
    assert [path.name for path in clips.bad] == ["garbage.mp4", "short.mp4"]
    assert not caplog.text  # the report names them
    assert sorted(frame_numbers(clips.video(number))[0] // 10 for number in range(7))[0] == 0
    for number in range(3):
        assert clips.picture(number).shape == (1, 8, 12, 3)
    assert [path.name for path in clips.bad] == ["garbage.mp4", "short.mp4", "broken.png"]
    assert "bad file: " in caplog.text and "broken.png" in caplog.text and "garbage" not in caplog.text
    lines = clips.report().splitlines()
    assert lines[0] == f"{videos}: 7 videos, 3 pictures"
    assert lines[1] == "0.00 h of video; 0 videos in memory, 0.00 GiB"
    assert lines[2:4] == ["2 of 7 opened videos are bad", "1 of 3 opened pictures are bad"]
    assert re.fullmatch(r"bad: .*short\.mp4: too short: 0\.00 s \(1 frames\), while a clip takes 0\.30 s", lines[5])
    write_bad_files(clips.bad, tmp_path / "bad.csv")
    with open(tmp_path / "bad.csv", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["path", "reason"] and [row[0] for row in rows[1:]] == [str(path) for path in clips.bad]


def test_too_many_bad_files_stop_the_run(videos):
    (videos / "garbage.mp4").write_bytes(b"no video")
    (videos / "gone.mp4").symlink_to(videos / "nowhere.mp4")
    with pytest.raises(VideoError, match=r"(?s)2 of 7 videos are bad, max_bad_share is 0\.2; .*garbage\.mp4: .*gone"):
        mixture(videos, max_bad_share=0.2)
    lazy = mixture(videos, max_bad_share=0.2, open_at_start=0)
    with pytest.raises(VideoError, match="2 of 7 videos are bad"):
        for number in range(20):
            lazy.video(number)
    with pytest.raises(VideoError, match="1 of 1 videos are bad, and no other is left of their source"):
        mixture(videos / "garbage.mp4", max_bad_share=1.0)
    with pytest.raises(VideoError, match=r"1 of 1 videos are bad, and no other is left"):
        mixture(videos / "garbage.mp4", max_bad_share=1.0, open_at_start=0).video(0)


def test_few_opened_files_are_no_reason_to_stop(tmp_path, videos):
    lines = [str(videos / "0.mp4")] * 150 + [f"gone{k}.mp4" for k in range(20)]
    (tmp_path / "list.txt").write_text("\n".join(lines))
    clips = mixture(tmp_path / "list.txt", max_bad_share=0.02, open_at_start=0)
    number = 0
    with pytest.raises(VideoError, match=r"\d+ of 1\d\d videos are bad, max_bad_share is 0\.02"):
        while True:
            clips.video(number)
            number += 1
    assert number >= 90 and "video does not exist" in next(iter(clips.bad.values()))


def break_inside(path):
    content = bytearray(path.read_bytes())
    middle = content.index(b"mdat") + (len(content) - content.index(b"mdat")) // 2
    content[middle : middle + 200] = bytes(200)
    path.write_bytes(content)


def test_a_video_broken_inside_is_named_and_read_where_it_can_be(tmp_path):
    for name in ("good.mp4", "inside.mp4"):
        write_at(tmp_path / name, range(0, 3000, 50))
    break_inside(tmp_path / "inside.mp4")
    settings = {"num_frames": 8, "max_bad_share": 0.5}
    kept, lazy = mixture(tmp_path, cache_bytes=2**30, **settings), mixture(tmp_path, **settings)
    assert " 1 videos in memory" in kept.report()
    assert kept.bad == lazy.bad == {}  # the clips that are drawn decide, however much fits into memory
    for number in range(40):
        assert torch.equal(kept.video(number), lazy.video(number))
    for clips in (kept, lazy):
        assert [path.name for path in clips.bad] == ["inside.mp4"]
    strict = mixture(tmp_path, cache_bytes=2**30, num_frames=8, max_bad_share=0.4)
    with pytest.raises(VideoError, match="1 of 2 videos are bad"):
        for number in range(40):
            strict.video(number)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_frames": 0}, "num_frames must be at least 1, got 0"),
        ({"fps": 0.0}, "fps must be positive and finite, got 0"),
        ({"max_bad_share": 1.5}, "max_bad_share must be from 0 to 1, got 1.5"),
        ({"weights": (1, 2)}, r"weights must be one for each of 1 sources, got \[1, 2\]"),
        ({"weights": (-1,)}, r"must be positive numbers, at least one, got \[-1\]"),
    ],
)
def test_wrong_settings_are_refused(videos, changes, message):
    with pytest.raises(ValueError, match=message):
        mixture(videos, **changes)
    with pytest.raises(ValueError, match="sources must name at least one source, got none"):
        mixture()
