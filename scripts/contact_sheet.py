"""Draw a sheet per task, to look at: start, goal, sub-goals, and each value of each factor of variation.

Run `python scripts/contact_sheet.py --out sheets [--tasks push drawer] [--renderer ray]`; `*` marks what is held out.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from vjepa_wm import envs
from vjepa_wm.envs import VariationConfig

CELL, LABEL, COLUMNS = 128, 14, 8


def starts(options: argparse.Namespace, task: str, num_starts: int = 1, **variation: str) -> list[np.ndarray]:
    """Return the first pictures of episodes under a variation."""
    settings = {"image_size": CELL, "renderer": options.renderer, "variation": VariationConfig(**variation)}
    env = envs.make(task, **settings)
    seen = [env.reset(seed=options.seed + k)[0]["image"] for k in range(num_starts)]
    env.close()
    return seen


def pictures(options: argparse.Namespace, task: str) -> list[list[tuple[str, np.ndarray]]]:
    """Return rows of labelled pictures, of which long ones go on below."""
    env = envs.make(task, image_size=CELL, renderer=options.renderer)
    obs, info = env.reset(seed=options.seed)
    subgoals = [(part["name"], part["image"]) for part in info["goal"].get("subgoals", [])]
    rows = [[("start", obs["image"]), ("goal", info["goal"]["image"]), *subgoals]]
    for factor, values in env.factors.items():
        labels = {name: f"{factor} {name}{'*' if name in values.held_out else ''}" for name in values.names()}
        rows.append([(label, starts(options, task, **{factor: name})[0]) for name, label in labels.items()])
    for mode in ("sampled", "held_out", "drawn"):
        rows.append([(f"all {mode}", seen) for seen in starts(options, task, 2 * COLUMNS, all=mode)])
    env.close()
    return [row[begin : begin + COLUMNS] for row in rows for begin in range(0, len(row), COLUMNS)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tasks", nargs="+", default=envs.TASKS)
    parser.add_argument("--renderer", default="auto")
    parser.add_argument("--seed", type=int, default=3)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for task in options.tasks:
        rows = pictures(options, task)
        sheet = Image.new("RGB", (COLUMNS * (CELL + 2), len(rows) * (CELL + LABEL)), "white")
        draw = ImageDraw.Draw(sheet)
        for y, row in enumerate(rows):
            for x, (label, picture) in enumerate(row):
                draw.text((x * (CELL + 2), y * (CELL + LABEL)), label, fill="black")
                sheet.paste(Image.fromarray(picture), (x * (CELL + 2), y * (CELL + LABEL) + LABEL))
        sheet.save(options.out / f"{task}.png")
