"""The energy of one imagined step over two numbers of the action, with what the expert would do marked in it.

Why this file exists: a search goes downhill on this surface. Where it is flat, or its valley lies elsewhere than the
expert's action, no search finds what the expert does.

Letters: G values of a number of the action, N tokens per frame, D width, M modes, A action, P state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure

from vjepa_wm.evaluation.diagnosis.candidate_bank import StateBank
from vjepa_wm.models.energy import l2_energy
from vjepa_wm.models.world_model import WorldModel

GRID = 11
"""Values G of each number of the action; odd, so that standing still is one of them."""
STATES_SHOWN = 4
"""The first states of a bank, whose landscapes are measured."""
Pair = tuple[int, int]


@dataclass(frozen=True, kw_only=True, eq=False)
class Landscape:
    """The surface of one state over one pair of numbers of the action."""

    pair: Pair
    """Which numbers of the action; all others are 0."""
    first: np.ndarray
    """Values of the first, (G,), in the units of the action."""
    second: np.ndarray
    """Values of the second, (G,)."""
    energies: np.ndarray
    """L2 energy against the goal of what is imagined after one such action, (G, G): [first, second]."""
    better_than_expert: float
    """Share of these actions that the energy prefers to the expert's whole action; not a number without an expert."""


def action_pairs(size: Sequence[float]) -> list[Pair]:
    """Return the pairs that are looked at: the first number that plans move with the second, and with the third."""
    moved = [k for k, largest in enumerate(size) if largest > 0]
    return [(moved[0], other) for other in moved[1:3]]


@torch.no_grad()
def measure_landscape(world_model: WorldModel, bank: StateBank, pair: Pair, size: Sequence[float]) -> Landscape:
    """Imagine a grid of actions.

    Args:
        world_model: imagines.
        bank: the state, and what the expert does there.
        pair: numbers of the action.
        size: largest size of each number of an action, (A,).
    """
    device = next(world_model.parameters()).device
    first, second = (torch.linspace(-size[k], size[k], GRID) for k in pair)
    actions = torch.zeros(GRID, GRID, len(size))
    actions[..., pair[0]], actions[..., pair[1]] = first[:, None], second[None, :]
    has_expert = bool(np.isfinite(bank.expert_action).all())
    expert = torch.from_numpy(bank.expert_action if has_expert else np.zeros_like(bank.expert_action))
    candidates = torch.cat((actions.flatten(0, 1), expert[None])).unsqueeze(1).to(device)
    z, z_goal = (torch.from_numpy(part.astype(np.float32)).to(device) for part in (bank.z_start, bank.z_goal))
    state = torch.from_numpy(bank.state).to(device)
    num = len(candidates)
    imagined = world_model.rollout(z.expand(num, 1, *z.shape), state.expand(num, 1, -1), candidates)[:, 0]
    energies = l2_energy(imagined, z_goal).cpu().numpy()
    return Landscape(
        pair=pair,
        first=first.numpy(),
        second=second.numpy(),
        energies=energies[:-1].reshape(GRID, GRID),
        better_than_expert=float((energies[:-1] < energies[-1]).mean()) if has_expert else float("nan"),
    )


def draw_landscapes(
    landscapes: Sequence[Sequence[Landscape]], banks: Sequence[StateBank], names: Sequence[str]
) -> Figure:
    """Draw the surfaces of some states, a row each, with the expert's action and the proposal's modes.

    Args:
        landscapes: of each state, one per pair.
        banks: of the same states.
        names: of the numbers of an action.

    Returns:
        The figure; dark is low energy, a cross the lowest, a star the expert, circles the modes, as large as their
        weight.
    """
    columns = len(landscapes[0])
    figure = Figure(figsize=(4.6 * columns, 3.8 * len(landscapes)), layout="constrained")
    grid = figure.subplots(len(landscapes), columns, squeeze=False)
    for k, (row, of_state, bank) in enumerate(zip(grid, landscapes, banks, strict=True)):
        for axes, landscape in zip(row, of_state, strict=True):
            figure.colorbar(_draw(axes, landscape, bank), ax=axes)
            axes.set_xlabel(names[landscape.pair[0]])
            axes.set_ylabel(names[landscape.pair[1]])
            better = landscape.better_than_expert
            axes.set_title(f"state {k}" + ("" if np.isnan(better) else f", {better:.0%} look better than the expert's"))
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    return figure


def _draw(axes: Axes, landscape: Landscape, bank: StateBank) -> ContourSet:
    """Draw one surface, and return what its colours mean."""
    first, second = landscape.pair
    surface = axes.contourf(landscape.first, landscape.second, landscape.energies.T, levels=20, cmap="viridis")
    best = np.unravel_index(landscape.energies.argmin(), landscape.energies.shape)
    at = landscape.first[best[0]], landscape.second[best[1]]
    axes.plot(*at, "X", color="white", markeredgecolor="black", markersize=9, clip_on=False, label="lowest energy")
    if len(bank.mode_means):
        x, y, areas = bank.mode_means[:, first], bank.mode_means[:, second], 15 + 200 * bank.mode_weights
        axes.scatter(x, y, s=areas, facecolors="none", edgecolors="tab:orange", label="proposal")
    if np.isfinite(bank.expert_action).all():
        expert = bank.expert_action
        axes.plot(expert[first], expert[second], "*", color="tab:red", markersize=12, label="expert")
    axes.set_xlim(landscape.first[0], landscape.first[-1])
    axes.set_ylim(landscape.second[0], landscape.second[-1])
    return surface
