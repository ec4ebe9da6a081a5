"""The folder of a diagnosis: the bank state by state, so that it goes on after a kill and never mixes.

diagnosis_settings.json   what the bank was made with; another diagnosis is refused
bank/000.npz              the candidates of a state, there as soon as they were played
diagnosis.json, diagnosis.npz, report.html, *.png   made from the bank
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import fields
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from vjepa_wm.evaluation.diagnosis.candidate_bank import StateBank
from vjepa_wm.safe_files import FolderLock, load_json, write_bytes, write_json

SETTINGS_FILE = "diagnosis_settings.json"


class BankFolder:
    """Claims a folder for one diagnosis, which no other process may write into meanwhile."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        """Begin in an empty folder, or go on in that of the same diagnosis.

        Args:
            folder: where; made if missing.
            settings: everything that the candidates of a state depend on, json values by name.

        Raises:
            FolderInUseError: if another process is writing there.
            ValueError: if the folder holds another diagnosis, or its description is damaged.
        """
        self.folder = folder
        self._lock = FolderLock(folder)
        with ExitStack() as on_error:
            on_error.callback(self._lock.release)
            self._claim(json.loads(json.dumps(dict(settings))))
            on_error.pop_all()

    def __enter__(self) -> BankFolder:
        """Return the folder itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Let others write."""
        self._lock.release()

    def has(self, k: int) -> bool:
        """Tell whether the candidates of a state have been played."""
        return self._path(k).exists()

    def save(self, k: int, bank: StateBank) -> None:
        """Write the candidates of a state."""
        write_bytes(self._path(k), packed({part.name: getattr(bank, part.name) for part in fields(bank)}))

    def load(self, k: int) -> StateBank:
        """Read the candidates of a state.

        Raises:
            ValueError: if the file is damaged.
        """
        path = self._path(k)
        try:
            with np.load(path, allow_pickle=False) as content:
                return StateBank(**{part.name: content[part.name] for part in fields(StateBank)})
        except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path} is damaged: {error}; delete it to have its state played again") from error

    def _path(self, k: int) -> Path:
        return self.folder / "bank" / f"{k:03d}.npz"

    def _claim(self, asked: dict[str, Any]) -> None:
        path = self.folder / SETTINGS_FILE
        if not path.exists():
            write_json(path, asked)
            return
        try:
            found = load_json(path)
            if not isinstance(found, dict):
                raise ValueError(f"it must hold a json object, got a {type(found).__name__}")
        except ValueError as error:
            raise ValueError(f"{path} is damaged: {error}; choose another folder") from error
        names = sorted({*found, *asked})
        differing = [
            f"{name} {found.get(name)}, asked for {asked.get(name)}"
            for name in names
            if found.get(name) != asked.get(name)
        ]
        if differing:
            raise ValueError(
                f"{self.folder} holds another diagnosis: {'; '.join(differing)}; choose another or delete it"
            )


def packed(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return arrays by name as the content of an npz file."""
    content = BytesIO()
    np.savez(content, allow_pickle=False, **arrays)
    return content.getvalue()
