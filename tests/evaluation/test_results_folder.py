from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest

from vjepa_wm.evaluation.evaluated_episode import EpisodeResult
from vjepa_wm.evaluation.protocol import Episode, EvaluationProtocol
from vjepa_wm.evaluation.protocol_files import protocol_content
from vjepa_wm.evaluation.results_folder import ResultsFolder, read_evaluation, record_path, save_episode
from vjepa_wm.safe_files import FolderInUseError

PROTOCOL = EvaluationProtocol(
    name="p", task="point", steps=3, episodes=(Episode(seed=1), Episode(seed=2, options={"goal": [0.1, 0.2]}))
)
SETTINGS = {"env": "point", "seed": 0, "weights": "1234abcd", "planner": {"horizon": 1, "energy": None}}
RECORD = EpisodeResult(seed=1, distances=(0.3, 0.1), reached=(False, True), energies=None, seconds_per_action=0.5)


def described(folder):
    return json.loads((folder / "evaluation.json").read_text())


def test_a_new_folder_says_what_is_measured_and_with_what(tmp_path):
    with ResultsFolder(tmp_path / "new/out", PROTOCOL, SETTINGS) as results:
        assert results.folder == tmp_path / "new/out"
    assert described(tmp_path / "new/out") == {"protocol": protocol_content(PROTOCOL)} | SETTINGS


def test_a_record_is_found_by_the_same_evaluation(tmp_path):
    with ResultsFolder(tmp_path, PROTOCOL, SETTINGS) as results:
        assert not results.is_played("zero", 1)
        save_episode(tmp_path, "zero", 1, RECORD, b"video")
    with ResultsFolder(tmp_path, PROTOCOL, SETTINGS) as results:
        assert results.is_played("zero", 1) and results.load("zero", 1) == RECORD
        assert not results.is_played("zero", 0) and not results.is_played("random", 1)
    assert (tmp_path / "videos/zero/episode_001.mp4").read_bytes() == b"video"
    assert record_path(tmp_path, "zero", 1) == tmp_path / "episodes/zero/001.json"


def test_an_episode_whose_video_alone_was_written_is_not_played(tmp_path):
    blocked = tmp_path / "episodes"
    blocked.write_text("in the way")
    with pytest.raises(OSError):
        save_episode(tmp_path, "zero", 0, RECORD, b"video")
    blocked.unlink()
    assert (tmp_path / "videos/zero/episode_000.mp4").exists()
    with ResultsFolder(tmp_path, PROTOCOL, SETTINGS) as results:
        assert not results.is_played("zero", 0)


def test_a_second_one_is_refused_while_one_runs_and_told_who_holds_it(tmp_path):
    with (
        ResultsFolder(tmp_path, PROTOCOL, SETTINGS),
        pytest.raises(FolderInUseError, match=f"process {os.getpid()} on .* is writing into .*{tmp_path.name}"),
    ):
        ResultsFolder(tmp_path, PROTOCOL, SETTINGS)
    ResultsFolder(tmp_path, PROTOCOL, SETTINGS).__exit__()


def other_planner(protocol, settings):
    return protocol, settings | {"planner": {"horizon": 2, "energy": None}}


def other_weights(protocol, settings):
    return protocol, settings | {"weights": "ffffffff"}


def other_seed(protocol, settings):
    return protocol, settings | {"seed": 1}


def other_version(protocol, settings):
    return replace(protocol, version=2), settings


def other_budget(protocol, settings):
    return protocol.with_steps(5), settings


def other_episodes(protocol, settings):
    return replace(protocol, episodes=(protocol.episodes[0], Episode(seed=3))), settings


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (other_planner, r"planner \{'horizon': 1, .*\}, asked for \{'horizon': 2, "),
        (other_weights, "weights 1234abcd, asked for ffffffff; choose another or delete it"),
        (other_seed, "seed 0, asked for 1"),
        (other_version, "protocol version 1, asked for 2"),
        (other_budget, "protocol name p, asked for p, 5 steps; protocol steps 3, asked for 5"),
        (other_episodes, "holds another evaluation: other episodes"),
    ],
)
def test_another_evaluation_is_refused_and_the_difference_named(tmp_path, change, message):
    with ResultsFolder(tmp_path, PROTOCOL, SETTINGS):
        pass
    before = described(tmp_path)
    protocol, settings = change(PROTOCOL, SETTINGS)
    with pytest.raises(ValueError, match=message):
        ResultsFolder(tmp_path, protocol, settings)
    assert described(tmp_path) == before
    with ResultsFolder(tmp_path, PROTOCOL, SETTINGS):  # the refused one has left the folder
        pass


def test_more_or_fewer_episodes_are_the_same_evaluation_and_the_longer_list_is_kept(tmp_path):
    longer = replace(PROTOCOL, episodes=(*PROTOCOL.episodes, Episode(seed=9)), origin="told otherwise")
    for protocol in (PROTOCOL, longer, PROTOCOL.first(1)):
        with ResultsFolder(tmp_path, protocol, SETTINGS):
            pass
    assert described(tmp_path)["protocol"]["episodes"] == protocol_content(longer)["episodes"]
    other_end = replace(longer, episodes=(*PROTOCOL.episodes, Episode(seed=8)))
    with pytest.raises(ValueError, match="other episodes"):
        ResultsFolder(tmp_path, other_end, SETTINGS)


def test_what_only_some_rows_depend_on_is_remembered_when_others_are_played(tmp_path):
    few = {name: SETTINGS[name] for name in ("env", "seed")}
    for settings in (few, SETTINGS, few):
        with ResultsFolder(tmp_path, PROTOCOL, settings):
            pass
    with pytest.raises(ValueError, match="weights 1234abcd, asked for 0"):
        ResultsFolder(tmp_path, PROTOCOL, SETTINGS | {"weights": "0"})


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"protocol": {}}', '{"protocol": {"episodes": 3}}'])
def test_a_damaged_description_is_named_with_its_file(tmp_path, text):
    (tmp_path / "evaluation.json").write_text(text)
    with pytest.raises(ValueError, match=r"evaluation\.json is damaged: .*; choose another folder"):
        ResultsFolder(tmp_path, PROTOCOL, SETTINGS)


@pytest.mark.parametrize("text", ["", '{"seed": 1}', RECORD.to_json()[:-20], RECORD.to_json().replace("0.3, ", "")])
def test_a_damaged_record_is_named_with_its_file(tmp_path, text):
    with ResultsFolder(tmp_path, PROTOCOL, SETTINGS) as results:
        save_episode(tmp_path, "zero", 0, RECORD, b"video")
        record_path(tmp_path, "zero", 0).write_text(text)
        with pytest.raises(ValueError, match=r"zero/000\.json is damaged: .*; delete it to have the episode played"):
            results.load("zero", 0)


def test_a_folder_is_read_while_it_is_written(tmp_path):
    with ResultsFolder(tmp_path, PROTOCOL, SETTINGS):
        save_episode(tmp_path, "zero", 1, RECORD, b"video")
        stored = read_evaluation(tmp_path)
        assert (stored.folder, stored.protocol, stored.settings) == (tmp_path, PROTOCOL, SETTINGS)
        assert (
            stored.policies() == ["zero"] and stored.records("zero") == {1: RECORD} and stored.records("random") == {}
        )
    record_path(tmp_path, "zero", 1).write_text("{}")
    with pytest.raises(ValueError, match=r"zero/001\.json is damaged"):
        stored.records("zero")
