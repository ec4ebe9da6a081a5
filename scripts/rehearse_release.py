"""Run both release scripts to their end with a two-hundredth of the episodes and a few steps of each training.

Nothing good comes of it but that every command still runs, on what the one before has left. What is released is not
touched.

Usage: rehearse_release.py [OUT]
"""

import os
import subprocess
import sys
from pathlib import Path

LEAST_EPISODES = 24  # so that a twentieth of them, which validates, is one at least


def shorten(words: list[str]) -> list[str]:
    """Return the words of a command with fewer episodes, fewer steps of training and smaller batches."""
    short, training = list(words), words[0] == "pretrain" or words[0].startswith("train-")
    for i, word in enumerate(words[:-1]):
        if word == "--episodes" and words[0] == "collect":
            short[i + 1] = str(max(LEAST_EPISODES, int(words[i + 1]) // 200))
        elif word == "--steps" and training:
            short[i + 1] = str(max(3, int(words[i + 1]) // 500))
        elif word == "--batch-size" and training:
            short[i + 1] = "4"
    for option, value in (("--steps", "5"), ("--batch-size", "4")):
        if training and option not in short:
            short += [option, value]
    return short


def rehearse(out: Path) -> None:
    """Run the scripts in a folder, their programs in place of the real ones."""
    programs, scripts = out / "bin", Path(__file__).resolve().parent
    programs.mkdir(parents=True, exist_ok=True)
    for name, words in (("python", ""), ("vjepa-wm", f'"{Path(__file__).resolve()}" --run')):
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
        (programs / name).chmod(0o755)
    places = {"BIN": str(programs.resolve()), "WEIGHTS": str((out / "weights").resolve())}
    for script, folders in (("release_arm.sh", ["arm"]), ("release_plane.sh", ["plane", "arm"])):
        command = ["bash", str(scripts / script), *(str(out / folder) for folder in folders)]
        subprocess.run(command, check=True, env=os.environ | places)
    print(f"both ran to their end: {out / 'weights'}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        words = shorten(sys.argv[2:])
        print("+ vjepa-wm", *words, file=sys.stderr, flush=True)
        os.execv(sys.executable, [sys.executable, "-m", "vjepa_wm", *words])
    rehearse(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/rehearsal"))
