"""Several processes train as one does: started by torchrun, over gloo on the CPU."""

import csv
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from vjepa_wm.data.media.video import write_video
from vjepa_wm.models.load import load_encoder

OPTIONS = shlex.split(
    "--encoder.image-size 32 --encoder.patch-size 8 --encoder.embed-dim 24 --encoder.depth 2 --encoder.num-heads 2 "
    "--predictor-dim 16 --predictor-depth 1 --predictor-heads 2 --steps 20 --batch-size 8 --log-every 1 "
    "--save-every 10 --precision fp32"
)
VJEPA21 = shlex.split(
    "--encoder.levels 0 1 --encoder.image-tokenizer --encoder.modality-embedding --compute.micro-batch-size 2"
)


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    rng = np.random.default_rng(0)
    for index in range(3):
        write_video(folder / f"{index}.mp4", rng.integers(0, 255, (20, 48, 48, 3), dtype=np.uint8), 5)
    return folder


def start(processes, videos, out, *options, restarts=0):
    launch = []
    if processes > 1:
        launch = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        launch += ["--max-restarts", str(restarts), "--monitor-interval", "0.2", "-m"]
    command = [sys.executable, "-m", *launch, "vjepa_wm", "pretrain", "--data", str(videos), "--out", str(out)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*command, *OPTIONS, *options], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish(process):
    output = process.communicate()[0]
    assert process.returncode == 0, output
    return output


def losses(out: Path):
    with (out / "metrics.csv").open(newline="") as file:
        return np.array([[float(row[name]) for name in ("loss", "context_loss")] for row in csv.DictReader(file)])


def weights(out):
    return torch.cat([value.flatten() for value in load_encoder(out / "encoder").state_dict().values()])


@pytest.mark.parametrize("options", [[], VJEPA21], ids=["V-JEPA 2", "V-JEPA 2.1 in micro batches"])
def test_two_processes_train_as_one(videos, tmp_path, options):
    finish(start(1, videos, tmp_path / "one", *options))
    alone = losses(tmp_path / "one")
    assert alone.shape == (20, 2) and np.ptp(alone[:, 0]) > 1e-3
    for parallel in ("ddp", "fsdp"):
        finish(start(2, videos, tmp_path / parallel, "--compute.parallel", parallel, *options))
        np.testing.assert_allclose(losses(tmp_path / parallel), alone, atol=1e-5, rtol=0)
        torch.testing.assert_close(weights(tmp_path / parallel), weights(tmp_path / "one"), atol=1e-4, rtol=0)


def test_a_run_goes_on_with_other_processes(videos, tmp_path):
    finish(start(1, videos, tmp_path / "one"))
    half = ("--stages", "steps=10", "steps=10")  # so that the state of step 10 is the last of the first part
    for number, (processes, parallel) in enumerate(((2, "fsdp"), (1, "ddp"))):
        process = start(processes, videos, tmp_path / "parts", "--compute.parallel", parallel, *half)
        if number == 0:
            wait_for(tmp_path / "parts/state/step-00000010", process)
            process.send_signal(signal.SIGTERM)
            process.communicate()
        else:
            finish(process)
    np.testing.assert_allclose(losses(tmp_path / "parts"), losses(tmp_path / "one"), atol=1e-5, rtol=0)


@pytest.mark.slow
def test_torchrun_goes_on_after_the_death_of_a_worker(videos, tmp_path):
    options = ("--steps", "60", "--save-every", "5")
    finish(start(2, videos, tmp_path / "whole", *options))
    process = start(2, videos, tmp_path / "killed", *options, restarts=1)
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
