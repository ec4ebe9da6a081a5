"""Video files as they come: good, odd but usable, and bad in every way met so far; all of them tiny.

`make_videos` writes some of each kind and says what is to be reported of the bad ones.
"""

from itertools import cycle, islice

import numpy as np
from odd_videos import OPEN_GROUPS, begun_late
from PIL import Image
from small_videos import turn, write_at, write_sound

CUT = r"cut short, \d+ of \d+ (bytes|frames) are left"
SHORT = r"too short: \d\.\d\d s"
UNREADABLE = r"cannot decode .*: (Invalid data|End of file)|no video stream|cut short"


def steady(num_frames, fps):
    """Return times of frames at a steady rate [ms]."""
    return [round(1000 * k / fps) for k in range(num_frames)]


def uneven(num_frames, generator):
    """Return times of frames 5 to 90 ms apart [ms]."""
    return np.cumsum(generator.integers(5, 90, num_frames)).tolist()


def make_bad(kind, path, generator):
    """Write a bad file of a kind; the path has no suffix yet. Returns the file and what is said about it."""
    name, _, share = kind.partition(" ")
    content = b"not a video at all, whatever it is called\n" * 20
    if name.startswith("cut"):
        path = path.with_suffix(name.removeprefix("cut"))
        _write_like(path, generator)
        content = path.read_bytes()
        path.write_bytes(content[: int(float(share) * len(content))])
        return path, CUT
    path = path.with_suffix(".mp4")
    if name == "frames":
        write_at(path, steady(int(share), 30))
        return path, SHORT
    if name == "picture":
        Image.new("RGB", (48, 32), "red").save(path.with_suffix(".png"))
        return path.with_suffix(".png").rename(path), "it is in no format that is read"
    if name == "sound":
        write_sound(path)
        return path, "no video stream"
    if name == "avi":
        made = begun_late(f"{path.stem}.avi", **OPEN_GROUPS)(path.parent)
        return made, "frames cannot be decoded, so nothing says when others are shown"
    if name == "codec":
        write_at(path, steady(30, 30))
        path.write_bytes(path.read_bytes().replace(b"avc1", b"xyz1"))
        return path, "no decoder for the video"
    if name == "header":
        write_at(path, steady(30, 30))
        content = path.read_bytes()[: int(share)]
    elif name == "random":
        path = path.with_suffix(share)
        content = generator.bytes(int(generator.integers(1, 5000)))
    elif name == "empty":
        content = b""
    path.write_bytes(content)
    return path, "empty file" if name == "empty" else UNREADABLE


def _write_like(path, generator):
    """Write a whole video in the way its suffix calls for."""
    codec = {".webm": "libvpx-vp9", ".avi": "mpeg4", ".gif": "gif"}.get(path.suffix, "libx264")
    length = int(generator.integers(30, 45))
    write_at(path, steady(length, 25), codec, pix_fmt="rgb8" if codec == "gif" else "yuv420p")


# Suffix, codec and options of usable files that are odd in the way they are encoded.
ODD_FORMS = {
    "odd size": (".webm", {"codec": "libvpx-vp9", "size": (33, 47)}),
    "one key": (".mp4", {"x264-params": "keyint=250:bframes=3:b-adapt=0"}),
    "all keys": (".avi", {"codec": "mjpeg"}),
}


def make_good(kind, path, generator):
    """Write a usable file of a kind and return its path; the given one has no suffix yet."""
    if kind.startswith("."):
        _write_like(path.with_suffix(kind), generator)
        return path.with_suffix(kind)
    length = int(generator.integers(30, 45))
    suffix, form = ODD_FORMS.get(kind, (".mp4", {}))
    path = path.with_suffix(suffix)
    times = {"slow": steady(3, 1), "short": steady(12, 20), "uneven": uneven(length, generator)}
    write_at(path, times.get(kind, steady(length, 30)), **form)
    if kind == "turned":
        turn(path)
    elif kind == "odd title":  # in another encoding than it should be
        path.write_bytes(path.read_bytes().replace(b"VideoHandler", "Hände hoch 3".encode("latin-1")))
    elif kind == "called avi":
        return path.rename(path.with_suffix(".avi"))
    return path


BAD_KINDS = (
    *(f"cut{suffix} {share}" for suffix in (".mp4", ".webm", ".mkv", ".avi", ".gif") for share in (0.3, 0.6, 0.95)),
    *("empty", "text", "header 24", "header 48", "random .mp4", "random .webm", "random .avi", "random .mkv"),
    *("sound", "frames 1", "frames 5", "picture", "avi", "codec"),
)
GOOD_KINDS = (
    *(".mp4", ".mkv", ".mov", ".webm", ".avi", ".gif", "slow", "turned", "odd size", "uneven", "one key", "all keys"),
    *("called avi", "short", "odd title"),
)


def make_videos(folder, num_bad, num_good, seed=0):
    """Write files of all kinds in turn.

    The bad ones are so for clips of about a second.

    Returns:
        What is said about each bad one (a pattern), by path; and the paths of the good ones.
    """
    generator = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    bad = [
        make_bad(kind, folder / f"{k:03d} {kind.replace('.', '_')}", generator)
        for k, kind in enumerate(islice(cycle(BAD_KINDS), num_bad))
    ]
    good = [
        make_good(kind, folder / f"{k:03d} good {kind.replace('.', '_')}", generator)
        for k, kind in enumerate(islice(cycle(GOOD_KINDS), num_good))
    ]
    return dict(bad), good
