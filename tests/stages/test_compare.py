"""The command that compares evaluations."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_evaluations import Page, write_evaluation

from vjepa_wm.cli import main
from vjepa_wm.evaluation.comparison import comparison_content
from vjepa_wm.evaluation.pairing import compare


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    top = tmp_path_factory.mktemp("runs")
    write_evaluation(top / "a", {"random": [0.3, 0.04, 0.2], "zero": [0.3] * 3})
    write_evaluation(top / "b", {"random": [0.02, 0.04], "zero": [0.3] * 2})
    return str(top / "a"), str(top / "b")


def test_it_prints_both_tables_and_writes_the_page(folders, tmp_path, capsys):
    out = tmp_path / "compared"
    assert main(["compare", *folders, "--out", str(out), "--policies", "random"]) == 0
    said = capsys.readouterr().out
    lines = [line.split() for line in said.splitlines()]
    assert ["a", "2", "50%", "9%", "to", "91%", "50%", "17.0", "cm", "0.250"] in lines
    assert next(line for line in lines if line[:2] == ["a", "b"])[:4] == ["a", "b", "+50", "points"]
    assert "second minus first on 2 episodes of protocol p, version 1, which all rows played" in said
    assert f"episodes played: {folders[0]}: 3; {folders[1]}: 2" in said
    assert sorted(path.name for path in out.iterdir()) == ["compare.html", "compare.json"]
    assert len(Page(out / "compare.html").all("video")) == 4
    again = compare([Path(folder) for folder in folders], ["random"])
    assert json.loads((out / "compare.json").read_text()) == comparison_content(again)


def test_without_a_folder_it_writes_nothing(folders, capsys):
    assert main(["compare", folders[0], "--policies", "zero", "random"]) == 0
    said = capsys.readouterr().out
    assert "zero   random  +33 points" in said and "compare.html" not in said


def test_what_cannot_be_compared_is_one_message(folders, tmp_path, capsys):
    assert main(["compare", folders[0], str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"vjepa-wm: {tmp_path} holds no evaluation") and "Traceback" not in error
