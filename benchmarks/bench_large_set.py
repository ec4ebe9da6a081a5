"""Windows per second of train-ac on latents larger than the memory it is given, beside those on a small set.

    python benchmarks/bench_large_set.py [--gigabytes 20] [--memory-gib 2] [--steps 200] [--folder /tmp]

The latents are a sparse file of zeros with noise in every 64th frame, so that little is written of what is read as a
file of that size; `--noisy-every 1` writes all of it. Each set is trained on in a process of its own that may have no
more memory than said: what is private to it, which only swapping could take away, is limited by the system (copying the
whole file must fail, to show that RLIMIT_DATA holds); and pages of the file are given back as soon as they and all else
that is resident would be more, as a machine of that memory would do. Sets take turns; the best round counts.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import cast

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
EPISODE, GIB, WARM_UP = 50, 2**30, 5
SPARE = 2**26
"""What may come in during a step [bytes]."""


def write_latents(path: Path, num_frames: int, noisy_every: int) -> None:
    """Write a file of so many rows, with noise in some of them."""
    noise = np.random.default_rng(0).normal(size=ROW.shape).astype(ROW.dtype).tobytes()
    with path.open("wb") as file:
        file.truncate(num_frames * ROW.num_bytes)
        for frame in range(0, num_frames, noisy_every):
            file.seek(frame * ROW.num_bytes)
            file.write(noise)


def memory() -> tuple[int, int]:
    """Return the memory that this process has for itself alone, and all of it that is resident [bytes]."""
    status = Path("/proc/self/status").read_text()
    own, of_files = (int(status.split(f"{name}:")[1].split()[0]) * 1024 for name in ("RssAnon", "RssFile"))
    return own, own + of_files


def train(path: Path, args: argparse.Namespace) -> dict[str, float]:
    """Train on a file of latents under the limit; return rates, and the most memory after any step."""
    limit = int(args.memory_gib * GIB)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
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
    found = {"own": 0, "resident": 0, "given_back": 0}
    for step in range(args.steps):
        if step == WARM_UP:
            begin = time.perf_counter(), time.process_time()
        trainer.step(step, windows)
        own, resident = memory()
        found = {**found, "own": max(found["own"], own), "resident": max(found["resident"], resident)}
        if resident > limit - SPARE:
            give_back(latents.z, path)
            found["given_back"] += 1
    num_windows = (args.steps - WARM_UP) * config.batch_size
    rate, rate_of_work = num_windows / (time.perf_counter() - begin[0]), num_windows / (time.process_time() - begin[1])
    try:
        np.array(latents.z)
        holds = latents.z.nbytes < limit
    except MemoryError:
        holds = True
    return {"rate": rate, "rate_of_work": rate_of_work, "limit_holds": holds, **found}


def give_back(mapped: np.ndarray, path: Path) -> None:
    """Let the system forget what it holds of a file."""
    cast(mmap.mmap, mapped.base).madvise(mmap.MADV_DONTNEED)
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def main() -> None:
    """Print a row per set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=20.0)
    parser.add_argument("--memory-gib", type=float, default=2.0)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--noisy-every", type=int, default=64, help="frames to one that is written")
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
            write_latents(path, EPISODE * int(gigabytes * 1e9 / ROW.num_bytes / EPISODE), args.noisy_every)
        rounds = []
        for _ in range(args.rounds):
            commands = ([sys.executable, __file__, "--train", str(path), *options] for path in sets.values())
            rounds.append([json.loads(subprocess.check_output(command)) for command in commands])
        print(f"limit {args.memory_gib:g} GiB; {'latents':>10}{'windows/s':>12}{'of processor time':>20}", end="")
        print(f"{'own memory':>13}{'resident':>12}{'given back':>13}   limit holds")
        for gigabytes, of_set in zip(sets, zip(*rounds, strict=True), strict=True):
            best = {key: max(one[key] for one in of_set) for key in of_set[0]}
            print(f"{gigabytes:20g} GB{best['rate']:12.1f}{best['rate_of_work']:20.1f}", end="")
            print(f"{best['own'] / GIB:9.2f} GiB{best['resident'] / GIB:8.2f} GiB{best['given_back']:7d} times", end="")
            print(f"   {all(one['limit_holds'] for one in of_set)}")


if __name__ == "__main__":
    main()
