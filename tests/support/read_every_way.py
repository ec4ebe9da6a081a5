"""Read a video in every way there is, and hold the ways against each other."""

import numpy as np

from vjepa_wm.data.clips.clip_sources import find_clip_source
from vjepa_wm.data.clips.open_mixture import open_mixture
from vjepa_wm.data.media.random_access import read_frames_at, scan_video
from vjepa_wm.data.media.video import VideoError, read_frames


def read_every_way(path):
    """Return a video's frames, which must be the same from the start, from any place, from memory and from disk."""
    frames, times = read_frames(path)
    scan = scan_video(path)
    assert np.array_equal(scan.times, times)
    assert (scan.height, scan.width) == frames.shape[1:3]
    for k in range(len(times)):
        assert np.array_equal(read_frames_at(path, times[[k]], key_times=scan.key_times)[0], frames[k]), k
    for k in range(0, len(times), 7):
        assert np.array_equal(read_frames_at(path, times[[k]])[0], frames[k]), k
        assert np.array_equal(read_frames(path, times[k])[0], frames[k:]), k
    assert [clip.tobytes() for clip in _clips(path, 0)] == [clip.tobytes() for clip in _clips(path, 2**30)]
    return frames


def verdicts(path, num_clips):
    """Say what is wrong with a video after some clips, without memory for frames and with it; None: nothing."""
    found = []
    for cache_bytes in (0, 2**30):
        try:
            _clips(path, cache_bytes, num_clips)
        except VideoError as error:
            found.append(str(error))
        else:
            found.append(None)
    return found


def _clips(path, cache_bytes, num_clips=8):
    source = find_clip_source(path)
    mixture = open_mixture([source], num_frames=2, fps=10, seed=0, cache_bytes=cache_bytes, max_bad_share=0.0)
    clips = [mixture.video(number).numpy() for number in range(num_clips)]
    assert not mixture.bad
    return clips
