"""From a labelled item to what an encoder takes: clips spread over the video, and squares cut out of them.

Letters: T frames of a clip, S side of the square frames, P clips of a video times V views of each.

Source: V-JEPA 2 (arXiv 2506.09985), appendix on probes: several clips of a video, several crops of a clip.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from vjepa_wm.checks import check_at_least, check_positive
from vjepa_wm.data.clips.clip_times import nearest
from vjepa_wm.data.clips.file_lists import ListedVideo
from vjepa_wm.data.clips.opened_video import OpenedVideo, open_listed
from vjepa_wm.data.labelled.labelled_set import Item, TablePicture
from vjepa_wm.data.media.pictures import read_picture
from vjepa_wm.models.encoder_config import VideoEncoderConfig
from vjepa_wm.models.pixels import prepare_clip, prepare_views


@dataclass(frozen=True, kw_only=True)
class ClipOptions:
    """What is seen of a video or picture."""

    num_frames: int = 16
    """Frames of a clip; of a picture, copies of it; 1 gives pictures to encoders as such."""
    fps: float | None = None
    """Frames per second of a clip; none: the frames are spread evenly over the whole video."""
    image_size: int | None = None
    """Side of the square frames [px]; none: what the encoder was trained on."""
    clips: int = 1
    """Clips of a video, spread evenly over it; their tokens are put end to end, their means averaged."""
    views: int = 1
    """Squares along the longer side, over which scores are averaged when measuring; 1 is the centre."""
    still: bool = False
    """Show one frame, the middle one, in place of all frames of a clip: what can be told without motion."""

    def __post_init__(self) -> None:
        check_at_least(1, num_frames=self.num_frames, image_size=self.image_size, clips=self.clips, views=self.views)
        check_positive(fps=self.fps)

    def size_for(self, encoder: VideoEncoderConfig) -> int:
        """Return the side of the frames for an encoder [px].

        Raises:
            ValueError: if the clips do not divide into its tubelets.
        """
        size = self.image_size or encoder.image_size
        encoder.check_clip(self.num_frames, size)
        return size


def clip_frames(times: np.ndarray, options: ClipOptions, jitter: float = 0.5) -> np.ndarray:
    """Choose the frames of a video's clips.

    With a rate, the first clip begins with the video and the last ends with it, a single one lies in the middle; what
    a video is too short for repeats its last frame. Without one, each clip spreads over the whole video, one between
    the frames of the other.

    Args:
        times: time stamps of the video's frames, increasing [s], (num_video_frames,).
        options: how many, and how fast.
        jitter: where in its room each clip lies, 0 to 1; training draws it, 0.5 is the middle.

    Returns:
        Indices into `times`, not decreasing within a clip, (clips, T).
    """
    gap_s = float(np.median(np.diff(times))) if len(times) > 1 else 0.0  # how long the last frame is shown
    length_s, steps = times[-1] + gap_s - times[0], np.arange(options.num_frames)
    if options.fps is None:
        places = (np.arange(options.clips) + jitter) / options.clips
        wanted = (steps[None] + places[:, None]) / options.num_frames * length_s - gap_s / 2
    else:
        clip_s = options.num_frames / options.fps
        shares = np.linspace(0, 1, options.clips) if options.clips > 1 else np.array([jitter])
        wanted = shares[:, None] * max(length_s - clip_s, 0.0) + steps[None] / options.fps
    ids = nearest(times, (times[0] + wanted).ravel()).reshape(options.clips, options.num_frames)
    return np.repeat(ids[:, [options.num_frames // 2]], options.num_frames, axis=1) if options.still else ids


def read_item(item: Item, options: ClipOptions, jitter: float = 0.5) -> np.ndarray:
    """Read the clips of an item.

    Args:
        item: a video, or a picture, which is repeated.
        options: which.
        jitter: as of `clip_frames`.

    Returns:
        uint8 RGB, (clips, T, height, width, 3); a picture has one clip.

    Raises:
        VideoError: if the video cannot be read.
        PictureError: if the picture cannot be read.
        OSError: if there is no such file.
    """
    if not isinstance(item, ListedVideo):
        picture = item.read(item.index) if isinstance(item, TablePicture) else read_picture(item)
        return np.broadcast_to(picture, (1, options.num_frames, *picture.shape))
    (video,) = open_listed([item])
    if not isinstance(video, OpenedVideo):
        raise video
    ids = clip_frames(video.scan.times, options, jitter)
    wanted, positions = np.unique(ids, return_inverse=True)
    return video.read(wanted)[positions.reshape(ids.shape)]


def item_views(item: Item, options: ClipOptions, image_size: int) -> Tensor:
    """Return what an encoder takes of an item: (P * V, 3, T, S, S) float32, the views of a clip one after the other.

    A picture is repeated to as many clips as a video has. Errors as of `read_item`.
    """
    clips = torch.from_numpy(np.require(read_item(item, options), requirements=("C", "W")))
    if options.views == 1:
        seen = prepare_clip(clips, image_size)
    else:
        seen = rearrange(prepare_views(clips, image_size, num_views=options.views), "p v c t h w -> (p v) c t h w")
    return seen if len(clips) == options.clips else seen.repeat(options.clips, 1, 1, 1, 1)
