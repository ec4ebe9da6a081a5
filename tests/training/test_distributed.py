"""Several processes train as one does: started by torchrun, over gloo on the CPU."""

import csv
import json
import os
import shlex
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import runs_in_turn
import torch
from several_processes import finish, start
from sliding_square import write_slides

from vjepa_wm.cli import main
from vjepa_wm.data.media.video import write_video
from vjepa_wm.models.load import load_encoder

pytestmark = pytest.mark.usefixtures("without_curves")
OPTIONS = shlex.split(
    "--encoder.image-size 32 --encoder.patch-size 8 --encoder.embed-dim 24 --encoder.depth 2 --encoder.num-heads 2 "
    "--predictor-dim 16 --predictor-depth 1 --predictor-heads 2 --steps 6 --batch-size 8 --log-every 1 "
    "--save-every 3 --precision fp32"
)
VJEPA21 = shlex.split(
    "--encoder.levels 0 1 --encoder.image-tokenizer --encoder.modality-embedding --compute.micro-batch-size 2"
)
HALVES = ("--stages", "steps=3", "steps=3")
INVERSE = ["--inverse.weight", "1", "--inverse.data"]  # and the dataset
FORMS = {"V-JEPA 2": [], "V-JEPA 2.1 in micro batches": VJEPA21, "inverse dynamics": INVERSE}


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    rng = np.random.default_rng(0)
    for index in range(3):
        write_video(folder / f"{index}.mp4", rng.integers(0, 255, (20, 48, 48, 3), dtype=np.uint8), 5)
    return folder


def arguments(videos, out, *options):
    return ["pretrain", "--data", str(videos), "--out", str(out), *OPTIONS, *options]


def start_run(*words, **settings):
    return start(["-m", "vjepa_wm", *arguments(*words)], **settings)


def losses(out: Path):
    with (out / "metrics.csv").open(newline="") as file:
        return np.array([[float(row[name]) for name in ("loss", "context_loss")] for row in csv.DictReader(file)])


def weights(out):
    return torch.cat([value.flatten() for value in load_encoder(out / "encoder").state_dict().values()])


@pytest.fixture(scope="module")
def runs(videos, tmp_path_factory):
    """Runs of this process alone and of two together, which train in every way one after the other."""
    out, together = tmp_path_factory.mktemp("runs"), []
    slides = str(write_slides(out / "slides", num_episodes=4))
    for name, options in FORMS.items():
        options = [*options, slides] if options is INVERSE else options
        assert main(arguments(videos, out / name / "one", *options)) == 0
        for parallel in ("ddp", "fsdp"):
            words = arguments(videos, out / name / parallel, "--compute.parallel", parallel, *options)
            together.append((words, None))
    together.append((arguments(videos, out / "half", "--compute.parallel", "fsdp", *HALVES), 3))
    finish(start([runs_in_turn.__file__, json.dumps(together)]))
    return out


@pytest.mark.parametrize("form", FORMS)
def test_two_processes_train_as_one(runs, form):
    alone = losses(runs / form / "one")
    assert alone.shape == (6, 2) and np.ptp(alone[:, 0]) > 1e-3
    for parallel in ("ddp", "fsdp"):
        np.testing.assert_allclose(losses(runs / form / parallel), alone, atol=1e-5, rtol=0)
        torch.testing.assert_close(weights(runs / form / parallel), weights(runs / form / "one"), atol=1e-4, rtol=0)


def test_a_run_goes_on_with_other_processes(videos, runs):
    assert len(losses(runs / "half")) == 3
    assert main(arguments(videos, runs / "half", "--compute.parallel", "ddp", *HALVES)) == 0
    np.testing.assert_allclose(losses(runs / "half"), losses(runs / "V-JEPA 2" / "one"), atol=1e-5, rtol=0)


@pytest.mark.slow
def test_a_run_that_was_terminated_goes_on_with_other_processes(videos, runs, tmp_path):
    process = start_run(videos, tmp_path, "--compute.parallel", "fsdp", *HALVES)
    wait_for(tmp_path / "state/step-00000003", process)
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert len(losses(tmp_path)) < 6
    assert main(arguments(videos, tmp_path, "--compute.parallel", "ddp", *HALVES)) == 0
    np.testing.assert_allclose(losses(tmp_path), losses(runs / "V-JEPA 2" / "one"), atol=1e-5, rtol=0)


@pytest.mark.slow
def test_torchrun_goes_on_after_the_death_of_a_worker(videos, tmp_path):
    options = ("--steps", "60", "--save-every", "5")
    finish(start_run(videos, tmp_path / "whole", *options))
    process = start_run(videos, tmp_path / "killed", *options, restarts=1)
    wait_for(tmp_path / "killed/state/step-00000010", process)
    workers = [int(child) for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    os.kill(workers[-1], signal.SIGKILL)
    output = finish(process)
    assert "Sending process" in output or "restart" in output.lower()
    assert torch.equal(weights(tmp_path / "killed"), weights(tmp_path / "whole"))
    assert (tmp_path / "killed/metrics.csv").read_text() == (tmp_path / "whole/metrics.csv").read_text()


def wait_for(path, process):
    while not path.exists():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.01)
