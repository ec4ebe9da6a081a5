"""The page of an evaluation: all of it is there, in the order that matters, in one file that loads nothing."""

from __future__ import annotations

import re
from urllib.parse import unquote

import numpy as np
import pytest
from matplotlib.figure import Figure
from small_evaluations import Page, make_protocol, results_of, write_evaluation

from vjepa_wm.data.media.video import VideoError
from vjepa_wm.evaluation.page import videos
from vjepa_wm.evaluation.page.cards import Card, Filter, card_grid, distance_line
from vjepa_wm.evaluation.page.evaluation_page import measured, write_evaluation_page
from vjepa_wm.evaluation.page.html_page import Section, facts, figure, marked, paragraph, table, write_page
from vjepa_wm.evaluation.page.videos import page_videos
from vjepa_wm.evaluation.report import format_table, table_lines, write_report
from vjepa_wm.evaluation.results_folder import read_evaluation, video_path

FINALS = {"world_model": [0.04, 0.2, 0.02, 0.25], "zero": [0.3, 0.31, 0.03, 0.29]}
SETTINGS = {"weights": "1234abcd", "planner": {"horizon": 2, "energy": None}}


def report(folder):
    evaluation = write_evaluation(folder, FINALS, energies=("world_model",), **SETTINGS)
    write_report(folder, evaluation.protocol, results_of(evaluation), evaluation.settings)
    return folder / "report.html"


def page_without_curves(folder):
    """Write the page of what a folder has."""
    evaluation = read_evaluation(folder)
    results = results_of(evaluation)
    write_evaluation_page(folder, evaluation.protocol, results, settings={}, lines=table_lines(results), curves={})
    return Page(folder / "report.html")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return report(tmp_path_factory.mktemp("evaluation"))


@pytest.fixture(scope="module")
def page(written):
    return Page(written)


def test_it_says_what_was_measured(page):
    expected = {
        "task": "point",
        "solved": "within 5 cm of the goal, after the last step",
        "protocol": "p, version 1",
        "steps": "4 actions an episode",
        "seed": "0",
        "weights": "1234abcd",
        "planner horizon": "2",
    }
    for name, text in expected.items():
        assert page.texts[page.texts.index(name) + 1] == text
    assert "planner energy" not in page.texts  # left to its default
    assert page.texts[0] == page.texts[1] == "point: evaluation"


def test_goal_pictures_in_order_what_varies_and_a_task_of_ones_own_are_told():
    variation = {"light": "sampled", "table": "navy"}
    protocol = make_protocol(1, goal_steps=(1, 2), origin="made <by hand>", variation=variation)
    told = dict(measured(protocol, {"env": "mine:POINT", "planner": {"levels": [1, 2]}}))
    assert told["varied"] == "light sampled, table navy" and told["planner levels"] == "1, 2"
    assert told["goal pictures"] == "in order, for 1, 2 actions, the last until the end"
    assert told["env"] == "mine:POINT" and told["episodes"] == "made <by hand>"
    assert told["solved"] == "what the environment calls success, at the end"


def test_it_has_every_row_of_the_table_with_its_interval(page, written):
    for line in format_table(results_of(read_evaluation(written.parent))).splitlines()[2:]:
        cells = re.split(r"  +", line)
        start = page.texts.index(cells[0], page.texts.index("Success"))
        assert page.texts[start : start + len(cells)] == cells
    assert len(page.all("svg", **{"class": "bar"})) == 2


def test_it_has_every_episode_failures_first_the_farthest_before_all_others(page):
    order = [("zero", 1), ("zero", 0), ("zero", 3), ("world_model", 3), ("world_model", 1)]  # not solved
    order += [("world_model", 0), ("zero", 2), ("world_model", 2)]
    headings = [text for text in page.texts if re.fullmatch(r"\w+, episode \d", text)]
    assert headings == [f"{policy}, episode {k}" for policy, k in order]
    cards = page.all("article")
    assert [card["data-row"] for card in cards] == [policy for policy, _ in order]
    assert [card["data-outcome"] for card in cards] == ["not solved"] * 5 + ["solved"] * 3
    told = page.texts[page.texts.index("world_model, episode 0") :][:4]
    assert told[1:] == ["solved", "4.0 cm off at the end, first reached after step 4", "seed 100"]
    assert "31.0 cm off at the end, never reached" in page.texts
    assert len(page.all("svg", **{"class": "line"})) == 8


def test_rows_and_outcomes_can_be_chosen_the_first_row_is(page):
    buttons = page.all("input", type="radio")
    assert [button["value"] for button in buttons] == ["", "world_model", "zero", "", "not solved", "solved"]
    assert [button["value"] for button in buttons if "checked" in button] == ["world_model", ""]


def test_it_has_the_curves(page):
    distance, energy = page.all("img")
    assert (
        distance["alt"].startswith("True distance to the goal")
        and "Thin: every episode of world_model" in distance["alt"]
    )
    assert energy["alt"].startswith("Energy to the goal picture") and energy["src"] != distance["src"]
    assert {distance["alt"], energy["alt"]} <= set(page.texts)  # which are their captions


def test_every_video_plays_beside_its_last_picture(page, written):
    players = page.all("video")
    assert len(players) == 8
    for player in players:
        assert {"controls", "loop", "muted", "playsinline"} <= player.keys() and player["preload"] == "none"
        assert player["poster"].startswith("data:image/jpeg;base64,")
        assert (player["width"], player["height"]) == ("32", "16")
        assert re.fullmatch(r"\w+, episode \d, beside the goal picture", player["aria-label"])
    assert len({player["src"] for player in players}) == 4  # of the two rows they look alike


def test_it_loads_nothing(page, written):
    assert page.addresses() and all(address.startswith("data:") for address in page.addresses())
    text = written.read_text()
    assert not re.search(r"https?:|url\(|@import|<link|srcset|fetch\(", text)


def test_the_same_records_give_the_same_page(written, tmp_path):
    assert report(tmp_path).read_bytes() == written.read_bytes()
    assert not list(tmp_path.glob("*.tmp"))


def test_many_videos_stay_in_their_files(tmp_path, monkeypatch):
    monkeypatch.setattr(videos.page_videos, "__defaults__", (100,))
    folder = tmp_path / "100 % done"
    write_evaluation(folder, {"zero": [0.3, 0.04]})
    page = page_without_curves(folder)
    sources = [player["src"] for player in page.all("video")]
    assert sources == ["videos/zero/episode_000.mp4", "videos/zero/episode_001.mp4"]
    assert all(player["poster"].startswith("data:") for player in page.all("video"))
    assert any("play from the files they lie in" in text for text in page.texts)
    (video,) = page_videos([video_path(folder, "zero", 0)], tmp_path, inline_bytes=0).values()
    assert (tmp_path / unquote(video.source)).is_file() and " " not in video.source
    monkeypatch.setattr(videos, "MAX_POSTERS", 1)
    assert not any("poster" in player for player in page_without_curves(folder).all("video"))


def test_an_episode_whose_video_was_deleted_is_told_and_a_damaged_video_named(tmp_path):
    write_evaluation(tmp_path, {"zero": [0.3, 0.04]})
    video_path(tmp_path, "zero", 0).unlink()
    page = page_without_curves(tmp_path)
    assert len(page.all("article")) == 2 and len(page.all("video")) == 1 and "no video" in page.texts
    video_path(tmp_path, "zero", 1).write_bytes(b"no video at all")
    with pytest.raises(VideoError, match=r"cannot decode .*zero/episode_001\.mp4"):
        page_without_curves(tmp_path)


def test_sections_of_anyones_own_make_a_page_in_which_text_stays_text(tmp_path):
    drawn = Figure(figsize=(2, 1))
    drawn.subplots().plot([0, 1])
    sections = [
        Section("a < b", table([["name", "<i>"], ["x & y", marked("<1>")]])),
        Section("Landscape", figure(drawn, 'a "landscape"')),
        Section("Facts", facts([("lr", "<small>")])),
        Section("Words", paragraph("</p> <script>")),
        Section("Cards", card_grid("own", [Filter("row", ['"b"'])], [Card("<h9>", paragraph("x"), {"row": '"b"'})])),
    ]
    write_page(tmp_path / "new/page.html", "a & b", "lead <b>", sections)
    page = Page(tmp_path / "new/page.html")
    assert page.texts[0] == page.texts[1] == "a & b" and page.texts[2] == "lead <b>"
    for text in ("a < b", "<i>", "x & y", "<1>", "<small>", "</p> <script>", "<h9>"):
        assert text in page.texts
    assert len(page.all("article", **{"data-row": '"b"'})) == 1 and len(page.all("input", value='"b"')) == 1
    (picture,) = page.all("img")
    assert picture["alt"] == 'a "landscape"' and (picture["width"], picture["height"]) == ("300", "150")
    assert len(page.all("script")) == 1


def test_the_small_curve_goes_from_the_first_distance_to_the_last(tmp_path):
    evaluation = write_evaluation(tmp_path, {"zero": [0.0]})
    (record,) = evaluation.records("zero").values()
    line = distance_line(record)
    (points,) = re.findall(r'points="([^"]*)"', line)
    drawn = np.array([[float(number) for number in point.split(",")] for point in points.split()])
    np.testing.assert_allclose(drawn[:, 0], [0, 25, 50, 75, 100])
    np.testing.assert_allclose(drawn[:, 1], [2, 6.5, 11, 15.5, 20])
    assert line.count("<circle") == 1
    assert 'points="0.0,11.0' in distance_line(record, top=0.6)
