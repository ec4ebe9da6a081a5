"""The command that puts evaluations of any tasks into one table."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace

import pytest
from small_evaluations import Page, make_protocol, write_evaluation

from vjepa_wm.cli import main


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    top = tmp_path_factory.mktemp("runs")
    write_evaluation(top / "a", {"random": [0.3, 0.04, 0.2], "zero": [0.3] * 3})
    write_evaluation(top / "b", {"random": [0.02, 0.04, 0.2]}, seed=1)
    write_evaluation(top / "c", {"random": [0.02] * 4}, make_protocol(4, name="q"))
    write_evaluation(top / "d", {"zero": [0.02]}, precision="fp32")
    return [str(top / name) for name in "abcd"]


def said_rows(capsys):
    said = capsys.readouterr().out
    assert re.search("failures of +came back  never touched  stuck  wrong heading  fell short", said)
    lines = [line for line in said.splitlines() if ", " in line and "%" in line]
    return {line.split("  ")[0]: line.split()[-9:] for line in lines if "interval" not in line}


def test_seeds_are_one_row_and_other_settings_are_not(folders, tmp_path, capsys):
    assert main(["summarize", *folders, "--out", str(tmp_path)]) == 0
    rows = said_rows(capsys)
    assert list(rows) == ["p, random", "p, zero (a)", "q, random", "p, zero (d)"]
    assert [row[0] for row in rows.values()] == ["6", "3", "4", "1"]
    assert [row[1] for row in rows.values()] == ["50%", "0%", "100%", "100%"]
    content = json.loads((tmp_path / "summary.json").read_text())["rows"]
    assert [row["protocol"] for row in content] == ["p", "p", "q", "p"] and content[0]["policy"] == "random"
    # three failures and three successes, three failures, three of four successes, one
    page = Page(tmp_path / "summary.html")
    assert len(page.all("video")) == 6 + 3 + 3 + 1


def test_rows_can_be_chosen_and_nothing_is_written(folders, capsys):
    assert main(["summarize", *folders, "--policies", "random"]) == 0
    said = said_rows(capsys)
    assert list(said) == ["p, random", "q, random"]


def copy_of(folder, where):
    return str(shutil.copytree(folder, where / "copy"))


def test_another_number_of_steps_is_a_row_of_its_own(folders, tmp_path, capsys):
    write_evaluation(tmp_path / "longer", {"random": [0.02]}, replace(make_protocol(1), steps=30), seed=7)
    assert main(["summarize", folders[1], str(tmp_path / "longer")]) == 0
    assert list(said_rows(capsys)) == ["p, random (b)", "p, random (longer)"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folders, empty: [folders[0], folders[0]], "folders must be different and at least one"),
        (lambda folders, empty: [folders[0], str(empty)], "holds no evaluation"),
        (lambda folders, empty: [folders[2], "--policies", "zero"], "policies must be among random"),
        (lambda folders, empty: [*folders, "--policies", "random", "zeros"], "did you mean 'zero'?"),
        (lambda folders, empty: [folders[0], copy_of(folders[0], empty)], "measured the same with seed 0; give one"),
    ],
)
def test_mistakes_are_one_message(folders, tmp_path, capsys, change, message):
    assert main(["summarize", *change(folders, tmp_path)]) == 1
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error
