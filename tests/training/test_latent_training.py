"""What the trainings above latents share: several processes train as one does, whatever is trained."""

import csv
import json
import shlex

import numpy as np
import pytest
import runs_in_turn
import torch
from several_processes import finish, start
from sliding_square import write_slides
from tiny_world_model import tiny_world_model

from vjepa_wm.cli import main
from vjepa_wm.models.checkpoint import save_model
from vjepa_wm.models.load import load_world_model
from vjepa_wm.models.world_model import save_world_model
from vjepa_wm.training.ac_training import TrainACConfig
from vjepa_wm.training.run.distributed import World
from vjepa_wm.training.run.latent_training import open_windows

pytestmark = pytest.mark.usefixtures("without_curves")
RUN = "--steps 6 --batch-size 8 --log-every 1 --save-every 3 --precision fp32 --validation-share 0.2"
FORMS = {
    "train-ac": "--predictor-dim 24 --predictor-depth 1 --predictor-heads 2 --inverse-weight 0.5",
    "train-proposal": "--reader-dim 8 --hidden-dim 32 --num-modes 3 --z-noise 0.1",
    "train-looks": "--num-frames 3 --old-share 0.5",
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Two datasets, an encoder, and a world model that has it."""
    folder, model = tmp_path_factory.mktemp("inputs"), tiny_world_model()
    for seed, name in enumerate(("data", "more")):
        write_slides(folder / name, seed=seed)
        write_slides(folder / f"dark_{name}", seed=seed, look=(90, 10))
    save_model(model.encoder, "video_encoder", model.config.encoder, folder / "encoder")
    save_world_model(model, folder / "world_model")
    return folder


def arguments(inputs, form, out, *options):
    option, name = ("encoder", "encoder") if form == "train-ac" else ("world-model", "world_model")
    data = ["--data", str(inputs / "data"), str(inputs / "more"), "--data-weights", "1", "2"]
    if form == "train-looks":
        data = ["--targets", *data[1:], "--data", str(inputs / "dark_data"), str(inputs / "dark_more")]
    return [
        form,
        *data,
        f"--{option}",
        str(inputs / name),
        "--out",
        str(out),
        *shlex.split(f"{RUN} {FORMS[form]}"),
        *options,
    ]


@pytest.fixture(scope="module")
def runs(inputs, tmp_path_factory):
    """Runs of two processes, the first of which finds nothing encoded, and then of this one alone."""
    out = tmp_path_factory.mktemp("runs")
    together = [(arguments(inputs, form, out / form / "two"), None) for form in FORMS]
    together += [(arguments(inputs, form, out / form / "half"), 3) for form in FORMS]
    finish(start([runs_in_turn.__file__, json.dumps(together)]))
    for form in FORMS:
        assert main(arguments(inputs, form, out / form / "one")) == 0
    return out


def rows(out):
    with (out / "metrics.csv").open(newline="") as file:
        return [{name: float(value or "nan") for name, value in row.items()} for row in csv.DictReader(file)]


def assert_same_rows(one, other):
    assert [list(row) for row in one] == [list(row) for row in other]
    values = (np.array([list(row.values()) for row in found]) for found in (one, other))
    np.testing.assert_allclose(*values, atol=1e-5, rtol=1e-5)


def weights(out):
    return torch.cat([value.flatten() for value in load_world_model(out / "world_model").state_dict().values()])


@pytest.mark.parametrize("form", FORMS)
def test_two_processes_train_as_one(runs, form):
    alone = rows(runs / form / "one")
    assert len(alone) == 6 and np.ptp([row["grad_norm"] for row in alone]) > 1e-3
    assert_same_rows(rows(runs / form / "two"), alone)
    off = (weights(runs / form / "two") - weights(runs / form / "one")).abs()
    assert (
        (off > 1e-4).sum() <= 4 and off.mean() < 1e-6 and off.max() < 1e-3
    )  # of next to no gradient Adam makes a whole step


@pytest.mark.parametrize("form", FORMS)
def test_a_run_goes_on_with_another_number_of_processes(inputs, runs, form):
    assert len(rows(runs / form / "half")) == 3
    assert main(arguments(inputs, form, runs / form / "half")) == 0
    assert_same_rows(rows(runs / form / "half"), rows(runs / form / "one"))


def test_a_batch_must_divide_among_the_processes(inputs):
    config = TrainACConfig(data=(inputs / "data",), encoder=inputs / "encoder", out=inputs / "out", batch_size=8)
    with pytest.raises(ValueError, match="batch_size must be a multiple of the 3 processes, got 8"):
        open_windows(config, tiny_world_model().encoder, 3, World(size=3))
