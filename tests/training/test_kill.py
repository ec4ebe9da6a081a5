"""A pretraining run that is killed again and again ends with the weights of one that never was."""

import random
import shlex
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from vjepa_wm.data.media.video import write_video
from vjepa_wm.models.load import load_encoder
from vjepa_wm.training.run.training_state import STATE_FOLDER

KILLS = 20
OPTIONS = shlex.split(
    "--encoder.image-size 32 --encoder.patch-size 8 --encoder.embed-dim 24 --encoder.depth 2 --encoder.num-heads 2 "
    "--predictor-dim 16 --predictor-depth 1 --predictor-heads 2 --steps 240 --batch-size 4 --save-every 4 "
    "--log-every 1 --precision fp32 --encoder.drop-path 0.2"
)


def start(videos, out):
    command = [sys.executable, "-c", "import sys; from vjepa_wm.cli import main; sys.exit(main())"]
    command += ["pretrain", "--data", str(videos), "--out", str(out), *OPTIONS]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def newest_state(out):
    return max((out / STATE_FOLDER).glob("step-*[0-9]"), default=None)


@pytest.mark.slow
def test_twenty_kills_change_nothing(tmp_path):
    rng = np.random.default_rng(0)
    for index in range(2):
        frames = rng.integers(0, 255, (20, 48, 48, 3), dtype=np.uint8)
        write_video(tmp_path / f"videos/{index}.mp4", frames, 5)
    assert start(tmp_path / "videos", tmp_path / "whole").wait() == 0
    moments, killed, steps = random.Random(0), 0, []
    while killed < KILLS:
        process = start(tmp_path / "videos", tmp_path / "parts")
        before = newest_state(tmp_path / "parts")
        # The moments are counted from the first save of this life, so that the run gets on whatever the start takes.
        while process.poll() is None and newest_state(tmp_path / "parts") == before:
            time.sleep(0.005)
        time.sleep(moments.uniform(0.0, 0.1))
        if process.poll() is not None:
            break  # it came to its end
        process.kill()
        process.wait()
        killed += 1
        steps.append(len((tmp_path / "parts/metrics.csv").read_text().splitlines()) - 1)
    assert start(tmp_path / "videos", tmp_path / "parts").wait() == 0
    print(f"killed {killed} times, after steps {steps}")
    assert killed == KILLS
    whole, parts = (load_encoder(tmp_path / name / "encoder") for name in ("whole", "parts"))
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), parts.parameters(), strict=True))
    assert (tmp_path / "whole/metrics.csv").read_text() == (tmp_path / "parts/metrics.csv").read_text()
