"""Commands that are killed or stopped by Ctrl-C at any moment, and given again, end as one that nobody disturbed.

A case is a stage and the number of its strike; what strikes when is drawn from that. A third of the kills are aimed at
the moves of files to their places, the others come at any call of any function.
"""

from __future__ import annotations

import json
import random
import signal

import pytest
from small_runs import COMMANDS, words_of, write_places
from small_trajectories import contents
from struck_run import Strike, run_command

from vjepa_wm.training.run.state_folder import has_training_state

STAGES = {
    "train-ac": f"{COMMANDS['train-ac']} --latents LATENTS --steps 4",
    "train-proposal": f"{COMMANDS['train-proposal']} --latents LATENTS --steps 4",
    "train-looks": f"{COMMANDS['train-looks']} --latents LATENTS --steps 4",
    "evaluate": f"{COMMANDS['evaluate']} --episodes 2",
    "features": COMMANDS["features"],
    "convert": COMMANDS["convert"],
    "probe": "--data SET --encoder ENCODER --test-share 0.5",
}
KILLS, STOPS = 5, {"convert": 1, "probe": 1}
CASES = [
    *((stage, "SIGKILL", number) for stage in STAGES for number in range(KILLS)),
    *((stage, "SIGINT", number) for stage in STAGES for number in range(STOPS.get(stage, 2))),
]
DERIVED = ("report.html", "results.json", ".png", ".lock", "train_ac.json", "train_proposal.json", "train_looks.json")


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    return write_places(tmp_path_factory.mktemp("places"))


def give(stage, folder, places, strike=None, more=""):
    """Give a command that writes all it does into a folder; return its exit status."""
    words = words_of(stage, folder / "out", f"{STAGES[stage]} {more}", places | {"LATENTS": str(folder / "latents")})
    return run_command(words if stage != "probe" else words[:-2], folder / "log.txt", strike)


@pytest.fixture(scope="module")
def whole(places, tmp_path_factory):
    """The folder of each command that nobody disturbed, made when it is asked for."""
    made = {}

    def run(stage):
        if stage not in made:
            made[stage] = tmp_path_factory.mktemp(stage)
            assert give(stage, made[stage], places) == 0
        return made[stage]

    return run


def results(folder):
    """Return what a command leaves, without what is drawn from it, tells the time, or says where it lies."""
    found = {name: data for name, data in contents(folder / "out").items() if not name.endswith(DERIVED)}
    for name in [name for name in found if name.startswith("episodes/")]:
        found[name] = json.loads(found[name]) | {"seconds_per_action": 0}
    found.pop("evaluation.json", None)
    return {name: data for name, data in found.items() if "state/" not in name and "seen-" not in name}


def draw(stage, sign, number, counts):
    """Return what strikes when."""
    rng = random.Random(f"{stage} {sign} {number}")
    if sign == "SIGKILL" and number % 3 == 0 and counts["move"]:
        return Strike(signal.SIGKILL, rng.choice(("before move", "after move")), rng.randint(1, counts["move"]))
    return Strike(signal.Signals[sign], "call", rng.randint(1, counts["call"]))


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "sign", "number"), CASES)
def test_a_struck_command_that_is_given_again_ends_as_one_that_was_not(stage, sign, number, whole, places, tmp_path):
    counts = json.loads((whole(stage) / "log.json").read_text())
    strike = draw(stage, sign, number, counts)
    assert give(stage, tmp_path, places, strike) in ((-9,) if sign == "SIGKILL" else (0, 130))
    (tmp_path / "out").mkdir(exist_ok=True)
    before = results(tmp_path)
    if has_training_state(tmp_path / "out") or (tmp_path / "out/evaluation.json").exists():
        assert give(stage, tmp_path, places, more="--seed 7") == 1
        assert results(tmp_path) == before
    is_whole = before == results(whole(stage))
    assert give(stage, tmp_path, places) == 0 or (stage == "convert" and is_whole)
    assert results(tmp_path) == results(whole(stage))
    if stage == "probe":
        assert (tmp_path / "log.txt").read_text() == (whole(stage) / "log.txt").read_text()
    left = [path.name for path in (tmp_path / "out").rglob("*") if ".tmp" in path.name]
    assert left == []
