"""The package as it is installed: all of it imports, in one direction only, and runs with the files that belong to it.

`make test-wheel` runs this file again where only the built wheel is, so what a wheel may lack is asked for here.
"""

import ast
import importlib
import os
import pkgutil
import subprocess
import sys
from contextlib import closing
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import pytest
import torch

import vjepa_wm
import vjepa_wm.envs
import vjepa_wm.planners
from vjepa_wm.cli import STAGES, main
from vjepa_wm.stages.planner_options import PlannerOptions
from vjepa_wm.stages.planning import StandRecipe

LEAVES = {"checks", "one_word", "own_code", "safe_files"}
"""Which import nothing of the package, and which all of it may import."""
PARTS = (
    *LEAVES,
    "models",
    "parallel",
    "data",
    "training",
    "agents",
    "evaluation",
    "envs",
    "planners",
    "stages",
    "cli",
    "weights",
    "__main__",
)
ALLOWED = {
    "models": {"models"},
    "parallel": {"parallel"},
    "envs": {"envs"},
    "planners": {"planners"},
    "data": {"data", "models", "parallel", "envs"},
    "training": {"training", "data", "models"},
    "agents": {"agents", "models", "planners", "envs"},
    "evaluation": {"evaluation", "agents", "data", "models", "parallel", "envs", "planners"},
    "stages": set(PARTS) - {"cli"},
    "cli": {"cli", "stages"},
    "__main__": {"cli"},
}
"""Beside the leaves."""


def modules() -> list[str]:
    names = [info.name for info in pkgutil.walk_packages(vjepa_wm.__path__, "vjepa_wm.")]
    return sorted(set(names))


def imports(name: str) -> set[str]:
    source = Path(importlib.util.find_spec(name).origin).read_text()
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names if node.module == "vjepa_wm"}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def test_there_are_modules_of_every_part():
    assert {name.split(".")[1] for name in modules()} == set(PARTS)


@pytest.mark.parametrize("name", modules())
def test_it_imports_and_only_from_where_it_may(name):
    importlib.import_module(name)
    part = name.split(".")[1]
    used = {target.split(".")[1] for target in imports(name) if target.startswith("vjepa_wm.")}
    assert used <= (set() if part in LEAVES else LEAVES | ALLOWED.get(part, set())), f"{name} imports {sorted(used)}"


@pytest.mark.parametrize("name", [n for n in modules() if n.split(".")[1] == "planners"])
def test_planners_know_no_simulator(name):
    assert not {target.split(".")[0] for target in imports(name)} & {"mujoco", "gymnasium"}


def run_python(*arguments, **options):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, **options)


def test_importing_the_command_line_does_not_start_mujoco():
    assert run_python("-c", "import sys, vjepa_wm.cli; sys.exit('mujoco' in sys.modules)").returncode == 0


def test_the_command_is_the_one_of_the_package():
    (command,) = distribution("vjepa_wm").entry_points
    assert (command.name, command.load()) == ("vjepa-wm", main)


def test_help_names_every_stage(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    assert [stage for stage in STAGES if stage not in out] == []


@pytest.mark.parametrize("stage", STAGES)
def test_help_explains_every_option(stage, capsys):
    with pytest.raises(SystemExit) as stop:
        main([stage, "--help"])
    assert stop.value.code == 0
    assert "--out" in capsys.readouterr().out or stage in ("probe", "inspect")


def test_a_reader_that_has_seen_enough_is_no_error():
    command = f"{sys.executable} -m vjepa_wm pretrain --help | head -c 10"
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert len(done.stdout) == 10 and done.stderr == ""


@pytest.mark.parametrize("task", vjepa_wm.envs.TASKS)
def test_every_task_has_its_scene(task):
    with closing(vjepa_wm.envs.make(task, image_size=32)) as env:
        obs, info = env.reset(seed=0)
    assert obs["image"].std() > 1 and info["goal"]["image"].shape == (32, 32, 3)


def test_the_command_collects_with_a_process_of_its_own(tmp_path):
    small = ["--env", "two_room", "--episodes", "1", "--steps", "2", "--image-size", "32", "--workers", "1"]
    done = run_python("-m", "vjepa_wm", "collect", "--out", str(tmp_path / "set"), *small)
    assert done.returncode == 0, done.stderr
    assert "set: 1 episodes, 1 of them new; 3 frames" in done.stdout


@torch.no_grad()
def test_the_released_world_model_predicts_better_than_that_nothing_moves():
    with closing(vjepa_wm.envs.make("reach")) as env:
        first, _ = env.reset(seed=0)
        action = np.float32([0.05, 0.05, -0.05, 0, 0, 0, 0])
        second = env.step(action)[0]
    model = StandRecipe(task="reach", checkpoint=None, planner=PlannerOptions(), precision="fp32").load_model()
    z, z_next = model.encode(torch.from_numpy(np.stack([first["image"], second["image"]]))[:, None])
    state, action = (torch.from_numpy(value).float()[None, None] for value in (first["state"], action))
    imagined = model.rollout(z[None], state, action)
    assert imagined.shape == z[None].shape
    assert (imagined[0] - z_next).abs().mean() < 0.8 * (z - z_next).abs().mean()


def files(package: Path) -> set[str]:
    return {str(path.relative_to(package)) for path in package.rglob("*") if path.is_file() and path.suffix != ".pyc"}


def test_it_is_the_installed_package_that_is_tested_and_it_is_whole():
    site = os.environ.get("VJEPA_WM_SITE")
    if site is None:
        pytest.skip("VJEPA_WM_SITE is not set, so the checkout is tested")
    for package in (vjepa_wm, vjepa_wm.envs, vjepa_wm.planners):
        assert Path(package.__file__).is_relative_to(site)
    assert files(Path(vjepa_wm.__file__).parent) == files(Path(__file__).parents[1] / "vjepa_wm")
