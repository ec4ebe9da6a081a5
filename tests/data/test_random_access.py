import shutil
import struct
from pathlib import Path

import av
import numpy as np
import pytest
from small_videos import frame_numbers, write_at

from vjepa_wm.data.media import random_access
from vjepa_wm.data.media.media_files import stated_size
from vjepa_wm.data.media.random_access import read_frames_at, scan_video
from vjepa_wm.data.media.video import VideoError, read_frames, read_last_frame

UNEVEN = np.cumsum([7, 40, 90, 11, 33, 60] * 10)  # [ms]
FORMS = {
    "open_groups.mp4": ("libx264", {"x264-params": "keyint=12:bframes=4:b-pyramid=normal:b-adapt=0:open-gop=1"}),
    "pyramid.mkv": ("libx264", {"x264-params": "keyint=8:bframes=5:b-pyramid=strict:b-adapt=0"}),
    "one_key.mp4": ("libx264", {"x264-params": "keyint=250:bframes=3:b-adapt=0"}),
    "all_keys.mov": ("mjpeg", {}),
    "hidden_frames.webm": ("libvpx-vp9", {"g": "12", "auto-alt-ref": "1", "lag-in-frames": "8"}),
    "open_groups_265.mp4": None,  # lies beside this file, because x265 now and then aborts the process it encodes in
    "mpeg4.mp4": ("mpeg4", {"bf": "2"}),
}


@pytest.mark.parametrize("name", FORMS)
def test_frames_read_anywhere_equal_those_read_from_the_start(tmp_path, name):
    if FORMS[name]:
        codec, options = FORMS[name]
        write_at(tmp_path / name, UNEVEN, codec, **options)
    else:
        shutil.copy(Path(__file__).parents[1] / "support" / name, tmp_path)
    frames, times = read_frames(tmp_path / name)
    scan = scan_video(tmp_path / name)
    assert len(times) == 60 and np.array_equal(scan.times, times)
    assert len(scan.key_times) > 3 or name == "one_key.mp4"
    generator = np.random.default_rng(0)
    for num_wanted in (1, 2, 5, 12):
        for _ in range(4):
            ids = np.sort(generator.choice(60, num_wanted, replace=False))
            assert np.array_equal(read_frames_at(tmp_path / name, times[ids], key_times=scan.key_times), frames[ids])
        assert np.array_equal(read_frames_at(tmp_path / name, times[ids]), frames[ids])


def test_what_lies_between_wanted_frames_is_not_decoded(tmp_path, monkeypatch):
    write_at(tmp_path / "a.mp4", range(0, 2400, 40), **{"x264-params": "keyint=12:scenecut=0:bframes=3:b-adapt=0"})
    scan = scan_video(tmp_path / "a.mp4")
    decoded = []

    def spy(frames, wanted):
        return pick((decoded.append(pair[0]) or pair for pair in frames), wanted)

    pick = random_access._pick
    monkeypatch.setattr(random_access, "_pick", spy)
    read_frames_at(tmp_path / "a.mp4", scan.times[[12, 24, 48]], key_times=scan.key_times)
    assert len(decoded) == 3  # key frames need nothing else
    decoded.clear()
    read_frames_at(tmp_path / "a.mp4", scan.times[[23]], key_times=scan.key_times)
    assert len(decoded) < 9  # of twelve since the key frame, those that no other one needs are left out


def test_a_part_is_scanned_without_the_rest(tmp_path):
    write_at(tmp_path / "a.mp4", range(0, 2400, 40))
    whole = scan_video(tmp_path / "a.mp4")
    for start, end in ((0.0, 0.4), (0.55, 1.2), (1.0, None), (None, 0.1), (2.3, 9.0)):
        part = scan_video(tmp_path / "a.mp4", start, end)
        expected = whole.between(start, end)
        assert np.array_equal(part.times, expected.times)
        last = part.times[-1:]
        frame = read_frames_at(tmp_path / "a.mp4", last, key_times=part.key_times)
        assert frame_numbers(frame) == frame_numbers(read_frames_at(tmp_path / "a.mp4", last))
    assert len(scan_video(tmp_path / "a.mp4", 1.0, 1.2).key_times) < len(whole.key_times)
    with pytest.raises(VideoError, match=r"no frame between 7 s and 8 s"):
        scan_video(tmp_path / "a.mp4", 7, 8)


def test_a_wrong_index_costs_time_only(tmp_path, monkeypatch):
    write_at(tmp_path / "a.mp4", range(0, 1200, 40))
    scan = scan_video(tmp_path / "a.mp4")
    wrong_keys = scan.times[[5, 20]]  # no key frames, so nothing can be decoded from them on
    assert frame_numbers(read_frames_at(tmp_path / "a.mp4", scan.times[[6, 21]], key_times=wrong_keys)) == [6, 21]
    with pytest.raises(VideoError, match=r"the frame at 0\.013 s cannot be decoded in .*a\.mp4"):
        read_frames_at(tmp_path / "a.mp4", np.array([0.0133]))


def test_frames_that_change_their_size_are_refused(tmp_path):
    write_at(tmp_path / "a.mkv", [0, 40], "mjpeg")
    write_at(tmp_path / "b.mkv", [80, 120], "mjpeg", size=(16, 16))
    with av.open(str(tmp_path / "c.mkv"), "w") as target:
        stream = None
        for name in ("a.mkv", "b.mkv"):
            with av.open(str(tmp_path / name)) as source:
                stream = stream or target.add_stream_from_template(source.streams.video[0])
                for packet in (packet for packet in source.demux() if packet.size):
                    packet.stream = stream
                    target.mux(packet)
    times = scan_video(tmp_path / "c.mkv").times
    assert len(times) == 4
    with pytest.raises(VideoError, match=r"frames change their size within .*c\.mkv"):
        read_frames_at(tmp_path / "c.mkv", times)
    with pytest.raises(VideoError, match=r"frames change their size within .*c\.mkv"):
        read_frames(tmp_path / "c.mkv")


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.webm", "a.avi", "a.gif", "a.mov"])
@pytest.mark.parametrize("share", [0.4, 0.7, 0.98])
def test_a_file_that_lost_its_end_is_noticed(tmp_path, name, share):
    form = {
        "a.webm": {"codec": "libvpx-vp9"},
        "a.avi": {"codec": "mpeg4"},
        "a.gif": {"codec": "gif", "pix_fmt": "rgb8"},
    }.get(name, {})
    path = tmp_path / name
    write_at(path, range(0, 1200, 40), **form)
    content = path.read_bytes()
    assert stated_size(path) == len(content)
    assert len(scan_video(path).times) == 30
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(VideoError, match=rf"cut short, \d+ of \d+ bytes are left in .*{name}"):
        scan_video(path)


def test_a_last_frame_that_the_file_has_a_part_of_is_noticed(tmp_path):
    """The index states more bytes of it than are there, behind which nothing says how long the file should be."""
    write_at(tmp_path / "a.mov", range(0, 400, 40), "mpeg4")
    content = (tmp_path / "a.mov").read_bytes()
    with av.open(str(tmp_path / "a.mov")) as source:
        last = [packet for packet in source.demux(source.streams.video[0]) if packet.size][-1]
    sizes = content.index(b"stsz") + 16 + 4 * 9  # of the tenth frame
    assert struct.unpack_from(">I", content, sizes)[0] == last.size
    longer = len(content) - last.pos + 500
    (tmp_path / "a.mov").write_bytes(content[:sizes] + struct.pack(">I", longer) + content[sizes + 4 :])
    for read in (scan_video, read_frames, read_last_frame):
        with pytest.raises(VideoError, match=r"a part of a frame is missing in .*a\.mov"):
            read(tmp_path / "a.mov")


def test_sizes_that_are_not_stated_are_not_missed(tmp_path):
    write_at(tmp_path / "a.mp4", range(0, 400, 40))
    content = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "a.mp4").write_bytes(content + b"anything that another program put here")
    assert stated_size(tmp_path / "a.mp4") == len(content)
    for content in (b"", b"\x1a\x45\xdf\xa3", b"\x1a\x45\xdf\xa3\x00", b"RIFF", b"#EXTM3U", b"\0\0\0\x01moov\0"):
        (tmp_path / "b").write_bytes(content)
        assert (stated_size(tmp_path / "b") or 0) <= len(content)
    with av.open(str(tmp_path / "live.mkv"), "w", options={"live": "1"}) as container:
        stream = container.add_stream("mjpeg", rate=5)
        stream.height, stream.width, stream.pix_fmt = 16, 16, "yuvj420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8))))
        container.mux(stream.encode())
    assert stated_size(tmp_path / "live.mkv") is None and len(scan_video(tmp_path / "live.mkv").times) == 1


def test_avi_files_are_read_in_the_order_of_the_decoder(tmp_path):
    write_at(tmp_path / "a.avi", range(0, 2400, 40), **{"x264-params": "keyint=12:scenecut=0:bframes=3:b-adapt=0"})
    scan = scan_video(tmp_path / "a.avi")
    assert np.abs(scan.times - np.arange(60) * 0.04).max() < 1e-9
    assert frame_numbers(read_frames_at(tmp_path / "a.avi", scan.key_times, key_times=scan.key_times)) == [
        0,
        12,
        24,
        36,
        48,
    ]
    assert frame_numbers(read_last_frame(tmp_path / "a.avi")[None]) == [59]


def test_a_frame_that_avi_lost_is_noticed(tmp_path):
    """What the others are shown as cannot be told any more."""
    write_at(tmp_path / "a.avi", range(0, 2400, 40), **{"x264-params": "keyint=12:scenecut=0:bframes=3:b-adapt=0"})
    content = bytearray((tmp_path / "a.avi").read_bytes())
    places = [k for k in range(len(content)) if content[k : k + 4] == b"00dc"]
    whole = [k for k in places if struct.unpack_from("<I", content, k + 4)[0]]
    size = struct.unpack_from("<I", content, whole[13] + 4)[0]
    content[whole[13] + 8 : whole[13] + 8 + size] = bytes(size)
    (tmp_path / "a.avi").write_bytes(content)
    with pytest.raises(VideoError, match=r"cannot be decoded.* in .*a\.avi|cannot decode .*a\.avi"):
        scan_video(tmp_path / "a.avi")


def test_of_frames_at_one_moment_the_first_is_read_from_everywhere(tmp_path):
    write_at(tmp_path / "a.mkv", [0, 100, 200, 300], "mjpeg")
    with av.open(str(tmp_path / "a.mkv")) as source, av.open(str(tmp_path / "b.mkv"), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for k, packet in enumerate(packet for packet in source.demux() if packet.size):
            packet.pts = packet.dts = (0, 100, 100, 300)[k]
            packet.stream = stream
            target.mux(packet)
    frames, times = read_frames(tmp_path / "b.mkv")
    scan = scan_video(tmp_path / "b.mkv")
    assert frame_numbers(frames) == [0, 1, 3] and np.array_equal(times, scan.times)
    assert np.array_equal(read_frames_at(tmp_path / "b.mkv", times, key_times=scan.key_times), frames)
