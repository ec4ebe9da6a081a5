from __future__ import annotations

import json

import numpy as np
import pytest

from vjepa_wm.evaluation.evaluated_episode import EpisodeResult
from vjepa_wm.evaluation.protocol import Episode, EvaluationProtocol
from vjepa_wm.evaluation.protocol_files import protocol_content
from vjepa_wm.evaluation.report import align, draw_figure, format_table, result_row, write_report
from vjepa_wm.evaluation.runner import PolicyResult
from vjepa_wm.evaluation.success_rate import wilson_interval

STEPS = 4
PROTOCOL = EvaluationProtocol(name="p", task="reach", episodes=(Episode(seed=1),), steps=STEPS)


def episode(final: float, *, energies: bool = True) -> EpisodeResult:
    distances = np.linspace(0.3, final, STEPS + 1)
    reached = [False] * STEPS + [final <= 0.05]
    if final == 0.055:
        reached[2] = True  # passed by
    return EpisodeResult(
        seed=1,
        distances=tuple(distances.tolist()),
        reached=tuple(reached),
        energies=tuple((distances**2).tolist()) if energies else None,
        seconds_per_action=0.25,
    )


GOOD = PolicyResult(policy="world_model", episodes=(episode(0.01), episode(0.03), episode(0.055), episode(0.2)))
ZERO = PolicyResult(policy="zero", episodes=(episode(0.3, energies=False),) * 4)


def test_a_row_holds_what_the_episodes_say():
    row = result_row(GOOD)
    assert list(row) == [
        "policy",
        "episodes",
        "success_last",
        "success_last_interval",
        "success_ever",
        "mean_final_distance",
        "seconds_per_action",
    ]
    assert (row["policy"], row["episodes"], row["success_last"], row["success_ever"]) == ("world_model", 4, 0.5, 0.75)
    assert row["success_last_interval"] == list(wilson_interval(2, 4))
    assert row["mean_final_distance"] == pytest.approx((0.01 + 0.03 + 0.055 + 0.2) / 4)
    assert row["seconds_per_action"] == pytest.approx(0.25)


def test_the_table_is_aligned_and_in_order():
    lines = format_table([GOOD, ZERO]).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[0].split()[0] == "policy"
    assert lines[2].split() == ["world_model", "4", "50%", "15%", "to", "85%", "75%", "7.4", "cm", "0.250"]
    assert lines[3].split() == ["zero", "4", "0%", "0%", "to", "49%", "0%", "30.0", "cm", "0.250"]


def test_tables_have_their_first_column_on_the_left():
    assert align([["a", "number"], ["longer", "1"]]) == "a       number\n--------------\nlonger       1"


def test_results_json_holds_task_protocol_and_rows(tmp_path):
    write_report(tmp_path, PROTOCOL, [GOOD, ZERO])
    content = json.loads((tmp_path / "results.json").read_text())
    assert list(content) == ["task", "protocol", "rows"]
    assert content["task"] == "reach"
    assert content["protocol"] == protocol_content(PROTOCOL)
    assert content["rows"] == [result_row(GOOD), result_row(ZERO)]


def test_the_figure_shows_every_episode_of_the_first_policy_and_means_of_all():
    figure = draw_figure([GOOD, ZERO], PROTOCOL)
    energy_axes, distance_axes = figure.axes
    bold = {line.get_label(): line for line in distance_axes.lines if not line.get_label().startswith("_")}
    assert list(bold) == ["world_model", "zero"]
    expected = np.mean([episode.distances for episode in GOOD.episodes], axis=0) * 100
    np.testing.assert_allclose(bold["world_model"].get_ydata(), expected)
    (dots,) = [line for line in distance_axes.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(dots.get_xydata(), [(STEPS, 1.0), (STEPS, 3.0)])  # the episodes that end in success
    thin = [line for line in distance_axes.lines if line.get_label().startswith("_") and line is not dots]
    assert len(thin) == 4
    assert len(energy_axes.lines) == 5  # zero has no energy
    assert energy_axes.get_ylabel()
    assert "[cm]" in distance_axes.get_ylabel()


def test_the_report_writes_everything_and_the_same_again(tmp_path):
    table = write_report(tmp_path / "out", PROTOCOL, [GOOD, ZERO])
    assert table == format_table([GOOD, ZERO])
    write_report(tmp_path / "again", PROTOCOL, [GOOD, ZERO])
    names = {"results.json", "energy_and_distance.png", "report.html"}
    for folder in ("out", "again"):
        assert {path.name for path in (tmp_path / folder).iterdir()} == names
    for name in names:
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


@pytest.mark.parametrize("results", [[], [GOOD, GOOD]])
def test_policies_must_differ(tmp_path, results):
    with pytest.raises(ValueError, match="results must have at least one policy and different names"):
        write_report(tmp_path, PROTOCOL, results)
