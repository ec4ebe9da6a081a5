"""What can be compared, what a comparison says, and its page."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import numpy as np
import pytest
from small_evaluations import Page, make_protocol, write_evaluation

from vjepa_wm.evaluation.comparison import Pair, comparison_content, pair_lines, pair_numbers
from vjepa_wm.evaluation.page.comparison_page import draw_pair, write_comparison_page
from vjepa_wm.evaluation.paired import mean_interval, paired_interval
from vjepa_wm.evaluation.pairing import compare
from vjepa_wm.evaluation.report import result_row

ONE = {"planned": [0.02, 0.03, 0.2, 0.04, 0.3], "zero": [0.3] * 5}
OTHER = {"planned": [0.02, 0.25, 0.1, 0.28, 0.01], "zero": [0.3] * 5}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    top = tmp_path_factory.mktemp("runs")
    write_evaluation(top / "one", ONE, planner={"horizon": 1, "energy": "l1"})
    write_evaluation(top / "other", OTHER, planner={"horizon": 2, "energy": "l1"})
    return top / "one", top / "other"


def test_rows_of_one_name_are_compared_episode_by_episode(folders):
    comparison = compare(folders)
    assert [row.name for row in comparison.rows] == ["one: planned", "one: zero", "other: planned", "other: zero"]
    names = [(pair.first.name, pair.second.name) for pair in comparison.pairs]
    assert names == [("one: planned", "other: planned"), ("one: zero", "other: zero")]
    pair = comparison.pairs[0]
    assert pair.outcomes() == ["both", "only first", "neither", "only first", "only second"]
    farther = [0.0, 0.22, -0.1, 0.24, -0.29]
    np.testing.assert_allclose(pair.farther(), farther, atol=1e-12)
    numbers = pair_numbers(pair)
    assert [numbers[name] for name in ("both", "only_first", "only_second", "neither")] == [1, 2, 1, 1]
    assert numbers["success_difference"] == pytest.approx(-1 / 5)
    assert numbers["success_difference_interval"] == list(paired_interval(2, 1, 5))
    assert numbers["distance_difference"] == pytest.approx(np.mean(farther))
    assert numbers["distance_difference_interval"] == pytest.approx(list(mean_interval(farther)))
    assert numbers["disagreements"] == [
        {"episode": 1, "seed": 101, "solved_by": "first"},
        {"episode": 3, "seed": 103, "solved_by": "first"},
        {"episode": 4, "seed": 104, "solved_by": "second"},
    ]


def test_the_table_reads_second_minus_first(folders):
    head, line = pair_lines(compare(folders, ["planned"]))
    low, high = (100 * bound for bound in paired_interval(2, 1, 5))
    told = dict(zip(head[:-1], line[:-1], strict=True))  # two columns are called alike
    assert told == {
        "first": "one",
        "second": "other",
        "success": "-20 points",
        "95 % interval": f"{low:+.0f} to {high:+.0f}",
        "both": "1",
        "only first": "2",
        "only second": "1",
        "neither": "1",
        "final distance": "+1.4 cm",
    }
    assert line[-1] == "-26.3 to +29.1"


def test_rows_of_one_folder_are_compared_with_its_first(folders):
    comparison = compare(folders[:1], ["zero", "planned"])
    assert [row.name for row in comparison.rows] == ["zero", "planned"]
    assert [pair.name for pair in comparison.pairs] == ["planned against zero"]
    assert [pair.name for pair in compare(folders[:1]).pairs] == ["zero against planned"]


def test_the_only_row_of_the_first_folder_is_compared_with_rows_of_any_name(folders, tmp_path):
    write_evaluation(tmp_path / "single", {"expert": [0.01] * 5})
    comparison = compare([tmp_path / "single", folders[0]])
    assert [pair.second.policy for pair in comparison.pairs] == ["planned", "zero"]
    assert {pair.first.policy for pair in comparison.pairs} == {"expert"}


def test_rows_stand_in_the_order_of_the_last_table(tmp_path):
    evaluation = write_evaluation(tmp_path, {"a": [0.3], "b": [0.3], "c": [0.3]})
    assert evaluation.policies() == ["a", "b", "c"]
    (tmp_path / "results.json").write_text('{"rows": [{"policy": "c"}, {"policy": "b"}, {"policy": "gone"}]}')
    assert evaluation.policies() == ["c", "b", "a"]
    (tmp_path / "results.json").write_text("{")
    with pytest.raises(ValueError, match=r"results\.json is damaged: .*; evaluate writes it again"):
        evaluation.policies()


def test_episodes_are_matched_by_what_they_are_and_those_that_some_lack_left_out(tmp_path):
    whole = make_protocol(4)
    turned = replace(whole, episodes=(*whole.episodes[:0:-1], replace(whole.episodes[0], options={"goal": [9]})))
    write_evaluation(tmp_path / "a", {"zero": [0.1, 0.2, 0.3, 0.4]}, whole)
    write_evaluation(tmp_path / "b", {"zero": [0.04, None, 0.02, 0.01]}, turned)
    comparison = compare([tmp_path / "a", tmp_path / "b"])
    first, second = comparison.rows
    assert (first.numbers, second.numbers) == ((1, 3), (2, 0))
    assert [episode.seed for episode in first.episodes] == [episode.seed for episode in second.episodes] == [101, 103]
    assert [episode.distances[-1] for episode in second.episodes] == pytest.approx([0.02, 0.04])
    assert comparison.protocol.episodes == (whole.episodes[1], whole.episodes[3])
    assert comparison.left_out == f"{tmp_path / 'a'}: 4; {tmp_path / 'b'}: 3"


def test_an_episode_that_a_protocol_lists_twice_is_two(tmp_path):
    once = make_protocol(1)
    twice = replace(once, episodes=once.episodes * 2)
    for name in ("a", "b"):
        write_evaluation(tmp_path / name, {"zero": [0.3, 0.01]}, twice)
    comparison = compare([tmp_path / "a", tmp_path / "b"])
    assert comparison.rows[1].numbers == (0, 1) and comparison.left_out == ""


def test_one_episode_has_no_interval_of_distance(tmp_path):
    write_evaluation(tmp_path, {"a": [0.3], "b": [0.01]})
    comparison = compare([tmp_path])
    assert comparison_content(comparison)["pairs"][0]["distance_difference_interval"] is None
    assert pair_lines(comparison)[1][-1] == "none of one episode"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "protocol version 1 and 2"),
        ({"name": "q"}, "protocol name 'p' and 'q'"),
        ({"task": "push"}, "protocol task 'point' and 'push'"),
        ({"variation": {"light": "sampled"}}, r"protocol variation \{\} and \{'light': 'sampled'\}"),
        ({"steps": 5, "goal_steps": (2,)}, r"protocol steps 4 and 5; protocol goal_steps \(\) and \(2,\)"),
    ],
)
def test_other_protocols_are_refused_and_both_folders_named(folders, tmp_path, change, message):
    write_evaluation(tmp_path / "else", {"zero": [0.3] * 5}, make_protocol(5, **change))
    with pytest.raises(ValueError, match=f"one and .*else did not measure the same: .*{message}"):
        compare([folders[0], tmp_path / "else"])


def test_another_rule_of_success_is_refused(folders, tmp_path):
    write_evaluation(tmp_path / "else", {"zero": [0.3] * 5}, success_rule="within 1 cm")
    with pytest.raises(ValueError, match="solved 'within 5 cm of the goal' and 'within 1 cm'"):
        compare([folders[0], tmp_path / "else"])


def test_what_cannot_be_compared_is_told(folders, tmp_path):
    one = folders[0]
    with pytest.raises(FileNotFoundError, match=r"none holds no evaluation: there is no .*evaluation\.json"):
        compare([one, tmp_path / "none"])
    with pytest.raises(ValueError, match="folders must be different and at least one, got none"):
        compare([])
    with pytest.raises(ValueError, match="folders must be different"):
        compare([one, one / "../one"])
    with pytest.raises(ValueError, match="policies must be different, got zero, zero"):
        compare(folders, ["zero", "zero"])
    with pytest.raises(ValueError, match=r"among planned, zero, which .*one, .*other hold, got 'zerro', did you mean"):
        compare(folders, ["zerro"])
    with pytest.raises(ValueError, match=r"there must be two rows to compare, .*one has zero; name a second folder"):
        compare([one], ["zero"])
    write_evaluation(tmp_path / "c", {"expert": [0.3], "random": [0.3]})
    with pytest.raises(ValueError, match=r"one has no row that .*c has: .*one has planned, zero; .*c has expert"):
        compare([one, tmp_path / "c"])
    write_evaluation(tmp_path / "d", {"zero": [0.3]}, make_protocol(1, episodes=make_protocol(9).episodes[8:]))
    with pytest.raises(ValueError, match=r"one, .*d have no episode in common; episodes played: .*one: 5; .*d: 1"):
        compare([one, tmp_path / "d"], ["zero"])


def test_a_damaged_description_is_named(folders, tmp_path):
    (tmp_path / "evaluation.json").write_text("[]")
    with pytest.raises(ValueError, match=r"evaluation\.json is damaged"):
        compare([folders[0], tmp_path])


@pytest.fixture(scope="module")
def page(folders):
    path = folders[0].parent / "compared/compare.html"
    write_comparison_page(path, compare(folders))
    return Page(path)


def test_the_page_has_both_tables_and_marks_what_was_set_differently(page):
    assert len(page.all("mark")) == 2
    texts = page.texts[page.texts.index("planner horizon") :]
    assert texts[1:3] == ["1", "2"] and "planner energy" in texts
    assert "within 5 cm of the goal, after the last step" in page.texts
    start = page.texts.index("one: planned", page.texts.index("Differences"))
    assert page.texts[start : start + 3] == ["one: planned", "other: planned", "-20 points"]
    assert len(page.all("svg", **{"class": "bar"})) == 4 + 2
    assert [picture["alt"][:15] for picture in page.all("img")] == ["Distance to the", *["Final distances"] * 2]


def test_on_the_page_disagreements_come_first_and_videos_stand_side_by_side(page, folders):
    cards = page.all("article", **{"data-pair": "other: planned against one: planned"})
    assert [card["data-outcome"] for card in cards] == ["only second", "only first", "only first", "neither", "both"]
    assert len(page.all("article")) == 10 and len(page.all("video")) == 20
    headings = [text for text in page.texts if text.startswith("episode ") and ", seed " in text]
    assert headings[:3] == [
        "episode 4, seed 104: only second",
        "episode 3, seed 103: only first",
        "episode 1, seed 101: only first",
    ]
    assert len(page.all("button", **{"class": "together"})) == 10
    assert all(address.startswith("data:") for address in page.addresses())
    chosen = [button["value"] for button in page.all("input") if "checked" in button]
    assert chosen == ["other: planned against one: planned", ""]


def test_the_page_and_the_json_file_are_the_same_again(page, folders, tmp_path):
    comparison = compare(folders)
    before = (folders[0].parent / "compared/compare.html").read_bytes()
    write_comparison_page(folders[0].parent / "again/compare.html", comparison)
    assert (folders[0].parent / "again/compare.html").read_bytes() == before
    content = comparison_content(comparison)
    assert json.dumps(content) == json.dumps(comparison_content(compare(folders)))
    assert content["protocol"] == {"name": "p", "version": 1, "task": "point", "steps": 4} and content["episodes"] == 5
    row = content["rows"][2]
    assert (row["name"], row["folder"], row["policy"]) == ("other: planned", os.fspath(folders[1]), "planned")
    assert row["success_last"] == result_row(comparison.rows[2].result)["success_last"] == 2 / 5
    assert content["pairs"] == [pair_numbers(pair) for pair in comparison.pairs]


def test_ends_are_drawn_by_who_solved_the_episode(folders):
    pair = compare(folders).pairs[0]
    (axes,) = draw_pair(Pair(pair.first, pair.second)).axes
    drawn = {line.get_label(): line.get_xydata() for line in axes.lines if not line.get_label().startswith("_")}
    assert {name: len(ends) for name, ends in drawn.items()} == {
        "only first": 2,
        "only second": 1,
        "neither": 1,
        "both": 1,
    }
    np.testing.assert_allclose(drawn["only second"], [[30, 1]])
