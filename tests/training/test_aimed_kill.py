"""A training that is killed between two writes of its save ends with the files of one that never was.

A place is one line: before or after which call of which function the process is killed.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from small_runs import COMMANDS, give, words_of, write_places

from vjepa_wm.models.checkpoint import WEIGHTS_FILE

pytestmark = pytest.mark.usefixtures("without_curves")
STATE = "vjepa_wm.training.run.training_state:TrainingState"
FOLDER = "vjepa_wm.training.run.state_folder:StateFolder"
PLACES = [
    ("vjepa_wm.training.run.metrics:MetricsWriter.write", "before", 4),  # the step is done, nothing is written
    ("vjepa_wm.training.run.metrics:MetricsWriter.write", "after", 4),  # the row is there, the model is not
    ("vjepa_wm.models.checkpoint:write_tensors", "before", 2),  # before the weights of the final model
    ("vjepa_wm.models.checkpoint:write_tensors", "after", 2),  # the weights are there, config.json is the one before
    (f"{STATE}.save", "before", 2),  # the model is there, the state is not
    (f"{FOLDER}.make_room", "after", 2),  # there is room for the state, nothing in it
    (f"{FOLDER}.publish", "before", 2),  # its tensors are written, it has no name
    (f"{FOLDER}.publish", "after", 2),  # all is there, but the process did not come to its end
]
STEPS = "--steps 4 --validation-share 0.3"


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    return write_places(tmp_path_factory.mktemp("places"))


@pytest.fixture(scope="module")
def whole(places, tmp_path_factory):
    """The folder of each training that nobody killed, made when it is asked for."""
    made = {}

    def run(stage):
        if stage not in made:
            made[stage] = tmp_path_factory.mktemp(stage) / "whole"
            assert give(stage, made[stage], f"{COMMANDS[stage]} {STEPS}", places) == 0
        return made[stage]

    return run


@pytest.mark.slow
@pytest.mark.parametrize(("place", "when", "number"), PLACES)
@pytest.mark.parametrize("stage", ["train-ac", "train-proposal", "train-looks"])
def test_a_kill_within_a_save_changes_nothing(stage, place, when, number, whole, places, tmp_path):
    script = str(Path(__file__).parents[1] / "support/killed_run.py")
    words = words_of(stage, tmp_path / "out", f"{COMMANDS[stage]} {STEPS}", places)
    killed = subprocess.run([sys.executable, script, place, when, str(number), *words], capture_output=True)
    assert killed.returncode == -9, killed.stderr.decode()[-500:]
    assert give(stage, tmp_path / "out", f"{COMMANDS[stage]} {STEPS}", places) == 0
    for name in ("metrics.csv", f"world_model/{WEIGHTS_FILE}", "world_model/config.json"):
        assert (tmp_path / "out" / name).read_bytes() == (whole(stage) / name).read_bytes(), name
    left = {path.name for path in (tmp_path / "out").rglob("*")} - {path.name for path in whole(stage).rglob("*")}
    assert left == set()
