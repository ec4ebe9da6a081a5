"""How far objects are from where imagination puts them, beside the error of "the object stays where it is".

Why this file exists: a predictor's loss hardly tells whether it moves objects, since the robot fills most of the
picture. Here a probe reads objects off true latents of training episodes, then off latents imagined for held-out ones
under their recorded actions. Labels only measure: nothing of the world model is trained with them.

Letters: F frames, W windows, H imagined steps, N tokens per frame, D width, O numbers that say where an object is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vjepa_wm.data.latents.latent_set import LatentSet
from vjepa_wm.data.randomness import generator_for
from vjepa_wm.models.frame_readout import FrameReadout
from vjepa_wm.models.world_model import WorldModel
from vjepa_wm.safe_files import write_json

IMAGINED_OBJECTS_FILE = "imagined_objects.json"
HORIZONS = (1, 2, 4, 8)
"""Imagined steps after which objects are read."""
MAX_WINDOWS = 256
"""Held-out windows of a data set that are imagined."""
MOVED, TURNED = 0.01, 0.1
"""An object has moved where it is farther than this from where it was [m], or has turned by more [rad]."""
PROBE_STEPS, PROBE_BATCH = 600, 128
HEADING = "yaw"
"""Name of the number that is a heading [rad]; all others are places [m]."""
Motion = Literal["all", "moved", "at rest"]


@dataclass(frozen=True, kw_only=True)
class ImaginedObjects:
    """Errors of an object's place and heading after some imagined steps, means over windows."""

    data: int
    """Which of the data sets, by its place in `--data`."""
    motion: Motion
    """Of windows in which the object has moved until then, has not, or of all."""
    step: int
    """After how many actions."""
    windows: int
    """How many these are."""
    object_error: float
    """Read off imagined latents [cm]."""
    still: float
    """If it stayed where it is read in the first frame [cm]."""
    seen: float
    """Read off the true later latents: the probe's own error [cm]."""
    object_turn: float | None
    """As object_error, of the heading [rad]; None without one."""
    still_turn: float | None
    """As still [rad]."""
    seen_turn: float | None
    """As seen [rad]."""


class ObjectProbe:
    """Reads objects' numbers off latents.

    The heading is read as sine and cosine, which unlike the angle never jump.
    """

    def __init__(self, sets: LatentSet, seed: int, device: torch.device) -> None:
        """Fit on all frames of the episodes.

        Args:
            sets: episodes whose data set tells objects.
            seed: the same seed gives the same probe.
            device: where it is fitted and reads.
        """
        assert sets.objects is not None  # the caller leaves out what tells none
        self.device = device
        self._angles = np.array([name == HEADING for name in sets.object_names])
        rows = sets.frames()
        targets = self._encode(torch.from_numpy(sets.objects[rows]))
        self._mean, self._scale = targets.mean(dim=0), targets.std(dim=0).clamp_min(1e-4)
        num_tokens, encoder_dim = sets.z.shape[1:]
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self._net = FrameReadout(num_tokens, encoder_dim, targets.shape[1], reader_dim=32).to(device)
        self._fit(sets, rows, (targets - self._mean) / self._scale, seed)

    @torch.no_grad()
    def read(self, z: Tensor) -> Tensor:
        """Read the objects of frames (..., N, D), (..., O) on the CPU."""
        values = self._net(z.flatten(0, -3).to(self.device)).cpu() * self._scale + self._mean
        num_angles = int(self._angles.sum())
        places, sine, cosine = values.split((values.shape[1] - 2 * num_angles, num_angles, num_angles), dim=1)
        objects = values.new_empty(len(values), len(self._angles))
        objects[:, ~self._angles], objects[:, self._angles] = places, torch.atan2(sine, cosine)
        return objects.unflatten(0, z.shape[:-2])

    def errors(self, ours: Tensor, theirs: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the distance [m] and, where there is a heading, the angle [rad] between objects (..., O)."""
        difference = ours - theirs
        distance = difference[..., ~self._angles].norm(dim=-1)
        if not self._angles.any():
            return distance, None
        turn = difference[..., self._angles].squeeze(-1)
        return distance, torch.atan2(turn.sin(), turn.cos()).abs()

    def _encode(self, objects: Tensor) -> Tensor:
        turns = objects[:, self._angles]
        return torch.cat((objects[:, ~self._angles], turns.sin(), turns.cos()), dim=1)

    def _fit(self, sets: LatentSet, rows: np.ndarray, targets: Tensor, seed: int) -> None:
        optimizer = torch.optim.AdamW(self._net.parameters(), lr=2e-3, weight_decay=0.05)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, PROBE_STEPS)
        for step in range(PROBE_STEPS):
            drawn = torch.randint(len(rows), (PROBE_BATCH,), generator=generator_for(seed, step))
            read = self._net(sets.read_z(rows[drawn.numpy()], self.device))
            loss = F.mse_loss(read, targets[drawn].to(self.device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()


@torch.no_grad()
def imagined_objects(
    model: WorldModel, probe: ObjectProbe, held_out: LatentSet, *, data: int = 0
) -> list[ImaginedObjects]:
    """Measure where objects are imagined.

    Args:
        model: imagines.
        probe: reads objects, fitted on other episodes of the same data set.
        held_out: episodes whose windows are imagined from their first frame on, under their recorded actions.
        data: which data set they are of, for the records.

    Returns:
        For each of `HORIZONS` that the longest episode allows, of all windows and of those in which the object has
        moved and has not; groups without a window are left out.
    """
    assert held_out.objects is not None
    horizons = [step for step in HORIZONS if step < held_out.lengths.max()]
    if not horizons:
        return []
    starts = held_out.window_starts(horizons[-1] + 1)
    starts = starts[np.linspace(0, len(starts) - 1, min(MAX_WINDOWS, len(starts))).astype(np.int64)]
    z, actions, states = held_out.windows(starts, horizons[-1] + 1, probe.device)
    imagined = model.rollout(z[:, :1], states[:, :1], actions[:, None, :-1])[:, 0]
    true = torch.from_numpy(held_out.objects[starts[:, None] + np.arange(horizons[-1] + 1)])
    guesses = [probe.read(imagined), probe.read(z[:, :1]).expand(-1, horizons[-1], -1), probe.read(z[:, 1:])]
    errors = [probe.errors(guess, true[:, 1:]) for guess in guesses]
    distance, turn = probe.errors(true[:, 1:], true[:, :1])
    moved = distance > MOVED if turn is None else (distance > MOVED) | (turn > TURNED)
    groups: dict[Motion, Tensor] = {"all": torch.ones_like(moved), "moved": moved, "at rest": ~moved}
    return [
        _row(data, motion, step, chosen[:, step - 1], errors)
        for motion, chosen in groups.items()
        for step in horizons
        if chosen[:, step - 1].any()
    ]


def _row(
    data: int, motion: Motion, step: int, chosen: Tensor, errors: Sequence[tuple[Tensor, Tensor | None]]
) -> ImaginedObjects:
    """Average the errors (W, H) of imagined, still and seen objects over the chosen windows (W,)."""
    places = [100 * float(distance[chosen, step - 1].mean()) for distance, _ in errors]
    turns = [None if turn is None else float(turn[chosen, step - 1].mean()) for _, turn in errors]
    return ImaginedObjects(
        data=data,
        motion=motion,
        step=step,
        windows=int(chosen.sum()),
        object_error=places[0],
        still=places[1],
        seen=places[2],
        object_turn=turns[0],
        still_turn=turns[1],
        seen_turn=turns[2],
    )


def report_imagined_objects(
    model: WorldModel,
    train: Sequence[LatentSet],
    held_out: Sequence[LatentSet],
    out: Path,
    *,
    seed: int = 0,
) -> list[ImaginedObjects]:
    """Measure on every data set that tells objects, print it, and write `imagined_objects.json` into `out`.

    Args:
        model: imagines; on the device of its weights.
        train: episodes to fit probes on, of each data set.
        held_out: other episodes of the same data sets.
        out: folder of the run; nothing is written where no data set tells objects.
        seed: decides the probes.
    """
    device = next(model.predictor.parameters()).device
    rows: list[ImaginedObjects] = []
    for data, (fitted, measured) in enumerate(zip(train, held_out, strict=True)):
        if fitted.objects is not None:
            rows += imagined_objects(model, ObjectProbe(fitted, seed, device), measured, data=data)
    if rows:
        write_json(out / IMAGINED_OBJECTS_FILE, {"rows": [asdict(row) for row in rows]})
        print("\n".join(text_lines(rows)))
    return rows


def text_lines(rows: Sequence[ImaginedObjects]) -> list[str]:
    """Say the errors in a line for each data set and kind of window."""
    groups = dict.fromkeys((row.data, row.motion) for row in rows)
    lines = []
    for data, motion in groups:
        own = [row for row in rows if (row.data, row.motion) == (data, motion)]
        steps = ", ".join(str(row.step) for row in own)
        parts = [f"{name} {_series(own, field)}" for name, field in _SHOWN]
        lines.append(f"data set {data + 1}, object {motion}, after {steps} steps: " + "; ".join(parts))
    return lines


_SHOWN = (("imagined", "object_error"), ("standing still", "still"), ("seen", "seen"))


def _series(rows: Sequence[ImaginedObjects], field: str) -> str:
    """Return one error of all steps, places and headings."""
    text = ", ".join(f"{getattr(row, field):.1f}" for row in rows) + " cm"
    turn = "object_turn" if field == "object_error" else f"{field}_turn"
    turns = [getattr(row, turn) for row in rows]
    return text if None in turns else text + " and " + ", ".join(f"{value:.2f}" for value in turns) + " rad"
