"""The stage that brings the robot to one goal picture: pictures as people have them."""

from __future__ import annotations

import imageio.v3 as iio
import numpy as np
import pytest
from tiny_world_model import tiny_world_model

from vjepa_wm.models.world_model import save_world_model
from vjepa_wm.stages.plan import PlanConfig, run_plan
from vjepa_wm.stages.planner_options import PlannerOptions


def reach_picture(folder, picture):
    """Play two actions towards a picture; return the first energy and the goal as it is shown."""
    folder.mkdir()
    save_world_model(tiny_world_model(2, 2), folder / "wm")
    iio.imwrite(folder / "picture.png", picture)
    options = PlannerOptions(num_samples=8, iterations=1)
    settings = {"env": "two_room", "steps": 2, "precision": "fp32", "planner": options}
    run_plan(
        PlanConfig(out=folder / "out", goal_image=folder / "picture.png", checkpoint=str(folder / "wm"), **settings)
    )
    return iio.imread(folder / "out/goal.png")


def test_of_a_goal_picture_of_another_size_the_centre_square_is_taken_and_that_is_said(tmp_path, caplog, capsys):
    square = np.zeros((128, 128, 3), np.uint8)
    square[20:60, 30:70] = 255
    np.testing.assert_array_equal(reach_picture(tmp_path / "square", square), square)
    assert "goal picture" not in caplog.text
    wide = np.full((128, 200, 3), 99, np.uint8)
    wide[:, 36:164] = square
    np.testing.assert_array_equal(reach_picture(tmp_path / "wide", wide), square)
    assert (
        "the goal picture has 200 x 128 pixels, the camera's pictures have 128 x 128; its centre square of 128 x 128 "
        "is taken and resized" in caplog.text
    )
    lines = capsys.readouterr().out.splitlines()
    energies = [line.split("energy ")[1].split()[0] for line in lines if line.startswith("step")]
    assert len(energies) == 6 and energies[:3] == energies[3:]


def test_what_is_no_picture_is_named(tmp_path):
    (tmp_path / "goal.png").write_text("no picture")
    with pytest.raises(ValueError, match=r"goal\.png"):
        run_plan(PlanConfig(out=tmp_path / "out", env="two_room", goal_image=tmp_path / "goal.png"))
    with pytest.raises(FileNotFoundError, match=r"nothing\.png"):
        run_plan(PlanConfig(out=tmp_path / "out", env="two_room", goal_image=tmp_path / "nothing.png"))
