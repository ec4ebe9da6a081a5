"""What tells two runs apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from vjepa_wm.training.run.run_record import run_record, told_apart

OPTIONS = {"out": Path("a"), "steps": 4, "seed": 0, "loader": {"workers": 0, "share": 0.1}, "encoder": Path("enc")}
FREE = ("out", "loader.workers")


def record(content="1", **changes):
    return run_record(OPTIONS | changes, {"encoder": content})


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, []),
        ({"out": Path("b"), "steps": 5, "loader": {"workers": 3, "share": 0.1}}, []),
        ({"encoder": Path("moved")}, []),
        ({"steps": 3}, ["steps 4, asked for 3"]),
        (
            {"seed": 1, "loader": {"workers": 0, "share": 0.2}},
            ["seed 0, asked for 1", "loader.share 0.1, asked for 0.2"],
        ),
        ({"content": "2"}, ["encoder enc has another content than before"]),
        ({"content": "2", "encoder": Path("e")}, ["encoder enc (content 1), asked for e (content 2)"]),
    ],
    ids=str,
)
def test_only_what_may_not_differ_is_told(changes, told):
    assert told_apart(record(), record(**changes), FREE) == told


def test_of_several_what_changed_is_named():
    before, after = (run_record({"data": [Path("a"), Path("b")], "steps": 1}, {"data": ["1", two]}) for two in "23")
    assert told_apart(before, after, ()) == ["data b has another content than before"]


def test_one_side_of_what_lies_there_may_have_changed():
    before, after = (run_record({"data": ["a"], "steps": 1}, {"pictures of data": [one]}) for one in "12")
    assert told_apart(before, after, ()) == ["pictures of data a has another content than before"]


def test_what_a_run_did_not_record_the_content_of_must_lie_where_it_lay():
    found = record()
    del found["content"]
    assert told_apart(found, record(encoder=Path("e")), FREE) == ["encoder enc, asked for e"]


def test_options_that_a_run_did_not_know_yet_are_no_difference():
    found = record()
    del found["seed"], found["content"]
    assert told_apart(found, record(), FREE) == []


def test_a_path_is_the_same_from_every_folder(tmp_path, monkeypatch):
    (tmp_path / "videos").mkdir()
    monkeypatch.chdir(tmp_path)
    here = record(data=[Path("videos")])
    monkeypatch.chdir(tmp_path / "videos")
    assert told_apart(here, record(data=[Path("../videos")]), FREE) == []
    assert here["data"] == [str(tmp_path / "videos")]
    monkeypatch.chdir(tmp_path)
    assert told_apart({**here, "data": ["videos"]}, record(data=[tmp_path / "videos"]), FREE) == []  # an older record
