"""Windows per second of train-ac on latents larger than the memory it is given, beside those on a small set.

    python benchmarks/bench_large_set.py [--gigabytes 20] [--memory-gib 2] [--steps 60] [--folder /tmp]

The latents are a sparse file of zeros with noise in every 64th frame, so that nothing is written but what is read as a
file of that size. Each set is trained on in a process that may hold no more memory of its own than said (RLIMIT_DATA,
which counts all that is private, and so all that cannot be read again from the file). That the limit holds is shown by
reading the large file as a whole under it. Sets take turns; the best round of each counts.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from vjepa_wm.data.latents.latent_set import LatentSet
from vjepa_wm.data.latents.row_file import RowForm, map_rows
from vjepa_wm.data.latents.window_mixture import WindowMixture
from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.encoder_config import VideoEncoderConfig
from vjepa_wm.training.ac_training import ACTrainer, TrainACConfig

ENCODER = VideoEncoderConfig(image_size=64, patch_size=8, embed_dim=384, depth=1, num_heads=6)
ROW = RowForm(dtype=np.dtype(np.float16), shape=(64, 384))
EPISODE, NOISY_EVERY, GIB, WARM_UP = 50, 64, 2**30, 5


def write_latents(path: Path, num_frames: int) -> None:
    """Write a sparse file of so many rows."""
    noise = np.random.default_rng(0).normal(size=ROW.shape).astype(ROW.dtype).tobytes()
    with path.open("wb") as file:
        file.truncate(num_frames * ROW.num_bytes)
        for frame in range(0, num_frames, NOISY_EVERY):
            file.seek(frame * ROW.num_bytes)
            file.write(noise)


def own_memory() -> int:
    """Return the memory that this process has for itself alone [bytes]; what is mapped from files is not counted."""
    found = re.search(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def train(path: Path, args: argparse.Namespace) -> dict[str, float]:
    """Train on a file of latents under the limit; return the rate and the most memory after any step."""
    resource.setrlimit(resource.RLIMIT_DATA, (int(args.memory_gib * GIB),) * 2)
    num_frames = path.stat().st_size // ROW.num_bytes
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=(2, num_frames, 7)).astype(np.float32)
    lengths = np.full(num_frames // EPISODE, EPISODE)
    latents = LatentSet(
        z=map_rows(path, ROW, num_frames),
        states=numbers[0],
        actions=numbers[1],
        objects=None,
        firsts=np.arange(len(lengths)) * EPISODE,
        lengths=lengths,
    )
    config = TrainACConfig(
        data=(path,), encoder=path, out=path.with_suffix(".run"), predictor_dim=96, predictor_depth=2, batch_size=16,
        steps=args.steps, precision="fp32",
    )  # fmt: skip
    windows = WindowMixture([latents], config.num_frames, seed=0)
    trainer = ACTrainer(config, VideoEncoder(ENCODER), [latents])
    peak, begin = 0, 0.0
    for step in range(args.steps):
        if step == WARM_UP:
            begin = time.perf_counter()
        trainer.step(step, windows)
        peak = max(peak, own_memory())
    seconds = time.perf_counter() - begin
    try:
        np.array(latents.z)
        holds = latents.z.nbytes < args.memory_gib * GIB
    except MemoryError:
        holds = True
    return {"rate": (args.steps - WARM_UP) * config.batch_size / seconds, "peak": peak, "limit_holds": holds}


def main() -> None:
    """Print a row per set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=20.0)
    parser.add_argument("--memory-gib", type=float, default=2.0)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=None, help="where the file lies")
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.train is not None:
        print(json.dumps(train(args.train, args)))
        return
    options = ["--memory-gib", str(args.memory_gib), "--steps", str(args.steps)]
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        sets = {gigabytes: Path(folder, f"{gigabytes:g}.bin") for gigabytes in (0.1, args.gigabytes)}
        for gigabytes, path in sets.items():
            write_latents(path, EPISODE * int(gigabytes * 1e9 / ROW.num_bytes / EPISODE))
        rounds = []
        for _ in range(args.rounds):
            commands = ([sys.executable, __file__, "--train", str(path), *options] for path in sets.values())
            rounds.append([json.loads(subprocess.check_output(command)) for command in commands])
        print(f"{'latents':>10}{'windows/s':>12}{'own memory':>14}   of {args.memory_gib:g} GiB, which holds")
        for gigabytes, found in zip(sets, zip(*rounds, strict=True), strict=True):
            rate, peak = max(one["rate"] for one in found), max(one["peak"] for one in found)
            holds = all(one["limit_holds"] for one in found)
            print(f"{gigabytes:7g} GB{rate:12.1f}{peak / GIB:10.2f} GiB   {holds}")


if __name__ == "__main__":
    main()
