from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest

from vjepa_wm.data.media.video import read_frames
from vjepa_wm.evaluation.evaluate import EpisodeResult, PolicyResult
from vjepa_wm.evaluation.protocol import Episode, Protocol, wilson_interval
from vjepa_wm.evaluation.report import (
    draw_episode,
    draw_figure,
    format_table,
    result_row,
    save_results,
    save_videos,
    write_report,
)

STEPS = 4
PROTOCOL = Protocol(
    task="reach",
    episodes=(Episode(seed=1, start=(0.0,) * 7, goal=(0.3,) + (0.0,) * 6),),
    steps=STEPS,
    seed=0,
)


def episode(final: float, *, energies: bool = True, size: int = 32) -> EpisodeResult:
    distances = np.linspace(0.3, final, STEPS + 1)
    frames = np.zeros((STEPS + 1, size, size, 3), dtype=np.uint8)
    frames[:, :, :, 0] = 200  # the camera sees red, the goal is blue
    goal_image = np.zeros((size, size, 3), dtype=np.uint8)
    goal_image[:, :, 2] = 200
    return EpisodeResult(
        distances=distances,
        energies=distances**2 if energies else None,
        success_last=final <= 0.05,
        success_ever=final <= 0.06,
        frames=frames,
        goal_image=goal_image,
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


def test_results_json_holds_task_protocol_and_rows(tmp_path):
    save_results(tmp_path / "results.json", PROTOCOL, [GOOD, ZERO])
    content = json.loads((tmp_path / "results.json").read_text())
    assert list(content) == ["task", "protocol", "rows"]
    assert content["task"] == "reach"
    assert content["protocol"] == json.loads(json.dumps(asdict(PROTOCOL)))
    assert content["rows"] == [result_row(GOOD), result_row(ZERO)]


@pytest.mark.parametrize("size", [32, 50, 300])
def test_a_video_shows_camera_and_goal_side_by_side(size):
    pictures = draw_episode(episode(0.01, size=size))
    num_frames, height, width, _ = pictures.shape
    assert num_frames > STEPS + 1
    assert height % 2 == width % 2 == 0
    np.testing.assert_array_equal(pictures[0, height // 2, 100], [200, 0, 0])
    np.testing.assert_array_equal(pictures[0, height // 2, width - 100], [0, 0, 200])


def test_the_caption_changes_with_step_and_success():
    reached, missed = draw_episode(episode(0.01)), draw_episode(episode(0.2))
    caption = slice(0, 32)
    assert (reached[0, caption] != reached[1, caption]).any()

    def is_green(picture: np.ndarray) -> bool:
        return bool((picture[caption, :, 1].astype(int) - picture[caption, :, 0] > 60).any())

    assert is_green(reached[-1])
    assert not is_green(missed[-1])
    assert not is_green(reached[0])


def test_videos_can_be_read_back(tmp_path):
    paths = save_videos(tmp_path / "videos", PolicyResult(policy="p", episodes=GOOD.episodes[:2]))
    assert [path.name for path in paths] == ["episode_000.mp4", "episode_001.mp4"]
    frames, times = read_frames(paths[0])
    drawn = draw_episode(GOOD.episodes[0])
    assert frames.shape == drawn.shape
    np.testing.assert_allclose(np.diff(times), 0.2)
    assert np.abs(frames[:, 100:, 50:200].astype(int) - drawn[:, 100:, 50:200]).max() < 12


def test_the_figure_shows_every_episode_of_the_first_policy_and_means_of_all():
    figure = draw_figure([GOOD, ZERO], PROTOCOL)
    energy_axes, distance_axes = figure.axes
    bold = {line.get_label(): line for line in distance_axes.lines if not line.get_label().startswith("_")}
    assert list(bold) == ["world_model", "zero", "success, 5 cm"]
    expected = np.mean([episode.distances for episode in GOOD.episodes], axis=0) * 100
    np.testing.assert_allclose(bold["world_model"].get_ydata(), expected)
    assert bold["success, 5 cm"].get_linestyle() == "--"
    thin = [line for line in distance_axes.lines if line.get_label().startswith("_")]
    assert len(thin) == 4
    assert len(energy_axes.lines) == 5  # zero has no energy
    assert energy_axes.get_ylabel()
    assert "[cm]" in distance_axes.get_ylabel()


def test_the_report_writes_everything(tmp_path):
    table = write_report(tmp_path / "out", PROTOCOL, [GOOD, ZERO])
    assert table == format_table([GOOD, ZERO])
    files = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*")}
    videos = {f"videos/{name}/episode_00{k}.mp4" for name in ("world_model", "zero") for k in range(4)}
    assert files == {"results.json", "energy_and_distance.png"} | videos


@pytest.mark.parametrize("results", [[], [GOOD, GOOD]])
def test_policies_must_differ(tmp_path, results):
    with pytest.raises(ValueError, match="results must have at least one policy and different names"):
        write_report(tmp_path, PROTOCOL, results)
