"""Files that are whole whenever they are there, or say what they are instead, and folders that one process writes.

Imports nothing.

Why this file exists: a recorder or an evaluation may be killed at any moment or started twice, and must then go on from
files that can be trusted.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any


def write_json(path: Path, content: dict) -> None:
    """Write a json file, and the folders it lies in."""
    write_bytes(path, (json.dumps(content, indent=2) + "\n").encode())


def load_json(path: Path) -> Any:
    """Read a json file.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is damaged or something else; the message has its path.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid json{describe_start(path) or f': {error}'}") from error


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Write a file as `write_whole` does."""
    write_whole(path, lambda unfinished: unfinished.write_bytes(content))


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file, and the folders it lies in; it lies beside its place until it is complete.

    Args:
        path: of the file.
        write: writes it to the path it is given; whatever permissions that leaves, the file gets the usual ones.

    Raises:
        OSError: if it cannot be written; the message has the path, and what was there is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = unfinished_name(path)
    with named(path):
        unfinished.unlink(missing_ok=True)
        unfinished.touch()
        permissions = unfinished.stat().st_mode
        try:
            write(unfinished)
        except OSError:
            unfinished.unlink(missing_ok=True)  # a full disk has no room for it
            raise
        unfinished.chmod(permissions)
        os.replace(unfinished, path)


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Give errors of the system that come without a path, as that of a full disk does, this one."""
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def remove_file(path: Path) -> None:
    """Remove a file, finished or not, that may be there."""
    path.unlink(missing_ok=True)
    unfinished_name(path).unlink(missing_ok=True)


def unfinished_name(path: Path) -> Path:
    """Return the name that a file has while it is written."""
    return path.with_name(path.name + ".tmp")


def guess_origin(start: bytes) -> str:
    """Say what a file probably is that is not what its name says, from its first bytes; empty where that is open."""
    start = start.lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        return ", so a web page was saved under this name; download the file itself"
    if start.startswith(b"version https://git-lfs"):
        return ", so it is a git-lfs pointer; fetch the file itself with `git lfs pull`"
    return ""


def describe_start(path: Path) -> str:
    """Say how a file begins if that tells why it cannot be read; empty otherwise."""
    with path.open("rb") as file:
        start = file.read(64)
    guess = guess_origin(start)
    return f": it begins with {start.decode(errors='replace').splitlines()[0]!r}{guess}" if guess else ""


class FolderInUseError(RuntimeError):
    """Another process is writing into a folder; the message says which, and what can be done."""


class FolderLock:
    """Keeps other processes from writing into a folder, until it is released or this process ends, however it ends."""

    def __init__(self, folder: Path, file: str = ".lock"):
        """Take the lock.

        Args:
            folder: what to keep, made if need be.
            file: what to lock in it. It stays, since to remove it while another process waits for it would let two in;
                while the lock is held it says by whom, afterwards it is empty.

        Raises:
            FolderInUseError: if somebody else has the lock.
        """
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        with ExitStack() as on_error:
            on_error.enter_context(named(path))
            self._file = on_error.enter_context(path.open("a+"))
            self._take(folder)
            self._file.truncate(0)  # whoever had it before may have been killed
            self._file.write(f"process {os.getpid()} on {socket.gethostname()}")
            self._file.flush()
            on_error.pop_all()

    def __enter__(self) -> FolderLock:
        """Return the lock itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Release the lock."""
        self.release()

    def check(self) -> None:
        """Make sure that the folder is still the one that was locked.

        Raises:
            FileNotFoundError: if it was deleted or replaced, so that what was written would be in parts.
        """
        if not self._file.closed and os.fstat(self._file.fileno()).st_nlink == 0:
            raise FileNotFoundError(
                f"{self._folder} was deleted or replaced while it was written into, so what is there now is not whole; "
                "delete it and begin again"
            )

    def release(self) -> None:
        """Let others write; does nothing the second time."""
        if not self._file.closed:
            self._file.truncate(0)
            self._file.close()

    def _take(self, folder: Path) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.seek(0)
            holder = self._file.read() or "another process"
            raise FolderInUseError(
                f"{holder} is writing into {folder} just now; let it end, or choose another folder"
            ) from error
