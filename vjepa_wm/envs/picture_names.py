"""The names under which observations and goals hold what each camera sees. Needs no simulator."""

from __future__ import annotations

from collections.abc import Sequence


def picture_names(cameras: Sequence[str]) -> dict[str, str]:
    """Return the name of each camera's pictures: `image` for the first, `image_<camera>` for another.

    Args:
        cameras: names of the cameras that look on, the main one first.

    Returns:
        By the name of the camera, in their order.
    """
    return {camera: f"image_{camera}" if k else "image" for k, camera in enumerate(cameras)}
