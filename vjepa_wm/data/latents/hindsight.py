"""Goals in hindsight: whatever an episode shows later was a goal that its actions led to.

Letters: B pairs.

Source: hindsight relabelling (arXiv 1707.01495), goals of the `future` kind.
"""

from __future__ import annotations

import numpy as np
import torch

from vjepa_wm.data.latents.latent_set import LatentSet


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
