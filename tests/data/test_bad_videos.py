import re

import pytest
from bad_videos import BAD_KINDS, GOOD_KINDS, make_videos

from vjepa_wm.data.clips.clip_sources import find_clip_source
from vjepa_wm.data.clips.open_mixture import open_mixture
from vjepa_wm.data.clips.opened_video import OpenedVideo

COUNTS = [
    pytest.param(len(BAD_KINDS), len(GOOD_KINDS), id="one of each kind"),
    pytest.param(200, 200, id="200 and 200", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("num_bad", "num_good"), COUNTS)
@pytest.mark.parametrize("cache_bytes", [0, 2**30])
@pytest.mark.parametrize("open_at_start", [0, 10_000])
def test_bad_files_are_named_and_all_others_seen(tmp_path, monkeypatch, num_bad, num_good, open_at_start, cache_bytes):
    bad, good = make_videos(tmp_path, num_bad, num_good)
    seen = set()
    read = OpenedVideo.read

    def spy(video, ids):
        clip = read(video, ids)
        seen.add(video.listed.path)
        return clip

    monkeypatch.setattr(OpenedVideo, "read", spy)
    source = find_clip_source(tmp_path)
    assert len(source.videos) == num_bad + num_good
    settings = {"num_frames": 8, "fps": 8.0, "seed": 0, "max_bad_share": 0.99}
    mixture = open_mixture([source], open_at_start=open_at_start, cache_bytes=cache_bytes, **settings)
    for number in range(num_bad + num_good):
        clip = mixture.video(number)
        assert clip.shape[0] == 8 and clip.shape[3] == 3
    assert set(mixture.bad) == set(bad)
    for path, reason in mixture.bad.items():
        assert re.search(bad[path], reason), (path.name, reason)
        assert path.name in reason or "too short" in reason
    assert seen == set(good)
    assert f"{num_bad} of {num_bad + num_good} opened videos are bad" in mixture.report()
