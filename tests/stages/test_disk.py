"""A full disk, a read-only or a deleted folder under each command: one line with the path, and what was good stays.

A case is the name of a stage in `small_runs.COMMANDS`. Disks are small file systems in memory; only root makes them.
"""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest
from small_runs import COMMANDS, give, write_places

from vjepa_wm.data.collection import record
from vjepa_wm.evaluation import runner
from vjepa_wm.models.load import load_encoder, load_world_model
from vjepa_wm.training.run.training_state import TrainingState

pytestmark = pytest.mark.usefixtures("without_curves")
TRAINING = ("train-ac", "train-proposal", "train-looks", "pretrain")


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    return write_places(tmp_path_factory.mktemp("places"))


@pytest.fixture
def disk(tmp_path):
    """A disk of 16 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", folder]).returncode:
        pytest.skip("only root can make a disk")
    yield folder
    subprocess.run(["umount", folder], check=True)


def fill(disk, leave=0):
    """Write a file that leaves so many bytes."""
    free = shutil.disk_usage(disk).free
    (disk / "filling").write_bytes(bytes(max(free - leave, 0)))


def the_line(capsys):
    """Return the one line of an error."""
    said = capsys.readouterr().err.split("vjepa-wm: ")
    assert len(said) == 2 and said[1].count("\n") == 1, said
    return said[1]


@pytest.mark.parametrize("leave", [0, 2_000])
@pytest.mark.parametrize("stage", COMMANDS)
def test_a_full_disk_is_one_line_with_the_path(stage, leave, disk, places, capsys):
    fill(disk, leave)
    assert give(stage, disk / "out", COMMANDS[stage], places) == 1
    line = the_line(capsys)
    assert "No space left on device" in line and f"{disk}/out" in line


@pytest.mark.parametrize("stage", COMMANDS)
def test_a_read_only_disk_is_one_line_with_the_path(stage, disk, places, capsys):
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    assert give(stage, disk / "out", COMMANDS[stage], places) == 1
    line = the_line(capsys)
    assert "Read-only file system" in line and f"{disk}/out" in line


@pytest.mark.parametrize("stage", TRAINING)
def test_after_a_full_disk_the_last_good_state_goes_on(stage, disk, places, tmp_path, capsys):
    out, longer = disk / "out", f"{COMMANDS[stage]} --steps 4"
    assert give(stage, out, COMMANDS[stage], places) == 0
    fill(disk, leave=20_000)
    assert give(stage, out, longer, places) == 1
    assert "No space left on device" in the_line(capsys)
    load = load_encoder if stage == "pretrain" else load_world_model
    load(out / ("encoder" if stage == "pretrain" else "world_model"))
    (disk / "filling").unlink()
    assert give(stage, out, longer, places) == 0
    assert give(stage, tmp_path / "whole", longer, places) == 0
    assert (out / "metrics.csv").read_text().splitlines()[-1][0] == "3"


def test_a_disk_that_fills_while_latents_are_written_keeps_those_that_were(disk, places, tmp_path, capsys):
    words = f"{COMMANDS['train-ac']} --latents {disk}/latents"
    assert give("train-ac", tmp_path / "out", words, places) == 0
    fill(disk, leave=4_096)
    longer = words.replace("SET", "LONGER_SET")
    assert give("train-ac", tmp_path / "longer", longer, places) == 1
    line = the_line(capsys)
    assert "No space left on device" in line and f"{disk}/latents/" in line
    assert give("train-ac", tmp_path / "again", words, places) == 0
    (disk / "filling").unlink()
    assert give("train-ac", tmp_path / "longer", longer, places) == 0


@pytest.mark.parametrize("stage", TRAINING)
def test_a_training_whose_folder_is_deleted_fails(stage, places, tmp_path, monkeypatch, capsys):
    save = TrainingState.save

    def delete_and_save(state, step):
        if step == 2:
            shutil.rmtree(tmp_path / "out")
        save(state, step)

    monkeypatch.setattr(TrainingState, "save", delete_and_save)
    assert give(stage, tmp_path / "out", f"{COMMANDS[stage]} --steps 4", places) == 1
    assert f"{tmp_path / 'out'} was deleted or replaced" in the_line(capsys)


@pytest.mark.parametrize(("stage", "module"), [("collect", record), ("evaluate", runner)])
def test_what_is_played_into_a_deleted_folder_fails(stage, module, places, tmp_path, monkeypatch, capsys):
    play = module.run_numbered

    def delete_and_play(*arguments, **options):
        for number, episode in enumerate(play(*arguments, **options)):
            if number == 1:
                shutil.rmtree(tmp_path / "out")
            yield episode

    monkeypatch.setattr(module, "run_numbered", delete_and_play)
    assert give(stage, tmp_path / "out", COMMANDS[stage], places) == 1
    assert f"{tmp_path / 'out'} was deleted or replaced" in the_line(capsys)
    assert not (tmp_path / "out/meta/info.json").exists() and not (tmp_path / "out/results.json").exists()


@pytest.mark.parametrize("stage", COMMANDS)
def test_all_files_have_the_usual_permissions(stage, places, tmp_path):
    assert give(stage, tmp_path / "out", COMMANDS[stage], places) == 0
    (tmp_path / "usual").touch()
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    usual = (tmp_path / "usual").stat().st_mode
    assert files and [path for path in files if path.stat().st_mode != usual] == []
