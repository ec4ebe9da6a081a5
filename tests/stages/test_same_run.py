"""A run goes on only as what it began as: a command that differs in what matters is refused and told in what.

A case is one line: the stage, what is added to the command that began the run, and the message.
"""

from __future__ import annotations

import shutil

import pytest
import torch
from small_runs import COMMANDS, give, write_places
from small_trajectories import contents

from vjepa_wm.safe_files import FolderInUseError, FolderLock
from vjepa_wm.training.run.distributed import World
from vjepa_wm.training.run.training_state import TrainingState

pytestmark = pytest.mark.usefixtures("without_curves")
OTHER_RUNS = [
    ("train-ac", "--encoder OTHER_ENCODER", "encoder "),
    ("train-ac", "--data LONGER_SET", "data "),
    ("train-ac", "--seed 1", "seed 0, asked for 1"),
    ("train-ac", "--learning-rate 0.01", "learning_rate 0.001, asked for 0.01"),
    ("train-ac", "--validation-share 0.5", "validation_share 0.3, asked for 0.5"),
    ("train-ac", "--steps 1", "steps 2, asked for 1"),
    ("train-ac", "--rollout-steps 1 --seed 2", "seed 0, asked for 2; rollout_steps 2, asked for 1"),
    ("train-ac", "--read.actions from_states", "read.actions None, asked for from_states"),
    ("train-proposal", "--world-model OTHER_WORLD", "world_model "),
    ("train-proposal", "--goal-within 3", "goal_within None, asked for 3"),
    ("train-looks", "--data OTHER_DARK_SET", "data "),
    ("train-looks", "--targets OTHER_DARK_SET", "targets "),
    ("train-looks", "--old-share 0.5", "old_share 0.15, asked for 0.5"),
    ("pretrain", "--seed 1", "seed 0, asked for 1"),
    ("pretrain", "--fps 4", "fps 5.0, asked for 4.0"),
    ("pretrain", "--data OTHER_VIDEOS", "data "),
    ("pretrain", "--objective.loss l2", "objective.loss l1, asked for l2"),
    ("pretrain", "--steps 4 --stages steps=1 steps=3,num_frames=6", "stages "),
    ("collect", "--env point_maze", "env two_room, asked for point_maze"),
    ("collect", "--policy random", "policy play, asked for random"),
    ("collect", "--seed 1", "seed 0, asked for 1"),
    ("collect", "--steps 4", "steps 3, asked for 4"),
    ("collect", "--variation.layout default", "variation.layout drawn, asked for default"),
]
SAME_RUNS = [
    ("train-ac", "--encoder COPIED_ENCODER"),
    ("train-ac", "--data COPIED_SET --latents LATENTS"),
    ("train-ac", "--log-every 2 --save-every 1 --steps 3"),
    ("train-proposal", "--world-model COPIED_WORLD --steps 3"),
    ("train-looks", "--targets COPIED_SET --latents LATENTS --steps 3"),
    ("pretrain", "--loader.workers 1 --loader.cache-gib 1 --compute.micro-batch-size 2 --steps 3"),
    ("pretrain", "--steps 4 --stages steps=3 steps=1,num_frames=6"),
    ("collect", "--episodes 3 --workers 1"),
    ("collect", "--episodes 1"),
]


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    return write_places(tmp_path_factory.mktemp("places"))


@pytest.fixture(scope="module")
def begun(places, tmp_path_factory):
    """A finished run of each stage, made when it is asked for."""
    made = {}

    def begin(stage):
        if stage not in made:
            made[stage] = tmp_path_factory.mktemp(stage) / "run"
            assert give(stage, made[stage], COMMANDS[stage], places) == 0
        return made[stage]

    return begin


@pytest.mark.parametrize(("stage", "change", "message"), OTHER_RUNS, ids=lambda value: value[:40])
def test_another_run_is_refused_and_nothing_changes(stage, change, message, begun, places, tmp_path, capsys):
    out = shutil.copytree(begun(stage), tmp_path / "run")
    before = contents(out)
    assert give(stage, out, f"{COMMANDS[stage]} {change}", places) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert message in error and f"{out} holds another" in error
    assert contents(out) == before


@pytest.mark.parametrize(("stage", "change"), SAME_RUNS, ids=lambda value: value[:40])
def test_what_cannot_matter_may_differ(stage, change, begun, places, tmp_path):
    out = shutil.copytree(begun(stage), tmp_path / "run")
    assert give(stage, out, f"{COMMANDS[stage]} {change}", places) == 0


@pytest.mark.parametrize(
    "stage", ["train-ac", "train-proposal", "train-looks", "pretrain", "collect", "evaluate", "features"]
)
def test_a_second_writer_is_told_who_writes(stage, places, tmp_path, capsys):
    with FolderLock(tmp_path / "out", "meta/.lock" if stage == "collect" else ".lock"):
        assert give(stage, tmp_path / "out", COMMANDS[stage], places) == 1
    assert f"is writing into {tmp_path / 'out'} just now" in capsys.readouterr().err
    written = [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert written == [".lock"]


def test_what_another_run_wrote_between_load_and_lock_is_not_overwritten(tmp_path):
    def state():
        network = torch.nn.Linear(2, 2)
        optimizer = torch.optim.AdamW(network.parameters())
        return TrainingState(tmp_path, modules={"network": network}, optimizer=optimizer, world=World())

    late = state()
    assert late.load() == 0
    with state() as first:
        first.save(3)
    with pytest.raises(FolderInUseError, match=r"has just written step 3 .* give the command again"), late:
        pass
    again = state()
    assert again.load() == 3
    with again:
        again.save(4)
