"""Dealing out the numbers of an endless sequence: to several takers by their shares, and to items without repeats.

Why this file exists: sample 7,000,000 of a run must be known without the 7,000,000 before it, while over any longer
stretch every taker gets exactly its share and every item comes as often as any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch

from vjepa_wm.data.randomness import generator_for

ROUND = 10_000  # numbers after which every taker has exactly its share
_DEAL, _EPOCH = (int.from_bytes(word) for word in (b"deal", b"epoc"))  # purposes of a draw


def round_counts(shares: Sequence[float]) -> tuple[int, ...]:
    """Return how many numbers of a round each taker gets: its share, rounded so that all of them add up to `ROUND`.

    Args:
        shares: what each gets over what the others get, positive.

    Raises:
        ValueError: if a share is not positive, or so small that a round has no number for it.
    """
    wanted = np.array(shares, dtype=np.float64)
    if not len(wanted) or not np.all(np.isfinite(wanted) & (wanted > 0)):
        raise ValueError(f"shares must be positive numbers, at least one, got {list(shares)}")
    wanted *= ROUND / wanted.sum()
    counts = np.floor(wanted).astype(int)
    left = ROUND - counts.sum()
    counts[np.argsort(counts - wanted, kind="stable")[:left]] += 1  # largest remainders first, then the first ones
    if counts.min() == 0:
        number = int(counts.argmin())
        raise ValueError(
            f"shares must be at least 1/{ROUND} of the whole, got {shares[number]} of {sum(shares)} for number {number}"
        )
    return tuple(counts.tolist())


def deal(seed: int, number: int, shares: Sequence[float]) -> tuple[int, int]:
    """Deal a number to one of several takers.

    Numbers are dealt in rounds of `ROUND`, each in a random order of its own.

    Args:
        seed: the same seed deals the same way.
        number: the number, from 0 on.
        shares: what each taker gets over what the others get, positive.

    Returns:
        Who gets it, and how many it has got before.

    Raises:
        ValueError: if a share is not positive or less than one number of a round.
    """
    counts = _counts(tuple(shares))
    if len(counts) == 1:
        return 0, number
    round_number, place = divmod(number, ROUND)
    takers, before = _one_round(seed, round_number, counts)
    taker = int(takers[place])
    return taker, round_number * counts[taker] + int(before[place])


_counts = lru_cache(maxsize=64)(round_counts)


@lru_cache(maxsize=16)
def _one_round(seed: int, round_number: int, counts: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return the taker of each number of a round, and how many it has got in the round before."""
    order = torch.randperm(ROUND, generator=generator_for(_DEAL, seed, round_number)).numpy()
    takers = np.repeat(np.arange(len(counts), dtype=np.int32), counts)[order]
    before = np.empty(ROUND, dtype=np.int32)
    firsts = np.cumsum(counts) - counts
    before[np.argsort(takers, kind="stable")] = np.arange(ROUND) - np.repeat(firsts, counts)
    return takers, before


class Epochs:
    """An endless sequence of items in which each stretch of `num_items` has every item once, in a random order."""

    def __init__(self, seed: int, stream: int, num_items: int):
        """Choose the sequence.

        Args:
            seed: the same seed gives the same sequence.
            stream: number of this sequence among those of the seed.
            num_items: items, at least 1.
        """
        self._seed, self._stream, self._num_items = seed, stream, num_items
        self._orders: dict[int, np.ndarray] = {}

    def __getitem__(self, place: int) -> int:
        """Return the item at a place from 0 on."""
        epoch, k = divmod(place, self._num_items)
        if epoch not in self._orders:
            # One order may have tens of millions of items; two are kept because batches reach over the border.
            self._orders = {known: order for known, order in self._orders.items() if known == epoch - 1}
            generator = generator_for(_EPOCH, self._seed, self._stream, epoch)
            dtype = torch.int32 if self._num_items < 2**31 else torch.int64
            self._orders[epoch] = torch.randperm(self._num_items, generator=generator, dtype=dtype).numpy()
        return int(self._orders[epoch][k])

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_orders": {}}


class SampleOrder:
    """The order in which the files of several lists come: dealt to the lists by their shares, in epochs within each."""

    def __init__(self, seed: int, sizes: Sequence[int], weights: Sequence[float] | None = None):
        """Choose the order.

        Args:
            seed: the same seed gives the same order.
            sizes: files of each list, at least 1.
            weights: share of each list, positive; None is by the number of files, but at least one number of a round.

        Raises:
            ValueError: if a weight is not positive or less than one number of a round.
        """
        self._seed, self.sizes = seed, tuple(sizes)
        self._shares = tuple(weights) if weights is not None else tuple(max(n, sum(sizes) / ROUND) for n in sizes)
        round_counts(self._shares)
        self._epochs = [Epochs(seed, stream, size) for stream, size in enumerate(sizes)]

    def __getitem__(self, number: int) -> tuple[int, int]:
        """Return number of the list, and of the file in it, that come at a number from 0 on."""
        which, before = deal(self._seed, number, self._shares)
        return which, self._epochs[which][before]
