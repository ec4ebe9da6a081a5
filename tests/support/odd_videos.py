"""Videos as phones, editors and old recorders leave them; every frame is grey and tells its number.

Each function writes one into a folder and returns its path.
"""

import shutil
import struct
from pathlib import Path

import av
import numpy as np
from PIL import Image
from small_videos import grey_frames, write_at

from vjepa_wm.data.media.video import write_video

HERE = Path(__file__).parent
IDENTITY, TURNED = (1, 0, 0, 1), (0, 1, -1, 0)
CLOSED_GROUPS = {"x264-params": "keyint=12:min-keyint=12:scenecut=0:bframes=2:b-adapt=0:open-gop=0"}
OPEN_GROUPS = {"x264-params": "keyint=12:min-keyint=12:scenecut=0:bframes=3:b-adapt=0:open-gop=1:b-pyramid=normal"}


def stored(name):
    """Copy a file that lies beside this one, because nothing here can write its like."""
    return lambda folder: Path(shutil.copy(HERE / name, folder))


def named(name, codec="libx264", **form):
    """Write 40 frames at 10 per second in the container that a name asks for."""

    def make(folder):
        write_at(folder / name, range(0, 4000, 100), codec, **form)
        return folder / name

    return make


def uncompressed(name, pix_fmt):
    """Write 20 frames of raw pictures, whose palette, if they have one, stands at the beginning of the file."""

    def make(folder):
        with av.open(str(folder / name), "w") as container:
            stream = container.add_stream("rawvideo", rate=10)
            stream.height, stream.width, stream.pix_fmt = 32, 48, pix_fmt
            for k, array in enumerate(grey_frames(20)):
                frame = av.VideoFrame.from_ndarray(array, format="rgb24").reformat(format=pix_fmt)
                frame.pts = k
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return folder / name

    return make


def trimmed(duration_ms, start_ms=0):
    """Trim a video without encoding it anew: its edit list says what of it is shown [ms]."""

    def make(folder):
        path = named("trimmed.mp4", **CLOSED_GROUPS)(folder)
        content = bytearray(path.read_bytes())
        entry = content.index(b"elst") + 12  # behind name, version and number of entries
        _, media_time = struct.unpack_from(">Ii", content, entry)
        scale = struct.unpack_from(">I", content, content.index(b"mdhd") + 16)[0]
        struct.pack_into(">Ii", content, entry, duration_ms, media_time + start_ms * scale // 1000)
        path.write_bytes(content)
        return path

    return make


def corner(matrix):
    """Write a picture whose top left quarter is white, with a display matrix a, b, c, d."""

    def make(folder):
        frames = np.zeros((2, 32, 64, 3), np.uint8)
        frames[:, :16, :32] = 255
        write_video(folder / "corner.mp4", frames, 5)
        content = bytearray((folder / "corner.mp4").read_bytes())
        a, b, c, d = (value << 16 for value in matrix)
        struct.pack_into(">9i", content, content.index(b"tkhd") + 44, a, b, 0, c, d, 0, 0, 0, 1 << 30)
        (folder / "corner.mp4").write_bytes(content)
        return folder / "corner.mp4"

    return make


def begun_late(name, codec="libx264", **options):
    """Write 40 frames and leave out the first packets, so that the recording begins between key frames."""

    def make(folder):
        whole = named(f"whole_{name}", codec, **(options or CLOSED_GROUPS))(folder)
        with av.open(str(whole)) as source, av.open(str(folder / name), "w") as target:
            stream = target.add_stream_from_template(source.streams.video[0])
            packets = [packet for packet in source.demux(source.streams.video[0]) if packet.size]
            for packet in packets[5:]:
                packet.stream = stream
                target.mux(packet)
        whole.unlink()
        return folder / name

    return make


def two_tracks(folder):
    """Write a black track and a grey one, which the file calls the default."""
    with av.open(str(folder / "two.mkv"), "w") as container:
        streams = [container.add_stream("mjpeg", rate=10) for _ in range(2)]
        for stream in streams:
            stream.height, stream.width, stream.pix_fmt = 32, 48, "yuvj420p"
        streams[0].disposition, streams[1].disposition = av.stream.Disposition(0), av.stream.Disposition.default
        for k, array in enumerate(grey_frames(10)):
            for stream, picture in zip(streams, (np.zeros_like(array), array), strict=True):
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                frame.pts = k
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode())
    return folder / "two.mkv"


def list_of_files(folder):
    """Write a text that names another file for the video library to open, under a video's name."""
    named("other.mp4")(folder)
    (folder / "list.mp4").write_text("ffconcat version 1.0\nfile other.mp4\n")
    return folder / "list.mp4"


def picture_called_video(folder):
    Image.new("RGB", (48, 32), "red").save(folder / "red.png")
    return (folder / "red.png").rename(folder / "red.mp4")


def undecodable_middle(folder):
    """Write a video whose index lists frames that the decoder cannot make out."""
    path = named("middle.avi", "mjpeg")(folder)
    content = bytearray(path.read_bytes())
    places = [k for k in range(len(content)) if content[k : k + 4] == b"00dc"]
    frames = [k for k in places if struct.unpack_from("<I", content, k + 4)[0] > 200]  # others are pauses
    for place in frames[20:24]:
        size = struct.unpack_from("<I", content, place + 4)[0]
        content[place + 8 : place + 8 + size] = bytes(size)
    path.write_bytes(content)
    return path
