"""What a person sees of an evaluation: a table, a json file, a video of every episode and one figure.

Everything is made from the same records, so that the numbers, the pictures and the curves cannot disagree.

Letters: S steps of an episode.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from vjepa_wm.data.media.video import write_video
from vjepa_wm.evaluation.evaluate import EpisodeResult, PolicyResult
from vjepa_wm.evaluation.protocol import Protocol, wilson_interval

CM = 100.0
VIDEO_FPS = 5
VIDEO_HOLD = 5
"""Times the last frame is shown, so that the end of a looping video can be seen."""
PICTURE_SIZE = 256
"""Height of camera and goal picture in a video [px]."""
CAPTION_SIZE = 32
GAP = 8
BACKGROUND, TEXT, SOLVED = (250, 250, 250), (40, 40, 40), (0, 130, 60)
COLORS = ("tab:blue", "tab:orange", "tab:green", "tab:gray", "tab:purple", "tab:brown")


def result_row(result: PolicyResult) -> dict[str, Any]:
    """Reduce the episodes of one policy to numbers.

    Args:
        result: record of all episodes.

    Returns:
        policy; episodes, their number; success_last and success_ever, shares within 0..1; success_last_interval, 95 %
        Wilson bounds; mean_final_distance [m]; seconds_per_action [s].
    """
    num_episodes = len(result.episodes)
    return {
        "policy": result.policy,
        "episodes": num_episodes,
        "success_last": result.num_success_last / num_episodes,
        "success_last_interval": list(wilson_interval(result.num_success_last, num_episodes)),
        "success_ever": result.num_success_ever / num_episodes,
        "mean_final_distance": result.mean_final_distance,
        "seconds_per_action": result.seconds_per_action,
    }


def format_table(results: Sequence[PolicyResult]) -> str:
    """Lay out one line per policy for the terminal.

    Args:
        results: records of the policies, in the order of the lines.

    Returns:
        Aligned text without a line break at its end.
    """
    head = ["policy", "episodes", "success at end", "95 % interval", "ever", "final distance", "s/action"]
    lines = [head]
    for row in map(result_row, results):
        low, high = row["success_last_interval"]
        lines.append(
            [
                row["policy"],
                str(row["episodes"]),
                f"{row['success_last']:.0%}",
                f"{low:.0%} to {high:.0%}",
                f"{row['success_ever']:.0%}",
                f"{row['mean_final_distance'] * CM:.1f} cm",
                f"{row['seconds_per_action']:.3f}",
            ]
        )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    aligned = [
        "  ".join(
            [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
        )
        for line in lines
    ]
    return "\n".join([aligned[0], "-" * len(aligned[0]), *aligned[1:]])


def save_results(path: str | Path, protocol: Protocol, results: Sequence[PolicyResult]) -> None:
    """Write `results.json`: task, the whole protocol, and one row per policy as `result_row` gives it.

    Args:
        path: the file to write.
        protocol: what was played.
        results: records of the policies.
    """
    content = {"task": protocol.task, "protocol": asdict(protocol), "rows": [result_row(result) for result in results]}
    Path(path).write_text(json.dumps(content, indent=2) + "\n")


def save_videos(folder: str | Path, result: PolicyResult) -> list[Path]:
    """Write one mp4 per episode: the camera on the left, the goal picture on the right, step and distance above.

    Args:
        folder: folder for `episode_000.mp4` and so on; made if missing.
        result: record of all episodes.

    Returns:
        The files.
    """
    paths = []
    for index, episode in enumerate(result.episodes):
        paths.append(Path(folder) / f"episode_{index:03d}.mp4")
        write_video(paths[-1], draw_episode(episode), VIDEO_FPS)
    return paths


def draw_episode(episode: EpisodeResult) -> np.ndarray:
    """Draw the frames of an episode's video.

    Args:
        episode: record of the episode.

    Returns:
        Pictures, (S + 1 + frames that repeat the last one, height, width, 3) uint8; height and width are even.
    """
    goal = _enlarge(episode.goal_image)
    font = ImageFont.load_default(16)
    num_steps = len(episode.frames) - 1
    pictures = []
    for step, (frame, distance) in enumerate(zip(episode.frames, episode.distances, strict=True)):
        left = _enlarge(frame)
        canvas = Image.new("RGB", (left.width + GAP + goal.width, CAPTION_SIZE + left.height), BACKGROUND)
        canvas.paste(left, (0, CAPTION_SIZE))
        canvas.paste(goal, (left.width + GAP, CAPTION_SIZE))
        solved = step == num_steps and episode.success_last
        text = f"step {step} of {num_steps}   {distance * CM:.1f} cm" + ("   reached" if solved else "")
        draw = ImageDraw.Draw(canvas)
        draw.text((8, CAPTION_SIZE / 2), text, fill=SOLVED if solved else TEXT, font=font, anchor="lm")
        draw.text((left.width + GAP + 8, CAPTION_SIZE / 2), "goal", fill=TEXT, font=font, anchor="lm")
        pictures.append(np.array(canvas))
    return np.stack(pictures + pictures[-1:] * (VIDEO_HOLD - 1))


def draw_figure(results: Sequence[PolicyResult], protocol: Protocol) -> Figure:
    """Draw energy and true distance over the steps.

    If the energy falls while the distance does not, the latents are to blame; if neither falls, the planner or the
    predictor is.

    Args:
        results: records of the policies; of the first every episode is drawn, of the others the mean.
        protocol: gives the success radius.

    Returns:
        A figure with two axes on top of each other: energy, and distance [cm].
    """
    figure = Figure(figsize=(7.5, 7.0), layout="constrained")
    energy_axes, distance_axes = figure.subplots(2, 1, sharex=True)
    for index, result in enumerate(results):
        color = COLORS[index % len(COLORS)]
        every = index == 0
        distances = np.stack([episode.distances for episode in result.episodes])
        _draw_curves(distance_axes, distances * CM, label=result.policy, color=color, every=every)
        energies = [episode.energies for episode in result.episodes if episode.energies is not None]
        if energies:
            _draw_curves(energy_axes, np.stack(energies), label=result.policy, color=color, every=every)
    radius = protocol.success_radius * CM
    distance_axes.axhline(radius, color="black", linestyle="--", linewidth=1.2, label=f"success, {radius:g} cm")
    energy_axes.set_ylabel("energy to the goal picture")
    distance_axes.set_ylabel("true distance to the goal [cm]")
    distance_axes.set_xlabel("step")
    distance_axes.xaxis.get_major_locator().set_params(integer=True)
    for axes in (energy_axes, distance_axes):
        axes.set_ylim(bottom=0)
        axes.set_xlim(0, protocol.steps)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(*distance_axes.get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False)
    num_episodes = len(results[0].episodes)
    energy_axes.set_title(
        f"{protocol.task}: {num_episodes} episodes; thin: episodes of {results[0].policy}, bold: means"
    )
    return figure


def write_report(folder: str | Path, protocol: Protocol, results: Sequence[PolicyResult]) -> str:
    """Write everything: `results.json`, `energy_and_distance.png` and `videos/<policy>/episode_000.mp4`.

    Args:
        folder: folder to write to; made if missing.
        protocol: what was played.
        results: records of the policies; the first is the one the figure shows in full.

    Returns:
        The table for the terminal.

    Raises:
        ValueError: if there are no results or two of them have one name.
    """
    policies = [result.policy for result in results]
    if not policies or len(set(policies)) < len(policies):
        raise ValueError(f"results must have at least one policy and different names, got {policies}")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    save_results(folder / "results.json", protocol, results)
    draw_figure(results, protocol).savefig(folder / "energy_and_distance.png", dpi=120)
    for result in results:
        save_videos(folder / "videos" / result.policy, result)
    return format_table(results)


def _enlarge(picture: np.ndarray) -> Image.Image:
    """Scale a picture (H, W, 3) uint8 to the video's height, its width even."""
    width = 2 * round(PICTURE_SIZE * picture.shape[1] / picture.shape[0] / 2)
    return Image.fromarray(picture).resize((width, PICTURE_SIZE), Image.Resampling.BICUBIC)


def _draw_curves(axes: Axes, curves: np.ndarray, *, label: str, color: str, every: bool) -> None:
    """Draw the mean of curves (episodes, S + 1); with every, draw it above all others and each curve thinly."""
    if every:
        axes.plot(curves.T, color=color, linewidth=0.8, alpha=0.4)
    axes.plot(curves.mean(axis=0), color=color, linewidth=3 if every else 2, zorder=4 if every else 3, label=label)
