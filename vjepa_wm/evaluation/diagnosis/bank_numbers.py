"""From the latents of a bank to numbers: what each energy says of each candidate, and how far imagination was off.

Letters: S states, F futures, E energies, K candidates, H horizon, R = S * K sequences.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vjepa_wm.agents.cost import CostConfig, GoalDistance, Imagined
from vjepa_wm.evaluation.diagnosis.bank_report import BankNumbers, bank_energies
from vjepa_wm.evaluation.diagnosis.candidate_bank import StateBank
from vjepa_wm.evaluation.diagnosis.open_loop import has_moved
from vjepa_wm.models.energy import l2_energy
from vjepa_wm.models.proposal import Proposal


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """A bank in numbers."""

    bank: BankNumbers
    """What energies say, and what is true."""
    imagined_errors: np.ndarray
    """L2 energy between imagined and true latents after each action, (R, H)."""
    still_errors: np.ndarray
    """L2 energy between the first and the true latents, (R, H)."""
    moved: np.ndarray | None
    """In which sequences an object moved, (R,) bool; None: there are no objects."""

    def arrays(self) -> dict[str, np.ndarray]:
        """Return all arrays by name."""
        named = {name: np.asarray(getattr(self.bank, name)) for name in BankNumbers.__dataclass_fields__}
        named |= {"imagined_errors": self.imagined_errors, "still_errors": self.still_errors}
        return named if self.moved is None else named | {"moved": self.moved}


def measure(banks: Iterable[StateBank], proposal: Proposal | None = None) -> Measured:
    """Turn the banks of states into numbers, one after the other.

    Args:
        banks: of the states.
        proposal: of the world model, whose readings are compared too; None: there is none.
    """
    has_scene = proposal is not None and proposal.config.scene_dim > 0
    energies = bank_energies(reading=proposal is not None, scene=has_scene)
    parts = [GoalDistance(CostConfig(energy=energy, steps=steps), proposal) for energy, steps in energies]
    costs, starts, distances, reached, errors, moved = [], [], [], [], [], []
    sources, has_objects = np.array([]), False
    for bank in banks:
        costs.append(np.stack([_costs(bank, z, parts) for z in (bank.z_true, bank.z_imagined)]))
        starts.append(bank.distances[0, 0])
        distances.append(bank.distances[:, -1])
        reached.append(bank.reached[:, -1])
        errors.append(_errors(bank))
        moved.append(has_moved(bank.objects))
        sources, has_objects = bank.sources, bank.objects.shape[-1] > 0
    numbers = BankNumbers(
        sources=sources,
        energies=energies,
        costs=np.stack(costs),
        starts=np.array(starts),
        distances=np.stack(distances),
        reached=np.stack(reached),
    )
    imagined, still = (np.concatenate(part) for part in zip(*errors, strict=True))
    return Measured(
        bank=numbers,
        imagined_errors=imagined,
        still_errors=still,
        moved=np.concatenate(moved) if has_objects else None,
    )


@torch.no_grad()
def _costs(bank: StateBank, z: np.ndarray, parts: Sequence[GoalDistance]) -> np.ndarray:
    """Return what each energy says of latents (K, H, N, D), (E, K): the same part of a cost that plans minimise."""
    imagined = Imagined(
        z=_full(z),
        actions=torch.from_numpy(bank.actions),
        z_start=_full(bank.z_start),
        z_goal=_full(bank.z_goal),
        state=torch.from_numpy(bank.state),
    )
    return np.stack([part(imagined).numpy() for part in parts])


def _errors(bank: StateBank) -> tuple[np.ndarray, np.ndarray]:
    """Return the errors of imagination and of standing still, (K, H) each."""
    true = _full(bank.z_true)
    shape, flat = true.shape[:2], true.flatten(0, 1)
    imagined = l2_energy(_full(bank.z_imagined).flatten(0, 1), flat)
    still = l2_energy(flat, _full(bank.z_start))
    return imagined.unflatten(0, shape).numpy(), still.unflatten(0, shape).numpy()


def _full(z: np.ndarray) -> Tensor:
    return torch.from_numpy(z.astype(np.float32))
