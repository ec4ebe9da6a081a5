import av
import numpy as np
import pytest
from small_videos import frame_numbers, turn, write_at, write_sound

from vjepa_wm.data.media.random_access import read_frames_at, scan_video
from vjepa_wm.data.media.video import VideoError, read_frames, read_last_frame, write_video


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


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.webm", "libvpx-vp9"), ("a.mov", "mjpeg")]
)
def test_the_last_frame_is_the_last_that_all_frames_have(tmp_path, name, codec):
    write_at(tmp_path / name, range(0, 1600, 100), codec)
    assert frame_numbers(read_last_frame(tmp_path / name)[None]) == [15]
    np.testing.assert_array_equal(read_last_frame(tmp_path / name), read_frames(tmp_path / name)[0][-1])


def test_the_last_frame_is_found_however_far_key_frames_are_apart(tmp_path):
    frames = np.repeat(np.arange(0, 240, 24, dtype=np.uint8), 32 * 48 * 3).reshape(10, 32, 48, 3)
    for gop in (1, 4, 100):
        write_video(tmp_path / "a.mp4", frames, 5, gop=gop)
        assert np.abs(read_last_frame(tmp_path / "a.mp4").astype(int) - 216).max() < 4
    (tmp_path / "a.mp4").write_bytes(b"no video")
    with pytest.raises(VideoError, match=r"cannot decode .*a\.mp4"):
        read_last_frame(tmp_path / "a.mp4")


def test_a_recording_turned_by_its_header_is_turned_upright(tmp_path):
    path = tmp_path / "telephone.mp4"
    frames = np.zeros((2, 32, 64, 3), np.uint8)
    frames[:, :16, :16] = 255  # top left as stored, so top right when shown a quarter turned clockwise
    write_video(path, frames, 5)
    turn(path)
    shown = read_frames(path)[0]
    assert shown.shape == (2, 64, 32, 3)
    assert shown[:, :12, 20:].min() > 240 and shown[:, 20:].max() < 15
    scan = scan_video(path)
    assert (scan.height, scan.width) == (64, 32)


def test_broken_files_say_what_is_wrong(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"video does not exist: .*gone\.mp4"):
        read_frames(tmp_path / "gone.mp4")
    (tmp_path / "garbage.mp4").write_bytes(np.random.default_rng(0).bytes(2000))
    with pytest.raises(VideoError, match=r"cannot decode .*garbage\.mp4: Invalid data"):
        scan_video(tmp_path / "garbage.mp4")
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(VideoError, match=r"empty file: .*empty\.mp4"):
        scan_video(tmp_path / "empty.mp4")
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
