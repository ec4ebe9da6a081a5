"""What follows what in episodes: goals in hindsight, since whatever is shown later was a goal that actions led to.

Letters: B pairs, F frames of a data set, T of an episode.

Source: hindsight relabelling (arXiv 1707.01495), goals of the `future` kind.
"""

from __future__ import annotations

import numpy as np
import torch

from vjepa_wm.data.latents.latent_set import LatentSet

PER_EPISODE = 4
"""Pairs of an episode among close ones: what moves within it must be told apart too."""


def later_rows(
    latents: LatentSet, rows: np.ndarray, *, end_share: float, max_ahead: int | None, generator: torch.Generator
) -> np.ndarray:
    """Choose for each frame one that comes later in its episode.

    Args:
        latents: where the frames are.
        rows: of frames that are not the last of their episode, (B,).
        end_share: share of the pairs whose goal is the last frame; the others have any later one, all as likely.
        max_ahead: most steps from a frame to its goal, but for those at the end; None: any.
        generator: what to draw from.

    Returns:
        Rows of the goals, (B,).
    """
    ends = latents.episode_ends(rows)
    at_end, share = torch.rand((2, len(rows)), generator=generator, dtype=torch.float64).numpy()
    most = ends - rows if max_ahead is None else np.minimum(ends - rows, max_ahead)
    ahead = 1 + np.floor(share * most).astype(np.int64)
    return np.where(at_end < end_share, ends, rows + ahead)


def close_rows(latents: LatentSet, num: int, *, max_gap: int, generator: torch.Generator) -> np.ndarray:
    """Draw pairs of frames that follow each other closely, several of each episode that is drawn.

    Args:
        latents: where the frames are, all its episodes of two frames and more.
        num: how many pairs, if there are episodes enough.
        max_gap: most steps from the first to the second.
        generator: what to draw from.

    Returns:
        Rows, (2, B).
    """
    drawn = torch.randperm(latents.num_episodes, generator=generator)[: num // PER_EPISODE].numpy().repeat(PER_EPISODE)
    share = torch.rand(len(drawn), generator=generator, dtype=torch.float64).numpy()
    rows = latents.firsts[drawn] + np.floor(share * (latents.lengths[drawn] - 1)).astype(np.int64)
    return np.stack((rows, later_rows(latents, rows, end_share=0.0, max_ahead=max_gap, generator=generator)))


def first_arrivals(latents: LatentSet, near: float) -> np.ndarray:
    """Say since when each frame's picture had been there.

    Who waits at a goal is not on the way to it any more: steps to a goal are counted to the first frame of the stretch
    before it whose pictures differ by no more than `near`.

    Args:
        latents: where the frames are.
        near: L2 energy up to which two frames show the same.

    Returns:
        For each frame row of the data set the row of that first frame, (F,); rows of other parts have their own.
    """
    arrivals = np.arange(len(latents.z))
    for first, length in zip(latents.firsts, latents.lengths, strict=True):
        z = np.asarray(latents.z[first : first + length], dtype=np.float32).reshape(length, -1)
        squares = np.square(z).sum(axis=1)
        energies = (squares[:, None] + squares[None, :] - 2 * z @ z.T) / z.shape[1]
        is_far = np.tril(energies > near, k=-1)  # (T, T), of each frame the earlier ones
        last_far = np.where(is_far.any(axis=1), length - 1 - is_far[:, ::-1].argmax(axis=1), -1)
        arrivals[first : first + length] = first + last_far + 1
    return arrivals
