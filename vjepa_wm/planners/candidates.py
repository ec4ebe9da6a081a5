"""Candidates: the mean that a search begins at, what the caller proposes, and what is drawn around the mean.

Letters: K candidates, C of them given by the caller, H horizon, A action dimensions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vjepa_wm.checks import check_at_least
from vjepa_wm.planners.action_box import ActionBox


def start_mean(horizon: int, box: ActionBox, warm_start: Tensor | None) -> Tensor:
    """Give the first mean, inside the box.

    Args:
        horizon: number of steps H.
        box: the allowed actions.
        warm_start: sequence to begin at, (H, A); the action nearest to zero if None.

    Returns:
        The mean, (H, A).

    Raises:
        ValueError: if horizon is below 1, or the warm start has another shape.
    """
    check_at_least(1, horizon=horizon)
    if warm_start is None:
        return box.start.expand(horizon, box.dim)
    if warm_start.shape != (horizon, box.dim):
        raise ValueError(
            f"warm_start must have the shape (horizon, A) ({horizon}, {box.dim}), got {tuple(warm_start.shape)}"
        )
    return box.project(warm_start.to(box.low))


def place(drawn: Tensor, candidates: Tensor | None, box: ActionBox, *, num_kept: int = 0) -> Tensor:
    """Put the caller's candidates in the place of the last draws.

    Args:
        drawn: what was drawn, (K, H, A).
        candidates: what the caller gave, (C, H, A), or None.
        box: the allowed actions.
        num_kept: how many of the first draws must stay.

    Returns:
        As many candidates as were drawn, all in the box, (K, H, A).

    Raises:
        ValueError: if the caller's candidates have another shape, or are too many.
    """
    if candidates is None:
        return drawn
    proposed = allowed(candidates, drawn.shape[1], box)
    most = len(drawn) - num_kept
    if len(proposed) > most:
        raise ValueError(f"candidates must be at most {most}, the draws they take the place of, got {len(proposed)}")
    return torch.cat([drawn[: len(drawn) - len(proposed)], proposed])


def allowed(candidates: Tensor, horizon: int, box: ActionBox) -> Tensor:
    """Move the caller's candidates into the box.

    Args:
        candidates: any sequences, (C, H, A).
        horizon: number of steps H.
        box: the allowed actions.

    Returns:
        Allowed sequences, (C, H, A).

    Raises:
        ValueError: if the candidates have another shape.
    """
    if candidates.ndim != 3 or candidates.shape[1:] != (horizon, box.dim):
        raise ValueError(
            f"candidates must have the shape (C, horizon, A) (C, {horizon}, {box.dim}), got {tuple(candidates.shape)}"
        )
    return box.project(candidates.to(box.low))


def draw(
    num: int, mean: Tensor, std: Tensor, box: ActionBox, generator: torch.Generator, *, noise_beta: float = 0.0
) -> Tensor:
    """Draw sequences around a mean and move them into the box.

    The numbers are drawn where the generator lives, so that a plan does not depend on the device it is scored on.

    Args:
        num: how many, K.
        mean: the mean, (H, A).
        std: the standard deviation, (H, A) or (A,).
        box: the allowed actions.
        generator: source of the randomness.
        noise_beta: colour of the noise, as for `colour`.

    Returns:
        The sequences, (K, H, A).
    """
    noise = torch.randn((num, *mean.shape), generator=generator, device=generator.device, dtype=mean.dtype)
    return box.project(mean + std * colour(noise, noise_beta).to(mean.device))


def colour(noise: Tensor, beta: float) -> Tensor:
    """Correlate white noise in time, so that its power falls with the frequency f as f^-beta.

    Each step keeps a variance of 1. The constant part counts as the lowest frequency above 0, as in iCEM, so that a
    sequence may lean to one side as a whole.

    Args:
        noise: independent numbers of variance 1, (K, H, A).
        beta: 0 leaves the noise white, 2 makes it wander as a random walk does.

    Returns:
        The coloured noise, (K, H, A).

    Source: Timmer and Koenig 1995, "On generating power law noise"; iCEM (arXiv 2008.06389), section 3.1.
    """
    if not beta:
        return noise
    horizon = noise.shape[1]
    frequencies = torch.fft.fftfreq(horizon, device=noise.device).abs().clamp_min(1 / horizon)
    power = frequencies.pow(-beta)
    gain = (power / power.mean()).sqrt()[: horizon // 2 + 1, None]
    return torch.fft.irfft(torch.fft.rfft(noise, dim=1) * gain, n=horizon, dim=1)
