"""Lists and folders as spreadsheets, scripts and mistakes leave them. Each function makes one and returns its path."""

import os


def text(name, content, encoding="utf-8"):
    """Write a list beside a few files."""

    def make(folder):
        for video in ("a.mp4", "b.mp4", "#hash.mp4", "7,x.mp4", "8,y.mp4"):
            (folder / video).touch()
        (folder / name).write_text(content, encoding=encoding, newline="")
        return folder / name

    return make


def names(*files):
    """Make empty files."""

    def make(folder):
        for file in files:
            (folder / file).touch()
        return folder

    return make


def loop(folder):
    """Make a folder with links that lead to themselves."""
    (folder / "a.mp4").touch()
    (folder / "round").symlink_to(folder / "round")
    (folder / "here").symlink_to(folder)
    return folder


def pipe(name):
    """Make a pipe that nobody writes into."""

    def make(folder):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(folder / name)
        return folder / name

    return make
