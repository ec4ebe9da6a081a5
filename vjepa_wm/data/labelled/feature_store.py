"""Features of labelled items on disk: encoded once, whatever is trained on them afterwards.

Why this file exists: encoding takes longer than a hundred probes. A folder of features belongs to one encoder and one
way to see an item, and is named after these; a row is found by what its item is (file, size, date, times). So any
split, subset or later version of a data set finds what is there, and only what is new is encoded.

    STORE/KEY/store.json     what the folder belongs to, and how many rows are on the disk
    STORE/KEY/features.bin   rows (R, N, D) float16
    STORE/KEY/items.bin      which item each row is of

Letters: M items, R clips and views of one, N tokens, D width.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from vjepa_wm.data.clips.bad_files import UNUSABLE, BadFiles
from vjepa_wm.data.clips.file_lists import ListedVideo
from vjepa_wm.data.labelled.labelled_set import Item, TablePicture
from vjepa_wm.data.latents.row_file import DamagedRowsError, RowFile, RowForm, map_rows
from vjepa_wm.safe_files import FolderLock, load_json, write_json

logger = logging.getLogger(__name__)
STORE_FILE = "store.json"
SAVE_EVERY = 64
"""Items between notes of how far an encoding has come."""
READ_AHEAD = 4
"""Items decoded while others are encoded."""
_ITEMS = RowForm(dtype=np.dtype(np.uint64), shape=(2,))
Encode = Callable[[Tensor], Tensor]
"""From the clips and views of some items, (B, R, 3, T, S, S), to what is kept of them, (B, R, N, D)."""


class FeatureStoreError(ValueError):
    """A store of features is damaged; the message names the file and says what to do."""


@dataclass(frozen=True, kw_only=True)
class StoredFeatures:
    """Features of those items of a list that could be read."""

    rows: np.ndarray
    """All features of the store, mapped into memory, (rows, R, N, D) float16."""
    places: np.ndarray
    """Row of each readable item, (M,)."""
    numbers: np.ndarray
    """Number of each of these in the list, ascending, (M,)."""

    def read(self, which: np.ndarray, device: torch.device) -> Tensor:
        """Return the features of some of the readable items, (B, R, N, D) float32."""
        return torch.from_numpy(self.rows[self.places[which]]).to(device).float()


class FeatureStore:
    """A folder of features of one encoder and one way to see items."""

    def __init__(self, store: Path, belongs_to: dict[str, Any]) -> None:
        """Find the folder; nothing is written.

        Args:
            store: folder of stores.
            belongs_to: what features depend on besides the item, as json has it.
        """
        text = json.dumps(belongs_to, sort_keys=True, default=str)
        self.folder = store / hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
        self._belongs_to = json.loads(text)

    def features(
        self,
        items: Sequence[Item],
        *,
        read: Callable[[Item], Tensor],
        encode: Encode,
        batch_size: int,
        bad: BadFiles,
        which: int,
        add: bool = True,
    ) -> StoredFeatures:
        """Return the features of items, after encoding those that are not there yet.

        Args:
            items: whose features.
            read: makes what is encoded of an item, (R, 3, T, S, S).
            encode: see `Encode`; called in this thread.
            batch_size: items encoded at once.
            bad: where unreadable items are noted; they are left out.
            which: number of the list of these items there.
            add: whether to encode what is not there; else it counts as unreadable, for the processes that come after
                the one that has tried.

        Raises:
            VideoError: if too many items cannot be read.
            FeatureStoreError: if a file of the store is damaged.
            FolderInUseError: if another process is encoding into the same folder.
            FloatingPointError: if features are not finite.
        """
        names, known = item_digests(items), self._known()
        if add and any(name not in known for name in names):
            with FolderLock(self.folder):
                known = self._known()
                missing = [k for k, name in enumerate(names) if name not in known]
                batches = read_ahead(items, missing, read, batch_size, bad, which)
                self._append(batches, names, encode, len(known), len(missing))
                known = self._known()
        numbers = np.array([k for k, name in enumerate(names) if name in known], np.int64)
        places = np.array([known[names[k]] for k in numbers], np.int64)
        for k in numbers.tolist():
            bad.note_opened((which, k))
        bad.check()
        num_rows, form = self._note()
        assert form is not None  # `bad.check` raises where nothing could be read
        return StoredFeatures(rows=self._map("features", form, num_rows), places=places, numbers=numbers)

    def _note(self) -> tuple[int, RowForm | None]:
        path = self.folder / STORE_FILE
        if not path.is_file():
            return 0, None
        try:
            found = load_json(path)
            if type(found["rows"]) is not int or found["rows"] < 0:
                raise ValueError(f"rows must be a count, got {found['rows']!r:.40}")
            return found["rows"], RowForm.from_json(found["form"])
        except (ValueError, KeyError, TypeError) as error:
            raise self._damaged(f"{path} is damaged: {error}") from error

    def _known(self) -> dict[bytes, int]:
        """Return the rows by the digest of their item."""
        num_rows, form = self._note()
        if form is None:
            return {}
        return {row.tobytes(): place for place, row in enumerate(self._map("items", _ITEMS, num_rows))}

    def _map(self, name: str, form: RowForm, num_rows: int) -> np.memmap:
        try:
            return map_rows(self.folder / f"{name}.bin", form, num_rows)
        except DamagedRowsError as error:
            raise self._damaged(str(error)) from error

    def _damaged(self, what: str) -> FeatureStoreError:
        return FeatureStoreError(f"{what}; delete the folder {self.folder}, and the features are computed again")

    def _append(
        self,
        batches: Iterator[tuple[list[int], Tensor]],
        names: Sequence[bytes],
        encode: Encode,
        num_rows: int,
        num_missing: int,
    ) -> None:
        """Encode batches and add their rows; a kill costs those since the last note."""
        form: RowForm | None = None
        with tqdm(total=num_missing, desc="features", unit="item", mininterval=1.0) as bar:
            files: list[RowFile] = []
            try:
                since = 0
                for numbers, views in batches:
                    features = encode(views).to("cpu", torch.float16)
                    if not torch.isfinite(features).all():
                        raise FloatingPointError("the encoder's features are not finite; try precision fp32")
                    rows = features.numpy()
                    if form is None:
                        form = RowForm.of(rows)
                        self._check_room(form, num_missing)
                        files.append(RowFile(self.folder / "features.bin", form, num_rows))
                        files.append(RowFile(self.folder / "items.bin", _ITEMS, num_rows))
                    files[0].append(rows)
                    files[1].append(np.frombuffer(b"".join(names[k] for k in numbers), np.uint64).reshape(-1, 2))
                    num_rows, since = num_rows + len(numbers), since + len(numbers)
                    bar.update(len(numbers))
                    if since >= SAVE_EVERY:
                        self._save(files, num_rows, form)
                        since = 0
            except DamagedRowsError as error:
                raise self._damaged(str(error)) from error
            finally:
                if form is not None and len(files) == 2:
                    self._save(files, num_rows, form)
                for file in files:
                    file.__exit__()

    def _save(self, files: Sequence[RowFile], num_rows: int, form: RowForm) -> None:
        """Put what was added on the disk, and let it count."""
        for file in files:
            file.save()
        note = {"belongs_to": self._belongs_to, "rows": num_rows, "form": form.to_json()}
        write_json(self.folder / STORE_FILE, note)

    def _check_room(self, form: RowForm, num_missing: int) -> None:
        wanted, free = num_missing * form.num_bytes, shutil.disk_usage(self.folder).free
        if wanted > free:
            raise ValueError(
                f"features of {num_missing} items would take {wanted / 1e9:,.1f} GB, {free / 1e9:,.1f} are free at "
                f"{self.folder}; choose another folder, fewer clips, or heads that need no tokens (linear, knn)"
            )


def item_digests(items: Sequence[Item]) -> list[bytes]:
    """Return 16 bytes for each item that tell it from others: path, size and date of the file, and the part of it."""
    stamps: dict[Path, str] = {}
    digests = []
    for item in items:
        path = item if isinstance(item, Path) else item.path
        if path not in stamps:
            stamps[path] = os.path.realpath(path)
            with suppress(OSError):  # one that is not there has no size
                state = os.stat(path)
                stamps[path] += f"|{state.st_size}|{state.st_mtime_ns}"
        part = ""
        if isinstance(item, ListedVideo):
            part = f"{item.start_s}|{item.end_s}|{item.frames_fps}"
        elif isinstance(item, TablePicture):
            part = str(item.index)
        text = f"{stamps[path]}|{part}".encode(errors="surrogateescape")
        digests.append(hashlib.blake2b(text, digest_size=16).digest())
    return digests


def read_ahead(
    items: Sequence[Item],
    numbers: Sequence[int],
    read: Callable[[Item], Tensor],
    batch_size: int,
    bad: BadFiles,
    which: int,
) -> Iterator[tuple[list[int], Tensor]]:
    """Yield numbers and views of items in batches; those that cannot be read are noted and left out.

    Args:
        items: of a list.
        numbers: of those that are wanted.
        read: makes what is wanted of an item, (R, 3, T, S, S).
        batch_size: items of a batch.
        bad: where unreadable items are noted.
        which: number of the list there.

    Yields:
        Numbers and what was read, (B, R, 3, T, S, S).

    Raises:
        VideoError: if too many items cannot be read.
    """
    left = iter(numbers)
    batch: list[tuple[int, Tensor]] = []
    with ThreadPoolExecutor(READ_AHEAD) as pool:
        waiting = [(k, pool.submit(read, items[k])) for k in islice(left, READ_AHEAD)]
        while waiting:
            number, future = waiting.pop(0)
            waiting += [(k, pool.submit(read, items[k])) for k in islice(left, 1)]
            try:
                batch.append((number, future.result()))
            except UNUSABLE as error:
                bad.note_bad((which, number), error, warn=True)
                bad.check()
            if batch and (len(batch) == batch_size or not waiting):
                yield [k for k, _ in batch], torch.stack([views for _, views in batch])
                batch = []
