"""A training run that is killed again and again ends with the weights and the log of one that never was."""

import random
import shlex
import subprocess
import sys
import time

import numpy as np
import pytest
from safetensors.torch import load_file
from torch import equal

from vjepa_wm.cli import main
from vjepa_wm.data.media.video import write_video
from vjepa_wm.models.checkpoint import VIDEO_ENCODER, save_model
from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.encoder_config import VideoEncoderConfig
from vjepa_wm.training.run.state_folder import STATE_FOLDER

KILLS = 20
SHORT = (
    "--steps 240 --batch-size 4 --save-every 4 --log-every 1 --precision fp32 --predictor-depth 1 --predictor-heads 2"
)
OPTIONS = {
    "pretrain": "--encoder.image-size 32 --encoder.patch-size 8 --encoder.embed-dim 24 --encoder.depth 2 "
    "--encoder.num-heads 2 --predictor-dim 16 --encoder.drop-path 0.2",
    "train-ac": "--predictor-dim 24 --validation-share 0.3",
}


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """What each stage trains on, as options."""
    folder, rng = tmp_path_factory.mktemp("given"), np.random.default_rng(0)
    for index in range(2):
        frames = rng.integers(0, 255, (20, 48, 48, 3), dtype=np.uint8)
        write_video(folder / f"videos/{index}.mp4", frames, 5)
    size = ["--env", "two_room", "--episodes", "4", "--steps", "8", "--image-size", "32", "--workers", "0"]
    assert main(["collect", "--out", str(folder / "set"), *size]) == 0
    encoder = VideoEncoderConfig(image_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=2)
    save_model(VideoEncoder(encoder), VIDEO_ENCODER, encoder, folder / "encoder")
    return {
        "pretrain": ["--data", str(folder / "videos")],
        "train-ac": ["--data", str(folder / "set"), "--encoder", str(folder / "encoder")],
    }


def start(stage, given, out):
    command = [sys.executable, "-c", "import sys; from vjepa_wm.cli import main; sys.exit(main())"]
    command += [stage, *given[stage], "--out", str(out), *shlex.split(f"{SHORT} {OPTIONS[stage]}")]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def newest_state(out):
    return max((out / STATE_FOLDER).glob("step-*[0-9]"), default=None)


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "written"), [("pretrain", ("encoder", "predictor")), ("train-ac", ("world_model",))])
def test_twenty_kills_change_nothing(given, tmp_path, stage, written):
    assert start(stage, given, tmp_path / "whole").wait() == 0
    moments, killed, steps = random.Random(0), 0, []
    while killed < KILLS:
        process = start(stage, given, tmp_path / "parts")
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
    assert start(stage, given, tmp_path / "parts").wait() == 0
    print(f"{stage}: killed {killed} times, after steps {steps}")
    assert killed == KILLS
    for name in written:
        whole, parts = (load_file(tmp_path / run / name / "model.safetensors") for run in ("whole", "parts"))
        assert whole.keys() == parts.keys() and all(equal(whole[key], parts[key]) for key in whole)
    assert (tmp_path / "whole/metrics.csv").read_text() == (tmp_path / "parts/metrics.csv").read_text()
