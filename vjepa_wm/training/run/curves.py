"""One picture of a training run, made from its metrics.csv: small panels whose titles say what good looks like."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from vjepa_wm.safe_files import write_whole
from vjepa_wm.training.run.metrics import read_rows

DPI = 150
NUM_COLUMNS = 3
PANEL_SIZE = (4.3, 2.9)
"""Width and height of a panel [inch]."""
FEW_POINTS = 24
"""Up to so many points are drawn one by one, without a moving mean."""
SMOOTHING = 0.06
"""Width of the moving mean as a share of a curve's points."""
LOG_SPAN = 8
"""A smaller factor between values stays on a linear axis, where there are always numbers to read."""
TICK_STEPS = (1, 2, 2.5, 5, 10)
GREY = "0.42"


@dataclass(frozen=True)
class Panel:
    """What one panel shows."""

    title: str
    """What it is called."""
    hint: str
    """What to look for, in small print under the title."""
    columns: dict[str, str]
    """Columns of metrics.csv and the name of each curve."""
    log: bool = False
    """Whether the axis is logarithmic, where the values span a factor of `LOG_SPAN`."""
    smooth: bool = True
    """Whether the values scatter, so that a moving mean helps."""
    line: float | None = None
    """Value of a dashed line to compare with."""
    optional: bool = False
    """Whether curves of zeros only are left out, because they belong to a term that is switched off."""


PANELS = (
    Panel(
        "Prediction loss",
        "distance from the slow encoder's features, which change too",
        {"loss": "hidden tokens", "context_loss": "visible tokens"},
        optional=True,
    ),
    Panel(
        "Loss of one step ahead",
        "predicted from true features; lower is better",
        {"teacher_loss": "training", "val_teacher": "held-out episodes"},
    ),
    Panel(
        "Loss of a rollout",
        "predicted from predictions; lower is better",
        {"rollout_loss": "training", "val_rollout": "held-out episodes"},
    ),
    Panel(
        "Actions read off true latents",
        "squared error, in deviations; lower is better",
        {"inverse_loss": "training", "val_inverse": "held-out episodes"},
    ),
    Panel(
        "Actions read off predictions",
        "squared distance from those read off true latents; lower is better",
        {"imagined_inverse_loss": "training", "val_imagined_inverse": "held-out episodes"},
    ),
    Panel(
        "Loss of heads on labels",
        "best setting of each kind; lower is better",
        {
            "linear_loss": "linear",
            "attentive_1_loss": "attentive, depth 1",
            "attentive_4_loss": "attentive, depth 4",
            "finetuned_loss": "fine-tuned",
        },
        log=True,
    ),
    Panel(
        "Share told rightly",
        "of the items that choose a setting, and of some that are trained on; best of each kind",
        {
            "linear_train": "linear, trained on",
            "attentive_1_train": "depth 1, trained on",
            "attentive_4_train": "depth 4, trained on",
            "linear_val": "linear",
            "attentive_1_val": "attentive, depth 1",
            "attentive_4_val": "attentive, depth 4",
            "finetuned_val": "fine-tuned",
        },
        smooth=False,
    ),
    Panel(
        "Loss over that of the mean feature",
        "1: nothing learned; lower is better",
        {"loss_over_mean": "loss / loss of the mean"},
        line=1.0,
    ),
    Panel(
        "Loss over that of no change",
        "held-out episodes; 1: no better than copying a frame",
        {"val_over_copy": "loss / loss of copying"},
        line=1.0,
        smooth=False,
    ),
    Panel("Spread of target features", "1: spread out; towards 0: collapsed", {"target_std": "standard deviation"}),
    Panel("Directions that targets use", "effective rank; 1: collapsed; more is richer", {"target_rank": "rank"}),
    Panel(
        "Variance and covariance penalties",
        "of the encoder's features; 0: spread out and independent",
        {"variance_loss": "variance", "covariance_loss": "covariance"},
        log=True,
        optional=True,
    ),
    Panel("Size of the gradient", "before clipping; a steady rise is a warning", {"grad_norm": "norm"}, log=True),
    Panel("Learning rate", "as scheduled", {"learning_rate": "rate"}, smooth=False),
    Panel("Weight decay", "as scheduled", {"weight_decay": "decay"}, smooth=False),
    Panel("Momentum of the slow encoder", "as scheduled; 1: it stands still", {"ema": "momentum"}, smooth=False),
)
"""In the order of the picture; columns that no panel names follow, each in a panel of its own."""


def read_metrics(path: str | Path) -> dict[str, np.ndarray]:
    """Read a metrics.csv.

    Args:
        path: the file.

    Returns:
        Columns by name, each float64 of one number per row; nan where a cell is empty or holds no finite number.

    Raises:
        ValueError: if there is no column `step`, or a cell is not a number.
        FileNotFoundError: if there is no such file.
    """
    names, rows = read_rows(Path(path))
    try:
        columns = {name: np.array([float(row[name] or "nan") for row in rows]) for name in names}
    except ValueError as error:
        raise ValueError(f"{path} must hold numbers only: {error}") from error
    return {name: np.where(np.isfinite(values), values, np.nan) for name, values in columns.items()}


def moving_mean(values: np.ndarray, width: int) -> np.ndarray:
    """Average each value with its neighbours; at the ends with as many as there are.

    Args:
        values: float64, without nan.
        width: number of values that are averaged, odd.

    Returns:
        As many values.
    """
    kernel = np.ones(min(width, 2 * len(values) - 1))
    sums, counts = (np.convolve(x, kernel)[len(kernel) // 2 :][: len(values)] for x in (values, np.ones(len(values))))
    return sums / counts


def draw_metrics(columns: dict[str, np.ndarray], title: str = "") -> Figure:
    """Draw the curves of a run.

    Args:
        columns: as `read_metrics` returns them.
        title: what stands above the picture.

    Returns:
        A figure with one axes per panel that has something to show.
    """
    panels = [(panel, names) for panel in (*PANELS, *_unnamed(columns)) if (names := _drawable(panel, columns))]
    num_columns = 2 if len(panels) == 4 else min(max(len(panels), 1), NUM_COLUMNS)
    num_rows = max(math.ceil(len(panels) / num_columns), 1)
    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.08)
    figure = Figure(figsize=(PANEL_SIZE[0] * num_columns, PANEL_SIZE[1] * num_rows + 0.4), layout=layout)
    figure.suptitle(title, fontsize=13, fontweight="bold")
    if not panels:
        figure.text(0.5, 0.5, "no rows of metrics yet", ha="center", va="center", color=GREY)
    colors = (f"C{index % 10}" for index in count())
    for index, (panel, names) in enumerate(panels):
        axes = figure.add_subplot(num_rows, num_columns, index + 1)
        for name in names:
            _draw_curve(axes, columns["step"], columns[name], panel, label=panel.columns[name], color=next(colors))
        _dress(axes, panel, columns["step"])
        axes.set_xlabel("step" if index + num_columns >= len(panels) else "", fontsize=9)
    return figure


def draw_curves(csv_path: str | Path, png_path: str | Path) -> None:
    """Draw a picture of a metrics.csv.

    Args:
        csv_path: the file that training writes; it may have a header only.
        png_path: the picture to write.

    Raises:
        ValueError: if the file is not one that training wrote.
        FileNotFoundError: if there is no such file.
    """
    columns = read_metrics(csv_path)
    steps = columns.get("step", np.empty(0))
    length = f", {int(steps[-1]) + 1:,} steps" if len(steps) else ""
    figure = draw_metrics(columns, f"{Path(csv_path).absolute().parent.name}{length}")
    write_whole(Path(png_path), lambda unfinished: figure.savefig(unfinished, format="png", dpi=DPI))


def _unnamed(columns: dict[str, np.ndarray]) -> list[Panel]:
    """Return a panel for each column that none of `PANELS` has."""
    named = {"step"}.union(*(panel.columns for panel in PANELS))
    return [Panel(name, "", {name: name}) for name in columns if name not in named]


def _drawable(panel: Panel, columns: dict[str, np.ndarray]) -> list[str]:
    """Return the columns of a panel that hold something to draw."""
    names = []
    for name in panel.columns:
        values = columns.get(name, np.empty(0))
        values = values[~np.isnan(values)]
        if len(values) and not (panel.optional and not values.any()):
            names.append(name)
    return names


def _draw_curve(axes: Axes, steps: np.ndarray, values: np.ndarray, panel: Panel, *, label: str, color: str) -> None:
    """Draw a curve: few points with dots, a schedule as a line, many points as a moving mean over the faint values."""
    known = ~np.isnan(values)
    steps, values = steps[known], values[known]
    # A number that mostly stays, such as the frames in a clip, is a setting; a mean would blur its jumps.
    scatters = panel.smooth and 2 * np.count_nonzero(np.diff(values)) > len(values)
    if len(values) <= FEW_POINTS or not scatters:
        marker = "o" if len(values) <= FEW_POINTS else None
        axes.plot(steps, values, color=color, linewidth=2, marker=marker, markersize=4, clip_on=False, label=label)
        return
    axes.plot(steps, values, color=color, linewidth=0.8, alpha=0.3)
    width = 2 * round(SMOOTHING * len(values) / 2) + 1
    axes.plot(steps, moving_mean(values, width), color=color, linewidth=2, label=label)


def _dress(axes: Axes, panel: Panel, steps: np.ndarray) -> None:
    """Add titles, scale, grid and, where there are several curves, their names."""
    axes.set_title(panel.title, loc="left", fontsize=10.5, fontweight="bold", pad=20)
    hint = axes.text(0, 1.03, panel.hint, transform=axes.transAxes, fontsize=8, color=GREY, va="bottom")
    hint.set_in_layout(False)
    axes.set_xlim(0, steps[-1] + 1)
    if panel.log and axes.dataLim.ymax > LOG_SPAN * axes.dataLim.minposy:
        axes.set_yscale("log", nonpositive="mask")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.yaxis.set_major_locator(MaxNLocator(6, steps=TICK_STEPS))
    if panel.line is not None:
        axes.axhline(panel.line, color="black", linestyle="--", linewidth=1)
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:.6g}"))
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=TICK_STEPS, integer=True))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    if len(panel.columns) > 1:
        axes.legend(frameon=False, fontsize=8)
