"""Energies: how far a predicted latent is from the latent of the goal picture.

The planner minimises one of these; the evaluation plots it. The choice matters (with CEM, L2 does better than L1 in
most published comparisons, while V-JEPA 2-AC ships L1), so it has a name that a config can carry.

Letters: B batch, N tokens per frame, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch.nn.functional as F
from torch import Tensor

EnergyName = Literal["l1", "l2", "cosine"]
Energy = Callable[[Tensor, Tensor], Tensor]


def token_energy(z: Tensor, z_goal: Tensor, name: EnergyName) -> Tensor:
    """Measure how far each token is from the goal's.

    Args:
        z: normalised latents, (B, N, D).
        z_goal: normalised latent of the goal, (N, D), or one for each of the batch, (B, N, D).
        name: mean over the channels of the absolute difference (`l1`), of its square (`l2`), or 1 minus the cosine.

    Returns:
        (B, N).

    Raises:
        ValueError: if the shapes do not fit each other, or no energy has this name.
    """
    if z.ndim != 3 or z_goal.shape not in (z.shape, z.shape[1:]):
        raise ValueError(
            f"z must be (B, N, D) and z_goal (N, D) or (B, N, D), got {tuple(z.shape)} and {tuple(z_goal.shape)}"
        )
    if name == "l1":
        return (z - z_goal).abs().mean(dim=-1)
    if name == "l2":
        return (z - z_goal).square().mean(dim=-1)
    if name == "cosine":
        return 1.0 - F.cosine_similarity(z, z_goal.expand_as(z), dim=-1)
    raise ValueError(f"unknown energy {name!r}; known energies: {', '.join(get_args(EnergyName))}")


def l1_energy(z: Tensor, z_goal: Tensor) -> Tensor:
    """Measure the mean absolute difference over tokens and channels; arguments as of `token_energy`.

    Returns:
        Energies, (B,).

    Source: V-JEPA 2 (arXiv 2506.09985), section 3.2.
    """
    return token_energy(z, z_goal, "l1").mean(dim=-1)


def l2_energy(z: Tensor, z_goal: Tensor) -> Tensor:
    """Measure the mean squared difference over tokens and channels; arguments as of `token_energy`.

    Returns:
        Energies, (B,).

    Source: JEPA-WMs (arXiv 2512.24497), planning objective.
    """
    return token_energy(z, z_goal, "l2").mean(dim=-1)


def cosine_energy(z: Tensor, z_goal: Tensor) -> Tensor:
    """Measure 1 minus the cosine of each pair of tokens, averaged; arguments as of `token_energy`.

    Returns:
        Energies, (B,).
    """
    return token_energy(z, z_goal, "cosine").mean(dim=-1)


def energy(name: EnergyName) -> Energy:
    """Give the energy function of a name.

    Raises:
        ValueError: if no energy has this name.
    """
    known: dict[EnergyName, Energy] = {"l1": l1_energy, "l2": l2_energy, "cosine": cosine_energy}
    if name not in known:
        raise ValueError(f"unknown energy {name!r}; known energies: {', '.join(known)}")
    return known[name]
