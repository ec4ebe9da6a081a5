"""Numbers that change over a training run, as pure functions of the step.

Source: V-JEPA 2 (arXiv 2506.09985), appendix: warm-up, constant, decay; V-JEPA (arXiv 2404.08471): cosine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class WarmupConstantDecay:
    """A linear rise, a plateau and a linear fall."""

    start: float
    """Value before the first step of the rise."""
    peak: float
    """Value of the plateau."""
    end: float
    """Value at the last step."""
    warmup_steps: int
    """Length of the rise."""
    decay_steps: int
    """Length of the fall, at the end."""
    total_steps: int
    """Length of the run."""

    def __post_init__(self) -> None:
        if self.warmup_steps < 0 or self.decay_steps < 0 or self.warmup_steps + self.decay_steps > self.total_steps:
            raise ValueError(
                f"warmup_steps {self.warmup_steps} and decay_steps {self.decay_steps} must fit into total_steps "
                f"{self.total_steps}"
            )

    def __call__(self, step: int) -> float:
        """Return the value for step 0, 1, ...; the first already includes one increment."""
        done = step + 1
        if done < self.warmup_steps:
            return self.start + (self.peak - self.start) * done / self.warmup_steps
        left = self.total_steps - done
        if left < self.decay_steps:
            return self.end + (self.peak - self.end) * left / self.decay_steps
        return self.peak


@dataclass(frozen=True, kw_only=True)
class WarmupCosine:
    """A linear rise, then half a cosine down."""

    start: float
    """Value before the first step of the rise."""
    peak: float
    """Value at the end of the rise."""
    end: float
    """Value at the last step."""
    warmup_steps: int
    """Length of the rise."""
    total_steps: int
    """Length of the run."""

    def __post_init__(self) -> None:
        if not 0 <= self.warmup_steps <= self.total_steps:
            raise ValueError(f"warmup_steps {self.warmup_steps} must fit into total_steps {self.total_steps}")

    def __call__(self, step: int) -> float:
        """Return the value for step 0, 1, ...; the first already includes one increment."""
        done = step + 1
        if done < self.warmup_steps:
            return self.start + (self.peak - self.start) * done / self.warmup_steps
        return cosine_ramp(done - self.warmup_steps, self.peak, self.end, self.total_steps - self.warmup_steps + 1)


def cosine_ramp(step: int, start: float, end: float, total_steps: int) -> float:
    """Return the value on half a cosine from `start` at step 0 to `end` at the last step."""
    share = min(step / max(total_steps - 1, 1), 1.0)
    return end + (start - end) * 0.5 * (1.0 + math.cos(math.pi * share))


def linear_ramp(step: int, start: float, end: float, total_steps: int) -> float:
    """Return the value on the line from `start` at step 0 to `end` at the last step."""
    return start + (end - start) * min(step / max(total_steps - 1, 1), 1.0)
