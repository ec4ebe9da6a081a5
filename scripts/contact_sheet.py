"""Draw a sheet per task, to look at: start, goal, sub-goals, and each value of each factor of variation.

Run `python scripts/contact_sheet.py --out sheets [--tasks push drawer] [--renderer ray]`; `*` marks what is held out.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from vjepa_wm import envs
from vjepa_wm.envs import VariationConfig

CELL, LABEL, COLUMNS = 128, 14, 8


def starts(task: str, renderer: str, seeds: Sequence[int], variation: VariationConfig) -> list[np.ndarray]:
    """Return the first pictures of episodes under a variation."""
    env = envs.make(task, image_size=CELL, renderer=renderer, variation=variation)
    seen = [env.reset(seed=seed)[0]["image"] for seed in seeds]
    env.close()
    return seen


def pictures(task: str, renderer: str, seed: int) -> list[list[tuple[str, np.ndarray]]]:
    """Return rows of labelled pictures."""
    env = envs.make(task, image_size=CELL, renderer=renderer)
    obs, info = env.reset(seed=seed)
    subgoals = [(part["name"], part["image"]) for part in info["goal"].get("subgoals", [])]
    rows = [[("start", obs["image"]), ("goal", info["goal"]["image"]), *subgoals]]
    for factor, values in env.factors.items():
        row = []
        for name in values.names():
            label = f"{factor} {name}{'*' if name in values.held_out else ''}"
            row.append((label, starts(task, renderer, [seed], VariationConfig(**{factor: name}))[0]))
        rows.append(row)
    for mode in ("sampled", "held_out"):
        seeds = range(seed, seed + 2 * COLUMNS)
        rows.append([(f"all {mode}", seen) for seen in starts(task, renderer, seeds, VariationConfig(all=mode))])
    env.close()
    return rows


def sheet(rows: list[list[tuple[str, np.ndarray]]]) -> Image.Image:
    """Lay rows of pictures out, with their labels above them; long rows go on below."""
    lines = [row[begin : begin + COLUMNS] for row in rows for begin in range(0, len(row), COLUMNS)]
    canvas = Image.new("RGB", (COLUMNS * (CELL + 2), len(lines) * (CELL + LABEL)), "white")
    draw = ImageDraw.Draw(canvas)
    for y, line in enumerate(lines):
        for x, (label, picture) in enumerate(line):
            corner = (x * (CELL + 2), y * (CELL + LABEL))
            draw.text(corner, label, fill="black")
            canvas.paste(Image.fromarray(picture), (corner[0], corner[1] + LABEL))
    return canvas


def main() -> None:
    """Draw the sheets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tasks", nargs="+", default=envs.TASKS)
    parser.add_argument("--renderer", default="auto")
    parser.add_argument("--seed", type=int, default=3)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for task in options.tasks:
        sheet(pictures(task, options.renderer, options.seed)).save(options.out / f"{task}.png")


if __name__ == "__main__":
    main()
