"""Small videos whose frames tell which ones they are, for the tests of reading."""

import struct
from fractions import Fraction

import av
import numpy as np

LEVEL = 4  # frame k is a grey picture of brightness 4 k, so that a decoded frame tells which one it is


def grey_frames(num_frames, height=32, width=48):
    levels = np.arange(num_frames, dtype=np.uint8) * LEVEL
    return np.broadcast_to(levels[:, None, None, None], (num_frames, height, width, 3)).copy()


def frame_numbers(frames):
    return np.round(np.asarray(frames).mean(axis=(1, 2, 3)) / LEVEL).astype(int).tolist()


def write_at(path, times_ms, codec="libx264", *, size=(32, 48), pix_fmt="yuv420p", **options):
    """Write grey frames at given times [ms], with B-frames and few key frames unless options say otherwise."""
    with av.open(str(path), "w", options={"movflags": "faststart"} if path.suffix == ".mp4" else {}) as container:
        stream = container.add_stream(codec, rate=30, options={"g": "12", **options})
        stream.height, stream.width, stream.pix_fmt = *size, "yuvj420p" if codec == "mjpeg" else pix_fmt
        stream.codec_context.time_base = Fraction(1, 1000)
        for time, array in zip(times_ms, grey_frames(len(times_ms), *size), strict=True):
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


def turn(path):
    """Note in the header of an mp4 file that it is to be shown a quarter turned clockwise."""
    content = path.read_bytes()
    matrix = content.index(b"tkhd") + 44
    quarter_turn = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    path.write_bytes(content[:matrix] + quarter_turn + content[matrix + len(quarter_turn) :])
