"""Frames per second of reading clips, against seeking to every frame, side by side in one run.

    python benchmarks/bench_reader.py [--rounds 5] [--videos 4] [--clips 12] [--workers 2]

Videos of 10 s at 30 frames a second, 256 px, H.264 as x264 makes it unless told otherwise, with a key frame every 2,
12 and 250 frames; clips of 16 frames at 4 a second. "seek" opens a file and for each wanted frame goes to the key frame
before it and decodes up to it, as frame-indexed readers do; "read" is `read_frames_at` for the same frames (checked to
be equal), "mixture" is `ClipMixture` in one process with every file known from the start, "unopened" with every file
opened when it is drawn, "workers" is the first of them in processes of a DataLoader. All take turns and the best round
of each counts. One thread per process.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from vjepa_wm.data.clips.clip_mixture import ClipMixture
from vjepa_wm.data.clips.clip_sources import find_clip_source
from vjepa_wm.data.clips.clip_times import nearest
from vjepa_wm.data.clips.open_mixture import open_mixture
from vjepa_wm.data.media.random_access import VideoScan, read_frames_at, scan_video
from vjepa_wm.data.media.rgb_frames import rgb_converter

SIZE, VIDEO_FRAMES, VIDEO_FPS = 256, 300, 30
NUM_FRAMES, FPS = 16, 4.0


def moving_frames(seed: int) -> Iterator[np.ndarray]:
    """Yield frames of a window that wanders over a texture, with an object crossing it and grain."""
    generator = np.random.default_rng(seed)
    texture = generator.integers(0, 256, (64, 64, 3), np.uint8).repeat(8, 0).repeat(8, 1).astype(np.int16)
    texture = (texture + np.roll(texture, 3, 0) + np.roll(texture, 5, 1)) // 3
    grain = generator.normal(0, 4, (2 * SIZE, 2 * SIZE, 3)).astype(np.int16)
    for k in range(VIDEO_FRAMES):
        top, left = int(100 + 90 * np.sin(k / 20)), int(100 + 90 * np.cos(k / 31))
        frame = texture[top : top + SIZE, left : left + SIZE].copy()
        frame[100:140, 3 * k % 200 : 3 * k % 200 + 40] = (250, 30, 30)
        y, x = generator.integers(0, SIZE, 2)
        yield (frame + grain[y : y + SIZE, x : x + SIZE]).clip(0, 255).astype(np.uint8)


def write_file(path: Path, gop: int, seed: int) -> None:
    """Write one video."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=VIDEO_FPS, options={"g": str(gop), "crf": "23"})
        stream.height = stream.width = SIZE
        stream.pix_fmt = "yuv420p"
        for array in moving_frames(seed):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(array, format="rgb24")))
        container.mux(stream.encode())


def seek_to_each(path: Path, times: np.ndarray) -> np.ndarray:
    """Read frames by seeking to every one."""
    to_rgb = rgb_converter()
    frames = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        for time_s in times:
            wanted = round(time_s / stream.time_base)
            container.seek(wanted, stream=stream, backward=True)
            frames.append(to_rgb(next(frame for frame in container.decode(stream) if frame.pts >= wanted)))
    return np.stack(frames)


class Clips(Dataset):
    """Clips by number, for the DataLoader."""

    def __init__(self, mixture: ClipMixture, num_clips: int):
        """Take the mixture and how many clips there are."""
        self.mixture, self.num_clips = mixture, num_clips

    def __len__(self) -> int:
        """Count the clips."""
        return self.num_clips

    def __getitem__(self, number: int) -> int:
        """Read a clip; only its length is sent back, because sending is not what is measured."""
        return len(self.mixture.video(number))


def draw_clips(scans: dict[Path, VideoScan], num_clips: int) -> list[tuple[Path, np.ndarray]]:
    """Draw (file, times of its wanted frames)."""
    generator = np.random.default_rng(0)
    clips = []
    for k in range(num_clips):
        path = list(scans)[k % len(scans)]
        times = scans[path].times
        start = generator.uniform(0, times[-1] - (NUM_FRAMES - 1) / FPS)
        clips.append((path, times[nearest(times, start + np.arange(NUM_FRAMES) / FPS)]))
    return clips


def make_mixture(folder: Path, open_at_start: int) -> ClipMixture:
    """Make a mixture that keeps nothing in memory."""
    settings = {"num_frames": NUM_FRAMES, "fps": FPS, "seed": 0, "cache_bytes": 0}
    return open_mixture([find_clip_source(folder)], open_at_start=open_at_start, **settings)


def count_clips(clips: Iterator) -> int:
    """Use up an iterator, and return how many it had."""
    return sum(1 for _ in clips)


def make_ways(folder: Path, num_clips: int, workers: int) -> dict[str, Callable[[], int]]:
    """Return the ways to read clips; each returns how many it read."""
    scans = {path: scan_video(path) for path in sorted(folder.iterdir())}
    clips = draw_clips(scans, num_clips)
    for path, times in clips:
        if not np.array_equal(seek_to_each(path, times), read_frames_at(path, times, key_times=scans[path].key_times)):
            raise RuntimeError(f"the two ways read other frames of {path}")
    mixture = make_mixture(folder, open_at_start=len(scans))
    loader = DataLoader(Clips(mixture, num_clips * workers), workers, num_workers=workers, persistent_workers=True)
    return {
        "seek": lambda: count_clips(seek_to_each(path, times) for path, times in clips),
        "read": lambda: count_clips(
            read_frames_at(path, times, key_times=scans[path].key_times) for path, times in clips
        ),
        "mixture": lambda: count_clips(mixture.video(number) for number in range(num_clips)),
        # Made anew in each round, so that it remembers no file.
        "unopened": lambda: count_clips(map(make_mixture(folder, open_at_start=0).video, range(num_clips))),
        "workers": lambda: sum(len(batch) for batch in loader),
    }


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--videos", type=int, default=4)
    parser.add_argument("--clips", type=int, default=12)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"wanted frames per second, best of {options.rounds}; times the rate of seek in brackets")
    for gop in (2, 12, 250):
        with tempfile.TemporaryDirectory() as folder:
            for k in range(options.videos):
                write_file(Path(folder) / f"{k}.mp4", gop, seed=k)
            ways = make_ways(Path(folder), options.clips, options.workers)
            best = dict.fromkeys(ways, 0.0)
            for _ in range(options.rounds + 1):
                for name, way in ways.items():
                    begin = time.perf_counter()
                    num_read = way()
                    best[name] = max(best[name], num_read * NUM_FRAMES / (time.perf_counter() - begin))
        cells = [f"{name} {rate:.0f} ({rate / best['seek']:.2f})" for name, rate in best.items()]
        print(f"key frame every {gop:3d}: " + ", ".join(cells), flush=True)


if __name__ == "__main__":
    main()
