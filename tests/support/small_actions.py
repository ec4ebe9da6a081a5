"""A video with actions to anticipate, labelled as EPIC-KITCHENS is."""

import numpy as np

from vjepa_wm.data.media.video import write_video


def write_actions(folder):
    """Write the video, `train.csv` and `val.csv`; returns the options of `classify` that read the second second."""
    frames = np.random.default_rng(0).integers(0, 255, (48, 32, 32, 3), dtype=np.uint8)
    write_video(folder / "P01_01.mp4", frames, 8)
    columns = "video_id,start_timestamp,stop_timestamp,verb,verb_class,noun,noun_class"
    for name in ("train", "val"):
        rows = [f"P01_01,0:0:{2 + k / 2},0:0:{2.5 + k / 2},v{k % 2},{k % 2},n{k % 3},{k % 3}" for k in range(6)]
        (folder / f"{name}.csv").write_text("\n".join([columns, *rows]))
    return ["--read.test", str(folder / "val.csv"), "--read.anticipation-s", "0.5", "--read.context-s", "1"]
