"""What shows a training run: a progress bar or lines of text, metrics.csv, TensorBoard, and curves at the end.

A terminal gets a bar. Anything else, such as the log file of a Slurm job, gets one line of text per row of metrics,
because a bar is unreadable there. What depends on the clock (speed, memory) goes to the bar, the text and TensorBoard
only, so that a run that was resumed leaves the same metrics.csv as one that never stopped.
"""

from __future__ import annotations

import logging
import sys
import time
from collections import deque
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

import torch
from tqdm import tqdm

from vjepa_wm.training.run.curves import draw_curves
from vjepa_wm.training.run.distributed import World
from vjepa_wm.training.run.metrics import MetricsWriter

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

logger = logging.getLogger(__name__)

SHOWN = (
    "loss",
    "teacher_loss",
    "val_over_copy",
    "latent_loss",
    "val_over_before",
    "val_old",
    "target_std",
    "target_rank",
    "linear_val",
    "attentive_1_val",
    "attentive_4_val",
    "finetuned_val",
)
"""Metrics that the bar and the lines of text show, where a run has them."""
NUM_MARKS = 10
"""Rows of metrics over which the speed is averaged that the time left is computed from."""
GIB = 2**30


class Pace:
    """How fast a run is, from the moments at which steps ended."""

    def __init__(self, first_step: int, now: float) -> None:
        """Begin.

        Args:
            first_step: the step that the run begins with.
            now: when it began [s].
        """
        self._begin = (now, first_step)
        self._marks: deque[tuple[float, int]] = deque(maxlen=NUM_MARKS)

    def begin(self, done: int, now: float) -> None:
        """Note the end of the first step; what came before, such as reading the first videos, is not speed."""
        if not self._marks:
            self._marks.append((now, done))

    def mark(self, done: int, now: float) -> tuple[float, float]:
        """Note how many steps are done and return the speed.

        Args:
            done: number of steps done, more than at the beginning.
            now: the time [s].

        Returns:
            Steps per second since the mark before, and as the mean of the last `NUM_MARKS` marks.
        """
        earlier = [mark for mark in self._marks if mark[1] < done] or [self._begin]
        rates = [(done - steps) / max(now - moment, 1e-9) for moment, steps in (earlier[-1], earlier[0])]
        self._marks.append((now, done))
        return rates[0], rates[1]


class RunLog:
    """Everything that shows one training run; used as a context manager."""

    def __init__(
        self,
        folder: str | Path,
        *,
        first_step: int = 0,
        total_steps: int,
        samples_per_step: int,
        tensorboard: bool = False,
        name: str = "pretrain",
        samples: str = "clips",
    ) -> None:
        """Begin the log.

        Args:
            folder: folder of the run, made if missing; gets `metrics.csv`, `metrics.png` and, if asked for,
                `tensorboard/`.
            first_step: the step that this process begins with; rows and points of that step and later ones, which a run
                that was killed has left, are dropped.
            total_steps: steps of the whole run.
            samples_per_step: samples that all processes together use in a step.
            tensorboard: whether to write TensorBoard files too.
            name: what bar and lines of text begin with.
            samples: what the samples are called there.

        Raises:
            ValueError: if TensorBoard is asked for and not installed.
        """
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.total_steps = total_steps
        self.samples_per_step = samples_per_step
        self.name = name
        self.samples = samples
        self._board = open_tensorboard(self.folder / "tensorboard", first_step) if tensorboard else None
        self._csv = MetricsWriter(self.folder / "metrics.csv", first_step=first_step)
        self._pace = Pace(first_step, time.perf_counter())
        self._shown: dict[str, float] = {}
        self._has_rows = False
        self._bar = None
        if sys.stderr.isatty():
            self._bar = tqdm(
                total=total_steps, initial=first_step, desc=name, unit="step", mininterval=1.0, dynamic_ncols=True
            )

    def step(self, step: int) -> None:
        """Note the end of an optimizer step; called after each."""
        self._pace.begin(step + 1, time.perf_counter())
        if self._bar is not None:
            self._bar.update(step + 1 - self._bar.n)

    def write(self, step: int, values: dict[str, float]) -> None:
        """Record and show metrics, after `step` was called for the step.

        Args:
            step: the step they belong to, counted from 0.
            values: metrics by name; a name may come later than others or be missing at times.
        """
        done = step + 1
        rate, mean_rate = self._pace.mark(done, time.perf_counter())
        memory = peak_memory()
        self._csv.write(step, values)
        self._has_rows = True
        if self._board is not None:
            machine = {"steps_per_second": rate, f"{self.samples}_per_second": rate * self.samples_per_step}
            if memory is not None:
                machine["peak_memory_gib"] = memory / GIB
            for group, numbers in (("metrics", values), ("machine", machine)):
                for key, value in numbers.items():
                    self._board.add_scalar(f"{group}/{key}", value, step)
            self._board.flush()
        self._shown |= {key: values[key] for key in SHOWN if key in values}
        shown = [f"{key} {short_number(self._shown[key])}" for key in SHOWN if key in self._shown]
        speed = f"{short_number(rate * self.samples_per_step)} {self.samples}/s"
        size = [] if memory is None else [f"{memory / GIB:.1f} GiB"]
        if self._bar is not None:
            self._bar.set_postfix_str(", ".join([*shown, speed, *size]))
            return
        left = f"{duration((self.total_steps - done) / mean_rate)} left"
        progress = f"{self.name} {done}/{self.total_steps}  {done / self.total_steps:4.0%}"
        logger.info("%s", "  ".join([progress, f"{short_number(rate)} steps/s", speed, left, *size, *shown]))

    def close(self) -> None:
        """Close the files and draw `metrics.png`; a second call does nothing."""
        if self._bar is not None:
            self._bar.close()
        if self._board is not None:
            self._board.close()
        if self._has_rows:
            self._has_rows = False
            draw_curves(self._csv.path, self.folder / "metrics.png")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def open_tensorboard(folder: Path, first_step: int) -> SummaryWriter:
    """Open a file of TensorBoard points that hides those that an earlier process wrote for `first_step` and later.

    Raises:
        ValueError: if TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ValueError(
            "TensorBoard is not installed: pip install 'vjepa_wm[log]', or leave --tensorboard out"
        ) from error
    return SummaryWriter(folder, purge_step=first_step)


def peak_memory() -> int | None:
    """Return the most memory that this process has used so far [bytes].

    Returns:
        With CUDA in use, memory of tensors on the fullest GPU; else resident memory, without that of data workers;
        none where the system does not tell (Windows).
    """
    if torch.cuda.is_initialized():
        return max(torch.cuda.max_memory_allocated(index) for index in range(torch.cuda.device_count()))
    if sys.platform == "win32":
        return None
    import resource  # Windows has none

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, Linux KiB


def duration(seconds: float) -> str:
    """Return a time in its two largest units, for people: 45 s, 39 min, 2 h 05 min, 3 d 4 h."""
    minutes = round(seconds / 60)
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    hours = round(seconds / 3600)
    return f"{hours // 24} d {hours % 24} h"


def short_number(value: float) -> str:
    """Return a number with three digits, or as an integer from 100 on."""
    return f"{value:.0f}" if abs(value) >= 99.95 else f"{value:#.3g}"


class LoggedRun(Protocol):
    """Options of a run that its log wants."""

    @property
    def out(self) -> Path:
        """Folder of the run."""
        ...

    @property
    def batch_size(self) -> int:
        """Samples per step."""
        ...

    @property
    def tensorboard(self) -> bool:
        """Whether to write TensorBoard files too."""
        ...


def open_log(
    config: LoggedRun, world: World, first_step: int, total_steps: int, *, name: str, samples: str
) -> AbstractContextManager[RunLog | None]:
    """Return the log of a run, as of `RunLog`, in the process that writes it, None in the others."""
    if not world.is_main:
        return nullcontext()
    return RunLog(
        config.out,
        first_step=first_step,
        total_steps=total_steps,
        samples_per_step=config.batch_size,
        tensorboard=config.tensorboard,
        name=name,
        samples=samples,
    )
