"""Read thousands of damaged files of a kind and count what became of them: no traceback, no hang, nothing broken taken.

    python scripts/fuzz.py --kind json csv --number 5000 --seed 0
    python scripts/fuzz.py --kind json --seed 1234 --keep there    # one again, kept in a folder, with its traceback

File k of a kind depends on the kind and k alone, and the seed is the first k. It is read in a process that has only so
much memory and time; one process reads many, and another takes over where it dies. What is found is printed with its
seed, and is to become a line in tests/cases.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fuzzing.borders import Border

KINDS = ("video", "picture", "parquet", "json", "safetensors", "pt", "csv")
FINE = ("read", "refused")
BATCH = 200
"""Files that one process reads."""
GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a process may use."""

    seconds: int
    """Processor time for one file."""
    gib: float
    """Memory beyond that of the imported package."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a file."""

    seed: int
    """Its number."""
    became: str
    """`read`, `refused`, or what is wrong."""
    file: str = "?"
    """Its name."""
    what: str = ""
    """Why, if something is wrong."""


def fuzz(kind: str, seeds: range, limits: Limits) -> Iterator[Outcome]:
    """Yield what became of each file, from processes that may die."""
    context = multiprocessing.get_context("forkserver")
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
    context.set_forkserver_preload(["fuzzing.borders"])  # so that a new process takes no time
    while seeds:
        batch = seeds[:BATCH]
        reads, writes = context.Pipe(duplex=False)
        child = context.Process(target=read_batch, args=(writes, kind, batch, limits))
        child.start()
        writes.close()
        try:
            while True:
                yield reads.recv()
                batch, seeds = batch[1:], seeds[1:]
        except EOFError:
            child.join()
        if batch:
            is_hang = child.exitcode in (-signal.SIGXCPU, -signal.SIGALRM)
            yield Outcome(seed=seeds[0], became="hang" if is_hang else "died", what=f"exit status {child.exitcode}")
            seeds = seeds[1:]


def read_batch(results: Connection, kind: str, seeds: range, limits: Limits) -> None:
    """Read files and send what became of each; runs in a process of its own."""
    _be_quiet()
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + int(limits.gib * GIB), resource.RLIM_INFINITY))
    with tempfile.TemporaryDirectory(prefix="fuzz-") as root:
        for seed in seeds:
            folder = Path(root, "here")
            border, path = make_file(kind, seed, Path(root), folder)
            spent = int(resource.getrusage(resource.RUSAGE_SELF).ru_utime)
            resource.setrlimit(resource.RLIMIT_CPU, (spent + limits.seconds + 1, resource.RLIM_INFINITY))
            signal.alarm(60 * limits.seconds)  # of what waits without using the processor
            became, what = judge(border, folder, path)
            signal.alarm(0)
            results.send(Outcome(seed=seed, became=became, file=path.name, what=what))
            shutil.rmtree(folder)


def _be_quiet() -> None:
    """Let decoders complain to nobody."""
    logging.disable()
    warnings.simplefilter("ignore")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)


def make_file(kind: str, seed: int, root: Path, folder: Path) -> tuple[Border, Path]:
    """Write a damaged file with what is whole around it into a folder; return its border, and its path.

    Args:
        kind: of the file.
        seed: its number.
        root: where what is whole is kept for the next ones.
        folder: where to.
    """
    import numpy as np
    from fuzzing.borders import BORDERS

    place = seed % len(BORDERS[kind])
    border, whole, note = BORDERS[kind][place], root / f"whole-{place}", root / f"file-{place}"
    if not whole.exists():
        whole.mkdir()
        made = border.make(whole)
        note.write_text(border.file or str(made.relative_to(whole)))
    shutil.copytree(whole, folder)
    path = folder / note.read_text()
    rng = np.random.default_rng((zlib.crc32(kind.encode()), seed))
    path.write_bytes(border.mutate(path.read_bytes(), rng))
    return border, path


def judge(border: Border, folder: Path, path: Path) -> tuple[str, str]:
    """Read a file here and, where that goes well, by the reference; return what became of it and why."""
    try:
        border.read(folder)
    except border.errors as error:
        named = path.name in str(error) or str(folder) in str(error)
        return ("refused", "") if named else ("unnamed", f"{type(error).__name__}: {error}"[:200])
    except BaseException as error:
        frames = traceback.extract_tb(error.__traceback__)
        inner = next((frame for frame in reversed(frames) if "vjepa_wm" in frame.filename), frames[-1])
        why = f"{type(error).__name__} at {Path(inner.filename).name}:{inner.lineno}: {str(error)[:120]}"
        return ("memory" if isinstance(error, MemoryError) else "traceback"), why
    try:
        if border.reference is not None:
            border.reference(path)
    except Exception as error:
        return "accepted", f"{type(error).__name__}: {str(error)[:120]}"
    return "read", ""


def report(kind: str, outcomes: Iterator[Outcome]) -> bool:
    """Print counts and findings; return whether there is any."""
    begin = time.perf_counter()
    counts: Counter[str] = Counter()
    found: dict[tuple[str, str, str], list[int]] = {}
    for one in outcomes:
        counts[one.became] += 1
        if one.became not in FINE:
            found.setdefault((one.became, one.file, one.what), []).append(one.seed)
    number, told = sum(counts.values()), ", ".join(f"{n} {name}" for name, n in counts.most_common())
    print(f"{kind}: {number} files, {told}, {number / (time.perf_counter() - begin):.1f} a second")
    for (became, file, what), seeds in sorted(found.items(), key=lambda item: -len(item[1])):
        print(f"  {became} {file}, {len(seeds)} times, seeds {', '.join(map(str, seeds[:5]))}: {what}")
    sys.stdout.flush()
    return bool(found)


def main() -> int:
    """Return 1 if anything was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--number", type=int, default=5000, help="files of each")
    parser.add_argument("--seed", type=int, default=0, help="number of the first one")
    parser.add_argument("--seconds", type=int, default=10, help="processor time for one")
    parser.add_argument("--gib", type=float, default=1.0, help="memory beyond that of the imported package")
    parser.add_argument("--keep", type=Path, help="read the first one alone, and keep it in this new folder")
    args = parser.parse_args()
    sys.stdout.reconfigure(errors="backslashreplace")  # of names that cannot be written
    if args.keep:
        with tempfile.TemporaryDirectory() as root:
            border, path = make_file(args.kind[0], args.seed, Path(root), args.keep)
        print(path, *judge(border, args.keep, path))
        border.read(args.keep)
        return 0
    limits = Limits(seconds=args.seconds, gib=args.gib)
    seeds = range(args.seed, args.seed + args.number)
    return int(any([report(kind, fuzz(kind, seeds, limits)) for kind in args.kind]))


if __name__ == "__main__":
    sys.exit(main())
