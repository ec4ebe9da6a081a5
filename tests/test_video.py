import struct
from fractions import Fraction

import av
import numpy as np
import pytest
import torch

from vjepa_wm.data.video import VideoError, find_videos, read_frames, read_frames_at, scan_video, write_video
from vjepa_wm.data.video_clips import VideoClips, count_starts, nearest

LEVEL = 4  # frame k is a grey picture of brightness 4 k, so that a decoded frame tells which one it is


def grey_frames(num_frames, height=32, width=48):
    levels = np.arange(num_frames, dtype=np.uint8) * LEVEL
    return np.broadcast_to(levels[:, None, None, None], (num_frames, height, width, 3)).copy()


def frame_numbers(frames):
    return np.round(np.asarray(frames).mean(axis=(1, 2, 3)) / LEVEL).astype(int).tolist()


def write_at(path, times_ms, codec="libx264", **options):
    """Write grey frames at given times [ms], with B-frames and few key frames unless options say otherwise."""
    with av.open(str(path), "w", options={"movflags": "faststart"} if path.suffix == ".mp4" else {}) as container:
        stream = container.add_stream(codec, rate=30, options={"g": "12", **options})
        stream.height, stream.width, stream.pix_fmt = 32, 48, "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for time, array in zip(times_ms, grey_frames(len(times_ms)), strict=True):
            frame = av.VideoFrame.from_ndarray(array, format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def write_sound(path):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        for k in range(8):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.rate, frame.pts = 16000, 1024 * k
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def cut(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def test_find_videos_searches_subfolders_sorted(tmp_path):
    for name in ("b.mp4", "a/c.WEBM", "a/notes.txt", "b.mp4.tmp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert find_videos(tmp_path) == [tmp_path / "a/c.WEBM", tmp_path / "b.mp4"]


def test_find_videos_names_a_missing_and_an_empty_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"does not exist: .*nowhere"):
        find_videos(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"no video \(\.avi, .*\) under"):
        find_videos(tmp_path)


@pytest.mark.parametrize("fps", [5, 30, 30000 / 1001, 12.5])
def test_written_frames_come_back_at_exact_times(tmp_path, fps):
    generator = np.random.default_rng(0)
    frames = generator.integers(0, 256, (7, 4, 6, 3), np.uint8).repeat(16, axis=1).repeat(16, axis=2)
    write_video(tmp_path / "new" / "a.mp4", frames, fps)
    decoded, times = read_frames(tmp_path / "new" / "a.mp4")
    assert np.abs(times - np.arange(7) / fps).max() < 1e-4
    assert decoded.dtype == np.uint8 and decoded.shape == frames.shape
    inner = np.s_[:, 4:12, 4:12]  # colour is stored at half the resolution, so edges between colours blur
    assert np.abs(decoded[inner].astype(int) - frames[inner]).mean() < 4
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.mp4"]


@pytest.mark.parametrize(
    ("frames", "fps", "name", "message"),
    [
        (np.zeros((2, 31, 48, 3), np.uint8), 5, "a.mp4", r"even height and width .* got \(31, 48\)"),
        (np.zeros((2, 32, 48, 3), np.float32), 5, "a.mp4", r"uint8 \(T, H, W, 3\) .* got float32"),
        (np.zeros((0, 32, 48, 3), np.uint8), 5, "a.mp4", "T > 0"),
        (np.zeros((2, 32, 48, 3), np.uint8), 0, "a.mp4", "fps must be positive, got 0"),
        (np.zeros((2, 32, 48, 3), np.uint8), 5, "a.gif", r"must end in \.mp4"),
    ],
)
def test_write_video_refuses(tmp_path, frames, fps, name, message):
    with pytest.raises(ValueError, match=message):
        write_video(tmp_path / name, frames, fps)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.webm", "libvpx-vp9"), ("a.mov", "mjpeg")]
)
def test_read_frames_takes_a_half_open_range_of_real_time(tmp_path, name, codec):
    times = [0, 40, 100, 500, 540, 900, 1000, 1010, 1400, 1500, 1600, 1700, 1800, 1810, 1820, 1900]
    write_at(tmp_path / name, times, codec)
    assert np.abs(read_frames(tmp_path / name)[1] * 1000 - times).max() < 1
    frames, seconds = read_frames(tmp_path / name, 0.54, 1.5)
    assert frame_numbers(frames) == [4, 5, 6, 7, 8]
    assert np.abs(seconds * 1000 - times[4:9]).max() < 1
    scan = scan_video(tmp_path / name)
    assert (scan.height, scan.width) == (32, 48)
    assert np.array_equal(scan.times, read_frames(tmp_path / name)[1])
    assert frame_numbers(read_frames_at(tmp_path / name, scan.times[[2, 11, 14]])) == [2, 11, 14]
    with pytest.raises(VideoError, match=r"no frame between 7 s and 8 s in .*a\."):
        read_frames(tmp_path / name, 7, 8)


def test_image_size_scales_the_short_side(tmp_path):
    frames = np.zeros((2, 32, 64, 3), np.uint8)
    frames[:, :, 32:] = 255
    write_video(tmp_path / "a.mp4", frames, 5)
    small = read_frames(tmp_path / "a.mp4", image_size=16)[0]
    assert small.shape == (2, 16, 32, 3)
    assert small[:, :, :12].max() < 8 and small[:, :, 20:].min() > 247
    scan = scan_video(tmp_path / "a.mp4", image_size=16)
    assert (scan.height, scan.width) == (16, 32)


def test_a_recording_turned_by_its_header_is_turned_upright(tmp_path):
    path = tmp_path / "telephone.mp4"
    frames = np.zeros((2, 32, 64, 3), np.uint8)
    frames[:, :16, :16] = 255  # top left as stored, so top right when shown a quarter turned clockwise
    write_video(path, frames, 5)
    content = path.read_bytes()
    matrix = content.index(b"tkhd") + 44
    quarter_turn = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    path.write_bytes(content[:matrix] + quarter_turn + content[matrix + len(quarter_turn) :])
    shown = read_frames(path)[0]
    assert shown.shape == (2, 64, 32, 3)
    assert shown[:, :12, 20:].min() > 240 and shown[:, 20:].max() < 15
    scan = scan_video(path, image_size=16)
    assert (scan.height, scan.width) == (32, 16)


def test_broken_files_say_what_is_wrong(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"video does not exist: .*gone\.mp4"):
        read_frames(tmp_path / "gone.mp4")
    (tmp_path / "garbage.mp4").write_bytes(np.random.default_rng(0).bytes(2000))
    with pytest.raises(VideoError, match=r"cannot decode .*garbage\.mp4: Invalid data"):
        scan_video(tmp_path / "garbage.mp4")
    write_at(tmp_path / "half.mp4", range(0, 2000, 50))
    cut(tmp_path / "half.mp4", 0.7)
    with pytest.raises(VideoError, match=r"cut short, \d+ of 40 frames are left in .*half\.mp4"):
        scan_video(tmp_path / "half.mp4")
    write_sound(tmp_path / "sound.mp4")
    with pytest.raises(VideoError, match=r"no video stream in .*sound\.mp4"):
        scan_video(tmp_path / "sound.mp4")


def test_time_stamps_that_run_backwards_are_refused(tmp_path):
    write_at(tmp_path / "a.mkv", [0, 100, 200], "mjpeg")
    with av.open(str(tmp_path / "a.mkv")) as source, av.open(str(tmp_path / "b.mkv"), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for dts, packet in enumerate(packet for packet in source.demux() if packet.size):
            packet.pts, packet.dts, packet.stream = {0: 0, 1: 200, 2: 100}[dts], dts, stream
            target.mux(packet)
    with pytest.raises(VideoError, match=r"time stamps run backwards after 0\.200 s in .*b\.mkv"):
        read_frames(tmp_path / "b.mkv")


def test_frames_hidden_by_an_edit_list_stay_hidden(tmp_path):
    write_at(tmp_path / "a.mp4", range(0, 2000, 100))
    with (
        av.open(str(tmp_path / "a.mp4")) as source,
        av.open(str(tmp_path / "b.mp4"), "w", options={"avoid_negative_ts": "disabled"}) as target,
    ):
        stream = target.add_stream_from_template(source.streams.video[0])
        hidden = int(0.5 / source.streams.video[0].time_base)
        for packet in (packet for packet in source.demux() if packet.size):
            packet.pts, packet.dts, packet.stream = packet.pts - hidden, packet.dts - hidden, stream
            target.mux(packet)
    frames, times = read_frames(tmp_path / "b.mp4")
    assert frame_numbers(frames) == list(range(5, 20))
    assert np.array_equal(scan_video(tmp_path / "b.mp4").times, times)


def test_nearest_takes_the_earlier_of_two_equally_near():
    times = np.array([0.0, 1.0, 2.0, 4.0])
    assert nearest(times, np.array([0.0, 0.5, 0.51, 1.5, 2.9, 3.1, 9.0])).tolist() == [0, 0, 1, 1, 2, 3, 3]


def test_count_starts():
    times = np.arange(10) / 5
    assert count_starts(times, 0.0) == 10
    assert count_starts(times, 1.0) == 5  # frames 0 to 4; the clip from frame 4 ends on the last frame
    assert count_starts(times, 1.8) == 1
    assert count_starts(times, 3.6) == 1
    with pytest.raises(VideoError, match=r"too short: 1\.80 s \(10 frames\), while a clip takes 3\.70 s"):
        count_starts(times, 3.7)
    with pytest.raises(VideoError, match="too short"):
        count_starts(times[:1], 1.0)
    assert count_starts(times[:1], 0.0) == 1


def test_clips_follow_real_time_not_the_nominal_rate(tmp_path):
    # One second at 20 frames a second, then one at 5: a clip of 5 a second skips frames first and takes each one later.
    times = [*range(0, 1000, 50), *range(1000, 2001, 200)]
    write_at(tmp_path / "a.mp4", times)
    clips = VideoClips([tmp_path / "a.mp4"], num_frames=6, fps=5)
    assert len(clips) == 21
    assert frame_numbers(clips[0]) == [0, 4, 8, 12, 16, 20]
    assert frame_numbers(clips[10]) == [10, 14, 18, 20, 21, 22]
    assert frame_numbers(clips[20]) == [20, 21, 22, 23, 24, 25]
    slow = VideoClips([tmp_path / "a.mp4"], num_frames=5, fps=10)
    assert frame_numbers(slow[20]) == [20, 20, 21, 21, 22]
    with pytest.raises(IndexError, match="from 0 to 20, got 21"):
        clips[21]


def test_clips_decoded_on_demand_equal_clips_in_memory(tmp_path):
    for name, period in (("a.mp4", 40), ("b.mkv", 70)):
        write_at(tmp_path / name, range(0, 1400, period))
    paths = find_videos(tmp_path)
    kept = VideoClips(paths, num_frames=4, fps=8, image_size=24)
    one_kept = VideoClips(paths, num_frames=4, fps=8, image_size=24, cache_bytes=20 * 24 * 36 * 3)
    none_kept = VideoClips(paths, num_frames=4, fps=8, image_size=24, cache_bytes=0)
    assert [clips.report().count(" 2 in memory") for clips in (kept, one_kept, none_kept)] == [1, 0, 0]
    assert " 1 in memory" in one_kept.report() and " 0 in memory" in none_kept.report()
    for i in range(len(kept)):
        assert kept[i].shape == (4, 24, 36, 3) and kept[i].dtype == torch.uint8
        assert torch.equal(kept[i], none_kept[i]) and torch.equal(kept[i], one_kept[i])


def test_samples_are_the_generators_and_cover_every_start(tmp_path):
    write_at(tmp_path / "a.mp4", range(0, 300, 100))  # 2 starts
    write_at(tmp_path / "b.mp4", range(0, 700, 100))  # 6 starts
    clips = VideoClips(find_videos(tmp_path), num_frames=2, fps=10)
    assert len(clips) == 8
    first, again = (
        [clips.sample(generator) for _ in range(5)]
        for generator in (torch.Generator().manual_seed(3) for _ in range(2))
    )
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    generator = torch.Generator().manual_seed(0)
    starts = [frame_numbers(clips.sample(generator))[0] for _ in range(400)]
    shares = np.bincount(starts, minlength=6) / 400
    assert np.abs(shares - np.array([2, 2, 1, 1, 1, 1]) / 8).max() < 0.08


def test_a_short_video_repeats_its_last_frame(tmp_path):
    write_at(tmp_path / "a.mp4", range(0, 400, 100))
    clips = VideoClips([tmp_path / "a.mp4"], num_frames=7, fps=10)
    assert len(clips) == 1
    assert frame_numbers(clips.sample(torch.Generator())) == [0, 1, 2, 3, 3, 3, 3]


def test_bad_files_are_left_out_counted_and_named(tmp_path, caplog):
    for k in range(3):
        write_at(tmp_path / f"good{k}.mp4", range(0, 1000, 50))
    (tmp_path / "garbage.mp4").write_bytes(b"no video")
    write_at(tmp_path / "short.mp4", range(0, 200, 50))
    clips = VideoClips(find_videos(tmp_path), num_frames=8, fps=10, max_bad_share=0.4)
    assert clips.num_videos == 3
    assert [path.name for path, _ in clips.bad] == ["garbage.mp4", "short.mp4"]
    assert "too short: 0.15 s" in clips.report() and "3 videos" in clips.report()
    assert "left out" in caplog.text and "garbage.mp4" in caplog.text
    with pytest.raises(VideoError, match=r"(?s)2 of 5 videos are bad, max_bad_share is 0\.39.*garbage\.mp4"):
        VideoClips(find_videos(tmp_path), num_frames=8, fps=10, max_bad_share=0.39)
    with pytest.raises(VideoError, match="1 of 1 videos are bad"):
        VideoClips([tmp_path / "garbage.mp4"], num_frames=8, fps=10, max_bad_share=1.0)


def test_a_video_broken_inside_is_found_with_and_without_memory(tmp_path):
    write_at(tmp_path / "good.mp4", range(0, 3000, 50))
    write_at(tmp_path / "inside.mp4", range(0, 3000, 50))
    content = bytearray((tmp_path / "inside.mp4").read_bytes())
    middle = content.index(b"mdat") + (len(content) - content.index(b"mdat")) // 2
    content[middle : middle + 200] = bytes(200)
    (tmp_path / "inside.mp4").write_bytes(content)
    settings = {"num_frames": 8, "fps": 10, "max_bad_share": 0.5}
    assert [path.name for path, _ in VideoClips(find_videos(tmp_path), **settings).bad] == ["inside.mp4"]
    clips = VideoClips(find_videos(tmp_path), **settings, cache_bytes=0)
    assert clips.bad == []  # the scan does not decode
    generator = torch.Generator().manual_seed(0)
    assert all(clips.sample(generator).shape == (8, 32, 48, 3) for _ in range(40))
    assert [path.name for path, _ in clips.bad] == ["inside.mp4"]
    strict = VideoClips(find_videos(tmp_path), **settings | {"max_bad_share": 0.4}, cache_bytes=0)
    with pytest.raises(VideoError, match="1 of 2 videos are bad"):
        for _ in range(40):
            strict.sample(generator)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_frames": 0}, "num_frames must be at least 1, got 0"),
        ({"fps": 0.0}, "fps must be positive"),
        ({"image_size": 0}, "image_size must be at least 1"),
        ({"max_bad_share": 1.5}, "max_bad_share must be from 0 to 1, got 1.5"),
        ({"paths": []}, "paths must name at least one video"),
    ],
)
def test_video_clips_refuses(settings, message):
    with pytest.raises(ValueError, match=message):
        VideoClips(**{"paths": ["a.mp4"], "num_frames": 4, "fps": 5, **settings})
