"""One folder of latents: what it says of itself, whether it is of a data set, and how it grows.

Why this file exists: a data set that is still being recorded grows between two trainings, and its old files change with
that. What is encoded may be kept only if it is of the same episodes: their lengths and numbers are read back and
compared, all of them, and of some the pictures too.

    store.json    what the folder belongs to, how many episodes are encoded, and the form of the arrays
    z.bin         rows (F, N, D) float16; states.bin, actions.bin, objects.bin likewise, float32
    episodes.bin  length and a number for the pictures of each episode, (E,)
    seen-...      empty; the folder was compared with a data set whose files carry this stamp, and is of it

What is noted never changes, so that who reads it needs no lock. Letters: E episodes, F frames of all of them, N tokens
per frame, D width.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vjepa_wm.data.latents.latent_set import LatentSet
from vjepa_wm.data.latents.row_file import DamagedRowsError, RowFile, RowForm, map_rows
from vjepa_wm.data.trajectories.dataset import Trajectory, TrajectoryDataset
from vjepa_wm.data.trajectories.trajectory_numbers import TrajectoryNumbers
from vjepa_wm.safe_files import load_json, write_json

STORE_FILE = "store.json"
ARRAYS = {"z", "states", "actions"}
"""What every store has of each frame."""
PICTURES_COMPARED = 8
"""Episodes whose pictures are compared, spread over all."""
EPISODES = RowForm(dtype=np.dtype([("length", np.int64), ("pictures", np.uint64)]), shape=())


class LatentStoreError(ValueError):
    """A store of latents is damaged; the message names the file and says what to do."""


@dataclass(frozen=True, kw_only=True)
class Note:
    """What `store.json` says of the arrays."""

    num_episodes: int = 0
    """Episodes that are encoded and on the disk."""
    forms: Mapping[str, RowForm] = field(default_factory=dict)
    """Form of each array of frames, by name."""


class LatentFolder:
    """A folder of latents, which may not be there yet.

    Attributes:
        path: where it is.
    """

    def __init__(self, path: Path) -> None:
        """Keep the path.

        Args:
            path: where it is, or will be.
        """
        self.path = path

    def read_note(self) -> Note:
        """Read how far the folder has come.

        Raises:
            LatentStoreError: if its note cannot be read.
        """
        path = self.path / STORE_FILE
        if not path.is_file():
            return Note()
        try:
            found = load_json(path)
            forms = {name: RowForm.from_json(form) for name, form in found["arrays"].items()}
            num_episodes = found["episodes_done"]
            if type(num_episodes) is not int or num_episodes < 0 or not ARRAYS <= {*forms} <= ARRAYS | {"objects"}:
                raise ValueError(f"{num_episodes} episodes of {', '.join(forms)}")
            return Note(num_episodes=num_episodes, forms=forms)
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise self.damaged(f"{path} is damaged: {str(error)[:200]}") from error

    def is_of(self, dataset: TrajectoryDataset, stamp: str) -> bool:
        """Tell whether the folder's episodes are those that a data set begins with, or the other way round.

        Args:
            dataset: what they are compared with, unless that was done when its files were as they are.
            stamp: of the data set, taken before anything was read of it.

        Raises:
            LatentStoreError: if the folder is damaged.
            TrajectoryError: if an episode cannot be read.
        """
        common = min(self.read_note().num_episodes, dataset.num_episodes)
        if not common or self._memo(stamp, common).exists():
            return True
        if not self._agrees(dataset, common):
            return False
        self.remember(stamp, common)
        return True

    def remember(self, stamp: str, num_episodes: int) -> None:
        """Note that the first episodes are those of a data set with this stamp."""
        with suppress(OSError):  # where nothing can be written, they are compared again
            self._memo(stamp, num_episodes).touch()

    def open(self, num_episodes: int) -> LatentSet:
        """Map the first episodes into memory.

        Raises:
            LatentStoreError: if a file is damaged.
        """
        episodes, forms = self._episodes(num_episodes), self.read_note().forms
        lengths = episodes["length"].astype(np.int64)
        arrays = {name: self._map(name, forms[name], int(lengths.sum())) for name in forms}
        return LatentSet(
            z=arrays["z"],
            states=arrays["states"],
            actions=arrays["actions"],
            objects=arrays.get("objects"),
            firsts=np.cumsum(lengths) - lengths,
            lengths=lengths,
            pictures=episodes["pictures"],
        )

    def damaged(self, what: str) -> LatentStoreError:
        """Return the error that says what is wrong and what to do."""
        return LatentStoreError(f"{what}; delete the folder {self.path}, and the latents are computed again")

    def _memo(self, stamp: str, num_episodes: int) -> Path:
        return self.path / f"seen-{stamp}-{num_episodes}"

    def _map(self, name: str, form: RowForm, num_rows: int) -> np.memmap:
        try:
            return map_rows(self.path / f"{name}.bin", form, num_rows)
        except DamagedRowsError as error:
            raise self.damaged(str(error)) from error

    def _episodes(self, num: int) -> np.ndarray:
        return self._map("episodes", EPISODES, num)

    def _agrees(self, dataset: TrajectoryDataset, num: int) -> bool:
        """Tell whether the first episodes, so many, are the same here and in a data set."""
        stored, latents = self._episodes(num), self.open(num)
        if not np.array_equal(latents.lengths, dataset.lengths[:num]):
            return False
        for index in range(num):
            rows = slice(latents.firsts[index], latents.firsts[index] + latents.lengths[index])
            for name, values in numbers_of(dataset.numbers(index)).items():
                if not np.array_equal(getattr(latents, name)[rows], values):
                    return False
        some = compared_episodes(num)
        return all(stored["pictures"][index] == pictures_number(dataset.episode(index)) for index in some)


class LatentAppender:
    """Adds episodes to a folder of latents, which only the holder of its lock may; they count once they are saved."""

    def __init__(self, folder: LatentFolder, belongs_to: Mapping[str, Any]) -> None:
        """Take up the folder where its note ends.

        Args:
            folder: what grows.
            belongs_to: what the folder belongs to, for its note.

        Raises:
            LatentStoreError: if the folder is damaged.
        """
        self._folder, self._belongs_to = folder, dict(belongs_to)
        self._note = folder.read_note()
        self.num_episodes = self._note.num_episodes
        self._num_frames = folder.open(self.num_episodes).num_frames if self.num_episodes else 0
        self._files: dict[str, RowFile] = {}
        self._stack = ExitStack()
        if not self.num_episodes:
            for stale in folder.path.glob("seen-*"):
                stale.unlink()

    def __enter__(self) -> LatentAppender:
        """Return the appender itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the files."""
        self._stack.close()

    def append(self, z: np.ndarray, episode: Trajectory) -> None:
        """Add an episode with its latents (T, N, D)."""
        rows = {"z": z, **numbers_of(episode)}
        described = np.array([(len(z), pictures_number(episode))], dtype=EPISODES.dtype)
        if not self._files:
            self._note = Note(forms={name: RowForm.of(values) for name, values in rows.items()})
            for name, form in self._note.forms.items():
                self._open(name, form, self._num_frames)
            self._open("episodes", EPISODES, self.num_episodes)
        for name, values in (*rows.items(), ("episodes", described)):
            self._files[name].append(values)
        self.num_episodes += 1

    def save(self) -> None:
        """Put what was added on the disk, and let it count."""
        for file in self._files.values():
            file.save()
        arrays = {name: form.to_json() for name, form in self._note.forms.items()}
        note = self._belongs_to | {"episodes_done": self.num_episodes, "arrays": arrays}
        write_json(self._folder.path / STORE_FILE, note)

    def _open(self, name: str, form: RowForm, num_rows: int) -> None:
        self._files[name] = self._stack.enter_context(RowFile(self._folder.path / f"{name}.bin", form, num_rows))


def numbers_of(episode: TrajectoryNumbers) -> dict[str, np.ndarray]:
    """Return what is kept of an episode beside its latents, by name of the array."""
    numbers = {"states": episode.states, "actions": episode.actions}
    return numbers if episode.objects is None else numbers | {"objects": episode.objects}


def compared_episodes(num: int) -> list[int]:
    """Return the places, of so many episodes, of those whose pictures stand for all."""
    return np.unique(np.linspace(0, num - 1, PICTURES_COMPARED).astype(int)).tolist()


def pictures_number(episode: Trajectory) -> int:
    """Return a number that tells the pictures of an episode from others."""
    digest = hashlib.blake2b(np.ascontiguousarray(episode.frames).data, digest_size=8).digest()
    return int.from_bytes(digest, "little")
