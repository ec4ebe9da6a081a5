"""What every training stage shares: the options of a run, its learning rate and its randomness."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch

from vjepa_wm.checks import check_at_least, check_positive, check_within
from vjepa_wm.data.randomness import generator_for
from vjepa_wm.models.checkpoint import CheckpointError, is_plain_number, read_json
from vjepa_wm.models.precision import Precision, pick_device
from vjepa_wm.safe_files import write_json
from vjepa_wm.training.run.run_record import CONTENT, refuse_another_run, run_record, told_apart
from vjepa_wm.training.run.schedules import WarmupConstantDecay, WarmupCosine, cosine_ramp
from vjepa_wm.training.run.state_folder import has_training_state


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Options of a training run; each stage adds its own and sets the defaults."""

    out: Path
    """Folder for checkpoints and metrics; a run found there is resumed."""
    steps: int
    """Optimizer steps."""
    batch_size: int
    """Samples per step."""
    learning_rate: float = 1e-3
    """Highest rate."""
    learning_rate_start: float | None = None
    """Rate that the rise begins with; none: a tenth of the highest."""
    learning_rate_end: float | None = None
    """Rate that the fall ends with; none: a thousandth of the highest."""
    schedule: Literal["constant", "cosine"] = "constant"
    """What the rate does after its rise: stay until it falls at the end (V-JEPA 2), or fall as a cosine (V-JEPA)."""
    warmup_share: float = 0.05
    """Share of the steps in which the rate rises."""
    decay_share: float = 0.3
    """Share of the steps, at the end, in which a constant rate falls."""
    schedule_stretch: float = 1.0
    """Length of all schedules over that of the run, which then ends before they do (V-JEPA: 1.25)."""
    weight_decay: float = 0.04
    """Decay of the weight matrices."""
    weight_decay_end: float | None = None
    """Decay at the last step, reached along a cosine; none: it stays (V-JEPA went from 0.04 to 0.4)."""
    clip_grad_norm: float | None = 1.0
    """Largest norm of the gradient; none: any."""
    precision: Precision = "auto"
    """auto takes bf16 where the processor has it."""
    device: str = "auto"
    """auto takes a GPU if there is one."""
    seed: int = 0
    """Decides initial weights and everything that is drawn."""
    log_every: int = 50
    """Steps between rows of metrics."""
    save_every: int = 500
    """Steps between checkpoints."""
    tensorboard: bool = False
    """Write TensorBoard files too (needs the extra `log`)."""

    free_options: ClassVar[tuple[str, ...]] = ("out", "device", "log_every", "save_every", "tensorboard")
    """Options that a run may go on with otherwise than it began, since what is trained does not depend on them; a name
    with a dot is an option of a part. There may be more steps, too, but not less."""

    def __post_init__(self) -> None:
        check_at_least(1, steps=self.steps, batch_size=self.batch_size)
        check_at_least(1, log_every=self.log_every, save_every=self.save_every, schedule_stretch=self.schedule_stretch)
        check_at_least(0, seed=self.seed, learning_rate=self.learning_rate)
        check_at_least(0, learning_rate_start=self.learning_rate_start, learning_rate_end=self.learning_rate_end)
        check_at_least(0, weight_decay=self.weight_decay, weight_decay_end=self.weight_decay_end)
        check_positive(clip_grad_norm=self.clip_grad_norm)
        check_within(0, 1, warmup_share=self.warmup_share, decay_share=self.decay_share)
        if self.schedule == "constant" and self.warmup_share + self.decay_share > self.schedule_stretch + 1e-9:
            raise ValueError(
                f"warmup_share {self.warmup_share} and decay_share must add up to at most {self.schedule_stretch:g}, "
                f"got {self.decay_share}"
            )
        pick_device(self.device)

    @property
    def schedule_steps(self) -> int:
        """Steps after which the schedules would end."""
        return round(self.schedule_stretch * self.steps)

    def rate_schedule(self) -> WarmupConstantDecay | WarmupCosine:
        """Return the learning rate of every step."""
        peak, warmup_steps = self.learning_rate, round(self.warmup_share * self.steps)
        start = 0.1 * peak if self.learning_rate_start is None else self.learning_rate_start
        end = 1e-3 * peak if self.learning_rate_end is None else self.learning_rate_end
        if self.schedule == "cosine":
            return WarmupCosine(
                start=start, peak=peak, end=end, warmup_steps=warmup_steps, total_steps=self.schedule_steps
            )
        return WarmupConstantDecay(
            start=start,
            peak=peak,
            end=end,
            warmup_steps=warmup_steps,
            decay_steps=round(self.decay_share * self.steps),
            total_steps=self.schedule_steps,
        )

    def decay_at(self, step: int) -> float:
        """Return the weight decay of a step."""
        end = self.weight_decay if self.weight_decay_end is None else self.weight_decay_end
        return cosine_ramp(step, self.weight_decay, end, self.schedule_steps)

    def is_due(self, step: int, every: int) -> bool:
        """Tell whether something done every so many steps, and at the last, is done after this one."""
        return (step + 1) % every == 0 or step + 1 == self.steps

    def record(self, name: str, **content: object) -> None:
        """Make the folder of the run and write into it what the run is, for people and for `check_same_run`.

        Args:
            name: of the file.
            content: as of `run_record`.
        """
        write_json(self.out / name, self._record(content))

    def check_same_run(self, name: str, **content: object) -> None:
        """Make sure that the run whose state lies in the folder, if any does, is this one; arguments as of `record`.

        To be called before the state is read, whose tensors may be others if options are.

        Raises:
            CheckpointError: if it is not, naming the differences.
        """
        if not has_training_state(self.out) or not (self.out / name).exists():
            return
        found = read_json(self.out / name)
        if not is_plain_number(found.get("steps", 0), whole=True) or not isinstance(found.get(CONTENT, {}), dict):
            raise CheckpointError(f"{self.out / name} is not the record of a run; choose another folder")
        refuse_another_run(self.out, self._told_apart(found, self._record(content)))

    def _record(self, content: Mapping[str, object]) -> dict[str, Any]:
        return run_record(dataclasses.asdict(self), content)

    def _told_apart(self, found: dict[str, Any], asked: dict[str, Any]) -> list[str]:
        return told_apart(found, asked, self.free_options)


def step_generator(seed: int, step: int, rank: int = 0) -> torch.Generator:
    """Return the source of all randomness of one step and process, so that a resumed run draws as it would have."""
    return generator_for(seed, step, rank)
