"""Energies: how far a predicted latent is from the latent of the goal picture.

The planner minimises one of these; the evaluation plots it. The choice matters (with CEM, L2 does better than L1 in
most published comparisons, while V-JEPA 2-AC ships L1), so it has a name that a config can carry.

Letters: B batch, N tokens per frame, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

from torch import Tensor

EnergyName = Literal["l1", "l2"]
Energy = Callable[[Tensor, Tensor], Tensor]


def l1_energy(z: Tensor, z_goal: Tensor) -> Tensor:
    """Measure the mean absolute difference over tokens and channels.

    Args:
        z: normalised latents, (B, N, D).
        z_goal: normalised latent of the goal, (N, D), or one for each of the batch, (B, N, D).

    Returns:
        Energies, (B,).

    Raises:
        ValueError: if the shapes do not fit each other.

    Source: V-JEPA 2 (arXiv 2506.09985), section 3.2.
    """
    _check_shapes(z, z_goal)
    return (z - z_goal).abs().mean(dim=(-2, -1))


def l2_energy(z: Tensor, z_goal: Tensor) -> Tensor:
    """Measure the mean squared difference over tokens and channels.

    Args:
        z: normalised latents, (B, N, D).
        z_goal: normalised latent of the goal, (N, D), or one for each of the batch, (B, N, D).

    Returns:
        Energies, (B,).

    Raises:
        ValueError: if the shapes do not fit each other.

    Source: JEPA-WMs (arXiv 2512.24497), planning objective.
    """
    _check_shapes(z, z_goal)
    return (z - z_goal).square().mean(dim=(-2, -1))


def energy(name: EnergyName) -> Energy:
    """Give the energy function of a name.

    Args:
        name: "l1" or "l2".

    Returns:
        `l1_energy` or `l2_energy`.

    Raises:
        ValueError: if no energy has this name.
    """
    if name == "l1":
        return l1_energy
    if name == "l2":
        return l2_energy
    raise ValueError(f"unknown energy {name!r}; known energies: {', '.join(get_args(EnergyName))}")


def _check_shapes(z: Tensor, z_goal: Tensor) -> None:
    if z.ndim != 3 or z_goal.shape not in (z.shape, z.shape[1:]):
        raise ValueError(
            f"z must be (B, N, D) and z_goal (N, D) or (B, N, D), got {tuple(z.shape)} and {tuple(z_goal.shape)}"
        )
