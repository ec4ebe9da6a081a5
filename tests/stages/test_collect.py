"""The stage that collects: what it varies unless something else is asked for."""

from __future__ import annotations

import pytest

from vjepa_wm.cli import main
from vjepa_wm.data.trajectories.dataset import TrajectoryDataset


def layouts(root):
    dataset = TrajectoryDataset(root)
    return {dataset.episode(k).variation["layout"] for k in range(dataset.num_episodes)}


@pytest.mark.parametrize(
    ("words", "number"), [([], 3), (["--variation.layout", "default"], 1), (["--variation.all", "sampled"], 3)]
)
def test_layouts_vary_unless_something_else_is_asked_for(words, number, tmp_path, capsys):
    small = ["--env", "two_room", "--episodes", "8", "--steps", "1", "--image-size", "32", "--workers", "0"]
    assert main(["collect", "--out", str(tmp_path / "set"), *small, *words]) == 0
    assert len(layouts(tmp_path / "set")) >= number and (len(layouts(tmp_path / "set")) == 1) == (number == 1)
    told = "varied as usual for two_room: layout drawn" in capsys.readouterr().out
    assert told == (not words)
