"""Videos of a page: inside it where that opens well, else in their files, which it then refers to.

A page with its videos inside is one file to copy or mail. It is read as a whole before anything shows, so this is done
up to a size; beyond, or where somebody wants the page alone, the videos stay where they are and play from there.

Letters: W width, H height.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from html import escape
from io import BytesIO
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from PIL import Image

from vjepa_wm.data.media.video import read_last_frame
from vjepa_wm.evaluation.page.html_page import Html, data_uri

INLINE_BYTES = 24 * 2**20
"""Up to this size all videos of a page together go into it. They are a third larger there, so that the page stays under
some 35 MB, which browsers open in a second or two; a hundred episodes of 12 steps in three rows are 9 MB."""
MAX_POSTERS = 1000
"""Up to so many videos have the picture in the page that is shown before they are played, some 15 kB each."""
JPEG_QUALITY = 70


class PageVideo(NamedTuple):
    """A video as a page has it."""

    source: str
    """Its address: its content, or its file as the page's folder sees it."""
    poster: str = ""
    """Address of its last picture; empty: none."""
    size: tuple[int, int] = (2, 1)
    """Width and height, [px] or only their ratio."""

    def html(self, label: str) -> Html:
        """Return the player.

        Args:
            label: what is seen, in words, for those who cannot.
        """
        poster = f' poster="{self.poster}"' if self.poster else ""
        width, height = self.size
        return Html(
            f'<video controls loop muted playsinline preload="none" width="{width}" height="{height}" '
            f'style="aspect-ratio:{width}/{height}" aria-label="{escape(label)}"{poster} src="{self.source}"></video>'
        )


def page_videos(paths: Sequence[Path], folder: Path, inline_bytes: int = INLINE_BYTES) -> dict[Path, PageVideo]:
    """Return videos as a page has them: all inside, or none.

    Args:
        paths: their files, as often as each is shown; those that are not there are left out.
        folder: where the page lies.
        inline_bytes: up to this size of all together they go into the page.

    Raises:
        VideoError: if a file is no video; the message names it.
    """
    there = [path for path in paths if path.is_file()]
    inside = sum(path.stat().st_size for path in there) <= inline_bytes
    videos: dict[Path, PageVideo] = {}
    for path in dict.fromkeys(there):
        video = PageVideo(data_uri(path.read_bytes(), "video/mp4") if inside else _address(path, folder))
        videos[path] = _with_poster(video, path) if len(there) <= MAX_POSTERS else video
    return videos


def where_they_are(videos: Mapping[Path, PageVideo]) -> str:
    """Say in a sentence whether the page can be taken elsewhere alone."""
    if any(not video.source.startswith("data:") for video in videos.values()):
        return "The videos are too large for one page: they play from the files they lie in, where those are now."
    return "The videos are part of this page."


def _address(path: Path, folder: Path) -> str:
    return escape(quote(os.path.relpath(path, folder)))


def _with_poster(video: PageVideo, path: Path) -> PageVideo:
    """Add the last picture of a video: where an episode ended, beside where it should have."""
    picture, file = Image.fromarray(read_last_frame(path)), BytesIO()
    picture.save(file, "JPEG", quality=JPEG_QUALITY)
    return video._replace(poster=data_uri(file.getvalue(), "image/jpeg"), size=picture.size)
