"""The same episodes recorded in two looks: that they are pairs, and pictures of either.

Letters: T frames of a window.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vjepa_wm.data.latents.latent_folder import compared_episodes, pictures_number
from vjepa_wm.data.trajectories.dataset import TrajectoryDataset
from vjepa_wm.data.trajectories.metadata_checks import TrajectoryError
from vjepa_wm.training.encoded_data import refuse_bad_episodes


class PairedFrames:
    """Pictures of the rows of a dataset's latents, in the new look or in the old one."""

    def __init__(self, new: TrajectoryDataset, old: TrajectoryDataset) -> None:
        """Keep what is read.

        Args:
            new: episodes in new looks.
            old: the same in the look that is known, as `check_pairs` found; all of them are encoded.
        """
        self._looks = new, old
        self._firsts = np.cumsum(old.lengths) - old.lengths

    def read(self, rows: np.ndarray, *, old: bool) -> np.ndarray:
        """Read frames of an episode, (T, height, width, 3) uint8.

        Args:
            rows: of the frames, increasing, (T,).
            old: whether in the look that is known.
        """
        i = int(np.searchsorted(self._firsts, rows[0], side="right")) - 1
        return self._looks[old].some_frames(i, rows - self._firsts[i])


def check_pairs(new: TrajectoryDataset, old: TrajectoryDataset) -> None:
    """Make sure that two datasets are of the same episodes, and that all can be read.

    Raises:
        TrajectoryError: if they are not, with the first episode that differs, or one is damaged.
    """
    same = f"{new.root} and {old.root} must be the same episodes in two looks, as of one seed; "
    if new.root.resolve() == old.root.resolve() and new.camera == old.camera:
        raise TrajectoryError(f"targets must be other pictures than data, got {new.root} for both")
    if new.num_episodes != old.num_episodes:
        counts = [f"{one.num_episodes} episodes, {sum(one.lengths)} frames" for one in (new, old)]
        raise TrajectoryError(f"{same}they are {counts[0]} and {counts[1]}")
    for one in (new, old):
        refuse_bad_episodes(one)
    for i, lengths in enumerate(zip(new.lengths, old.lengths, strict=True)):
        if lengths[0] != lengths[1]:
            raise TrajectoryError(f"{same}episode {new.episodes[i]} has {lengths[0]} and {lengths[1]} frames")
        numbers = new.numbers(i), old.numbers(i)
        for name in ("states", "actions"):
            if not np.array_equal(*(getattr(one, name) for one in numbers)):
                raise TrajectoryError(f"{same}episode {new.episodes[i]} has other {name}")


def check_sizes(names: str, datasets: Sequence[TrajectoryDataset]) -> None:
    """Raise a ValueError unless all datasets have pictures of one size, by those of their first episodes.

    Args:
        names: options that name the datasets, for the message.
        datasets: which they are.
    """
    sizes = {one.some_frames(0, np.zeros(1, np.int64)).shape[1:3] for one in datasets}
    if len(sizes) > 1:
        raise ValueError(f"pictures of {names} must be of one size, got {sorted(sizes)}")


def some_pictures(dataset: TrajectoryDataset) -> str:
    """Return text that tells a dataset's pictures from others, by those of a few episodes."""
    some = compared_episodes(dataset.num_episodes)
    return " ".join(f"{pictures_number(dataset.episode(i)):x}" for i in some)
