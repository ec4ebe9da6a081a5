"""What other people's files must become. A case is one line: what it is, how it is made, what must happen.

Makers take a folder and return a path; they stand in `tests/support/odd_*.py`. What must happen is a number of frames,
the numbers of frames, a check of what was read, or an error with words of its message.
"""

import struct

import numpy as np
import odd_lists
import odd_pictures
import odd_videos
import pytest
from odd_pictures import bytes_called, cut, phone
from odd_videos import CLOSED_GROUPS, OPEN_GROUPS, begun_late, named, stored, trimmed
from read_every_way import read_every_way, verdicts
from small_videos import frame_numbers

from vjepa_wm.data.clips.clip_sources import find_media
from vjepa_wm.data.media.pictures import PictureError, read_picture
from vjepa_wm.data.media.video import VideoError

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
HTML = b"<!DOCTYPE html><html><body>404</body></html>"


def upright(picture):
    """Check that the white corner is at the top left."""
    assert picture.shape == (32, 64, 3) and picture.dtype == np.uint8
    assert picture[2:14, 2:30].min() > 200 and picture[18:].max() < 60 and picture[:, 34:].max() < 60


def on_white(picture):
    assert picture.shape == (32, 64, 3) and picture.min() == 255


def red(picture):
    assert picture.reshape(-1, 3).tolist() == [[255, 0, 0]] * (picture.size // 3)


def refused(error, words):
    return error, words


PICTURES = {
    **{f"a telephone's, orientation {k}": (phone(k), upright) for k in range(1, 9)},
    **{f"orientation {k} beside a wrong tag": (phone(k, (0x128, 1, 1, 2)), upright) for k in range(2, 9)},
    "an orientation that is none": (phone(77), upright),
    "a tag of a type that is none": (phone(6, (0x128, 99, 1, 2)), upright),
    "a tag that lies outside": (phone(6, (0x10F, 2, 100, 9000)), upright),
    "a rational of zero bytes": (phone(3, (0x11A, 5, 0, 0)), upright),
    "EXIF of nothing": (odd_pictures.exif_of(b""), upright),
    "EXIF of noise": (odd_pictures.exif_of(bytes(range(256))), upright),
    "EXIF without end": (odd_pictures.exif_of(b"II*\0" + struct.pack("<IH", 8, 60000)), upright),
    "png with an orientation": (phone(6, name="phone.png"), upright),
    "webp with a wrong tag": (phone(6, (0x128, 1, 1, 2), name="phone.webp"), upright),
    "transparent": (odd_pictures.transparent, on_white),
    "20,000 x 1": (odd_pictures.strip(20_000, 1), red),
    "16 bits": (odd_pictures.scan("deep.png", np.uint16), refused(PictureError, "8 bits per colour.*deep.png")),
    "floats": (odd_pictures.scan("float.tiff", np.float32), refused(PictureError, "8 bits per colour.*float.tiff")),
    "a program for printers": (
        odd_pictures.drawn_by_a_program,
        refused(PictureError, "a.jpg as a picture: it is in no f"),
    ),
    "a name that no disk takes": (lambda folder: folder / f"{'x' * 300}.png", refused(FileNotFoundError, "not exist")),
    "empty": (bytes_called("e.png", b""), refused(PictureError, "e.png as a picture: it is in no format")),
    "a git-lfs pointer": (bytes_called("p.png", LFS), refused(PictureError, "p.png.*git lfs pull")),
    "a web page": (bytes_called("p.jpg", HTML), refused(PictureError, "p.jpg.*web page")),
    "a third of a png": (cut("third.png", 0.3), refused(PictureError, "cannot read .*third.png as a picture")),
    "a third of a jpeg": (cut("third.jpg", 0.3), refused(PictureError, "cannot read .*third.jpg as a picture")),
    "a third of a webp": (cut("third.webp", 0.3), refused(PictureError, "cannot read .*third.webp as a picture")),
}


@pytest.mark.filterwarnings("ignore:Corrupt EXIF", "ignore:Tag data larger")  # Pillow notices, and reads on
@pytest.mark.parametrize("name", PICTURES)
def test_picture(tmp_path, name):
    make, must = PICTURES[name]
    path = make(tmp_path)
    if callable(must):
        must(read_picture(path))
    else:
        with pytest.raises(must[0], match=must[1]):
            read_picture(path)


VIDEOS = {
    "MPEG-4 with packed B-frames": (stored("packed_b_frames.avi"), 48),
    "MPEG-4 with B-frames in avi": (named("b.avi", "mpeg4", bf="2"), 40),
    "H.264 with B-frames in avi": (named("b.avi", **CLOSED_GROUPS), range(40)),
    "H.264 in avi, key frames with frames before them": (named("b.avi", **OPEN_GROUPS), range(40)),
    "H.264 in avi, one key frame": (named("b.avi", **{"x264-params": "keyint=250:bframes=3"}), range(40)),
    "H.264 in avi, none out of order": (named("a.avi", bf="0"), range(40)),
    "H.264 in avi, begun between key frames": (begun_late("late.avi"), range(12, 40)),
    "H.264 in avi, begun with frames before the first": (
        begun_late("late.avi", **OPEN_GROUPS),
        refused(VideoError, r"3 frames cannot be decoded, so nothing says when others are shown in .*late\.avi"),
    ),
    "raw with a palette": (stored("palette.avi"), 20),
    "raw gray": (odd_videos.uncompressed("gray.avi", "gray"), range(20)),
    "raw gray in mov": (odd_videos.uncompressed("gray.mov", "gray"), range(20)),
    "trimmed at the end": (trimmed(2000), range(20)),
    "trimmed at the start": (trimmed(4000, start_ms=700), range(7, 40)),
    "trimmed at both ends": (trimmed(1000, start_ms=1500), range(15, 25)),
    "begun between key frames": (begun_late("late.mkv"), range(12, 40)),
    "begun between key frames, mp4": (begun_late("late.mp4"), range(12, 40)),
    "the default track of two": (odd_videos.two_tracks, range(10)),
    ".m4v": (named("a.m4v"), range(40)),
    ".flv": (named("a.flv"), range(40)),
    ".wmv": (named("a.wmv", "wmv2"), 40),
    "a name that no disk takes": (lambda folder: folder / f"{'x' * 300}.mp4", refused(FileNotFoundError, "not exist")),
    "a list of other files": (odd_videos.list_of_files, refused(VideoError, r"cannot decode .*list\.mp4")),
    "a picture": (odd_videos.picture_called_video, refused(VideoError, r"cannot decode .*red\.mp4")),
    "a git-lfs pointer": (bytes_called("p.mp4", LFS), refused(VideoError, r"p\.mp4.*git lfs pull")),
    "a web page": (bytes_called("p.webm", HTML), refused(VideoError, r"p\.webm.*web page")),
}


@pytest.mark.parametrize("name", VIDEOS)
def test_video(tmp_path, name):
    make, must = VIDEOS[name]
    path = make(tmp_path)
    if isinstance(must, tuple):
        with pytest.raises(must[0], match=must[1]):
            read_every_way(path)
    elif isinstance(must, int):
        frames = read_every_way(path)
        assert len(frames) == must and frames[1:].any(axis=(1, 2, 3)).all()  # none black but maybe the first
    else:
        assert frame_numbers(read_every_way(path)) == list(must)


MATRICES = {
    "upright": ((1, 0, 0, 1), lambda shown: shown),
    "mirrored left to right": ((-1, 0, 0, 1), lambda shown: shown[:, ::-1]),
    "mirrored top to bottom": ((1, 0, 0, -1), lambda shown: shown[::-1]),
    "turned by half": ((-1, 0, 0, -1), lambda shown: shown[::-1, ::-1]),
    "turned clockwise": ((0, 1, -1, 0), lambda shown: np.rot90(shown, -1)),
    "turned counter-clockwise": ((0, -1, 1, 0), lambda shown: np.rot90(shown)),
    "transposed": ((0, 1, 1, 0), lambda shown: shown.swapaxes(0, 1)),
    "transposed along the other diagonal": ((0, -1, -1, 0), lambda shown: np.rot90(shown, 2).swapaxes(0, 1)),
    "zeros": ((0, 0, 0, 0), lambda shown: shown),
}


@pytest.mark.parametrize("name", MATRICES)
def test_display_matrix(tmp_path, name):
    matrix, turn = MATRICES[name]
    as_stored = np.zeros((32, 64), bool)
    as_stored[:16, :32] = True
    shown = read_every_way(odd_videos.corner(matrix)(tmp_path))[0]
    np.testing.assert_array_equal(shown[..., 0] > 128, turn(as_stored))


def test_the_verdict_on_a_video_does_not_depend_on_memory(tmp_path):
    path = odd_videos.undecodable_middle(tmp_path)
    verdicts_by_clips = [verdicts(path, num_clips) for num_clips in (0, 1, 4, 60)]
    assert all(without == with_memory for without, with_memory in verdicts_by_clips)
    assert verdicts_by_clips[0] == [None, None] and "1 of 1 videos are bad" in verdicts_by_clips[-1][0]


LISTS = {
    "UTF-16": (odd_lists.text("list.csv", "a.mp4,1\nb.mp4,2\n", "utf-16"), ["a.mp4", "b.mp4"]),
    "UTF-16 of spreadsheets": (odd_lists.text("list.txt", "a.mp4\t1\r\nb.mp4\t2\r\n", "utf-16"), ["a.mp4", "b.mp4"]),
    "a name with a hash": (odd_lists.text("list.txt", "#hash.mp4\n# a comment\n#gone.mp4\n"), ["#hash.mp4"]),
    "an index in front": (odd_lists.text("list.csv", ",path,label\n0,a.mp4,3\n1,b.mp4,4\n"), ["a.mp4", "b.mp4"]),
    "a quoted index": (odd_lists.text("list.csv", '"0","a.mp4"\n"1","b.mp4"\n'), ["a.mp4", "b.mp4"]),
    "names like an index": (odd_lists.text("list.csv", "7,x.mp4\n8,y.mp4\n"), ["7,x.mp4", "8,y.mp4"]),
    "a folder with a loop": (odd_lists.loop, ["a.mp4"]),
    "a folder with .m4v": (odd_lists.names("x.m4v", "y.mp4"), ["x.m4v", "y.mp4"]),
    "a pipe": (odd_lists.pipe("list.csv"), refused(ValueError, r"neither: .*list\.csv")),
}


@pytest.mark.parametrize("name", LISTS)
def test_list_or_folder(tmp_path, name):
    make, must = LISTS[name]
    path = make(tmp_path)
    if isinstance(must, list):
        assert list(find_media(path)[1]) == must
    else:
        with pytest.raises(must[0], match=must[1]):
            find_media(path)


def test_a_folder_says_what_it_leaves_out(tmp_path, caplog):
    odd_lists.names("x.tiff", "y.TIFF", "z.svg", "a.mp4", "notes.md")(tmp_path)
    assert list(find_media(tmp_path)[1]) == ["a.mp4"]
    assert "left out of" in caplog.text and "2 .tiff, 1 .svg" in caplog.text and ".md" not in caplog.text
