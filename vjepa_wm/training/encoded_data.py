"""Trajectory data sets encoded for training, without the episodes that cannot be read.

Why this file exists: of thousands of recorded episodes some are broken. A run goes on without them, but says which and
why; when too many are, something else is wrong and it stops. It also looks for what nobody would notice in a loss:
actions that are no displacements.

Letters: F frames, A action.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from vjepa_wm.data.clips.bad_files import UNUSABLE
from vjepa_wm.data.latents.latent_set import LatentSet
from vjepa_wm.data.latents.latent_store import default_store
from vjepa_wm.data.trajectories.dataset import TrajectoryDataset
from vjepa_wm.data.trajectories.metadata_checks import EpisodeError, TrajectoryError
from vjepa_wm.data.trajectories.trajectory_options import TrajectoryOptions
from vjepa_wm.safe_files import load_json, write_json

logger = logging.getLogger(__name__)
BAD_EPISODES = (TrajectoryError, *UNUSABLE)
"""What is raised of an episode that cannot be read."""
_NUM_EXAMPLES = 5
_CLEARLY = 4.0


def encode_good_episodes(
    path: Path,
    options: TrajectoryOptions,
    encode: Callable[[TrajectoryDataset], LatentSet],
    max_bad_share: float,
    store: Path | None = None,
) -> LatentSet:
    """Encode the episodes of a data set that can be read; each bad one is logged.

    Numbers and index are looked at before anything is encoded. What shows only while frames are decoded costs the
    latents so far, once: a later run finds those without it. What was found is noted beside the latents, so that a
    later run looks at no episode again as long as the data set's files are what they were.

    Args:
        path: the data set.
        options: what is read of it.
        encode: makes latents of it, such as `encode_dataset`.
        max_bad_share: largest share of bad episodes that is only logged, 0 to 1.
        store: folder that keeps what was found; None: where `encode_dataset` keeps latents.

    Raises:
        TrajectoryError: if more of them are bad, or the data set as a whole cannot be read.
    """
    dataset = TrajectoryDataset(path, options)
    note = _note(dataset, default_store(dataset) if store is None else store)
    reasons = _read_note(note)
    if reasons is None:
        reasons = find_bad_episodes(dataset)
    for number, reason in reasons.items():
        logger.warning("bad episode %d is left out: %s", number, reason)
    everything = list(dataset.episodes)
    while True:
        good = [number for number in everything if number not in reasons]
        _check_share(path, reasons, len(everything), max_bad_share)
        if reasons:
            dataset = TrajectoryDataset(path, replace(options, episodes=tuple(good)))
        try:
            latents = encode(dataset)
        except EpisodeError as error:
            reasons[error.number] = str(error)
            logger.warning("bad episode %d is left out: %s", error.number, error)
            continue
        with suppress(OSError):  # where nothing can be written, episodes are looked at again
            write_json(note, {"bad": reasons})
        warn_of_targets(latents, path)
        return latents


def find_bad_episodes(dataset: TrajectoryDataset) -> dict[int, str]:
    """Return why episodes are bad, by their numbers, as far as that shows without decoding frames."""
    reasons = {}
    for i, number in enumerate(dataset.episodes):
        try:
            dataset.check(i)
        except BAD_EPISODES as error:
            reasons[number] = str(error)
    return reasons


def good_episodes(path: Path, options: TrajectoryOptions, max_bad_share: float) -> TrajectoryDataset:
    """Open a data set without the episodes that are bad, as far as that shows undecoded; each of them is logged.

    Raises:
        TrajectoryError: if a larger share of them is bad, or the data set as a whole cannot be read.
    """
    dataset = TrajectoryDataset(path, options)
    reasons = find_bad_episodes(dataset)
    for number, reason in reasons.items():
        logger.warning("bad episode %d of %s is left out: %s", number, path, reason)
    _check_share(path, reasons, dataset.num_episodes, max_bad_share)
    good = tuple(number for number in dataset.episodes if number not in reasons)
    return TrajectoryDataset(path, replace(options, episodes=good)) if reasons else dataset


def refuse_bad_episodes(dataset: TrajectoryDataset) -> None:
    """Raise a TrajectoryError with the number of the first episode that is bad, as far as that shows undecoded."""
    for number, reason in find_bad_episodes(dataset).items():
        raise TrajectoryError(f"episode {number} of {dataset.root}: {reason} (read.episodes leaves it out)")


def _note(dataset: TrajectoryDataset, store: Path) -> Path:
    """Return the file in which lies what was found out of a data set whose files are as they are now."""
    read = hashlib.blake2b(repr(dataset.options).encode(), digest_size=4).hexdigest()
    return store / f"checked-{dataset.stamp()}-{read}.json"


def _read_note(path: Path) -> dict[int, str] | None:
    """Return why episodes are bad, by number; None where that is not known."""
    try:
        return {int(number): str(reason) for number, reason in load_json(path)["bad"].items()}
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return None


def _check_share(path: Path, reasons: dict[int, str], num_episodes: int, max_bad_share: float) -> None:
    if len(reasons) <= max_bad_share * num_episodes and len(reasons) < num_episodes:
        return
    examples = "\n".join(f"  {number}: {reason}" for number, reason in list(reasons.items())[:_NUM_EXAMPLES])
    raise TrajectoryError(
        f"{len(reasons)} of {num_episodes} episodes of {path} are bad, max_bad_share is {max_bad_share:g} "
        f"(read.episodes chooses others); the first ones:\n{examples}"
    )


def warn_of_targets(latents: LatentSet, path: Path) -> None:
    """Log a warning if recorded actions look like the next state, not like the way there.

    Args:
        latents: whose states and actions are compared, where they have equally many numbers.
        path: the data set, for the message.
    """
    rows = latents.window_starts(2)[:10_000]
    if latents.actions.shape[1] != latents.states.shape[1] or not len(rows):
        return
    actions, states, following = latents.actions[rows], latents.states[rows], latents.states[rows + 1]
    as_target = np.abs(actions - following).mean()
    as_displacement = np.abs(actions - (following - states)).mean()
    if as_displacement > _CLEARLY * as_target:
        logger.warning(
            "actions of %s look like targets: they differ from the next state by %.3g on average, from the way there "
            "by %.3g; read.actions from_states takes displacements",
            path,
            as_target,
            as_displacement,
        )
