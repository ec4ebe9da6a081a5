"""The package as it is installed: all of it imports, and its parts import each other in one direction only."""

import ast
import importlib
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import vjepa_wm
import vjepa_wm.envs
import vjepa_wm.planners

LEAVES = {"checks", "safe_files"}
"""Which import nothing of the package, and which all of it may import."""
PARTS = (
    *LEAVES,
    "models",
    "parallel",
    "data",
    "training",
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
    "evaluation": {"evaluation", "data", "models", "planners", "parallel", "envs"},
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


def test_importing_the_command_line_does_not_start_mujoco():
    code = "import sys, vjepa_wm.cli; sys.exit('mujoco' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_it_is_the_installed_package_that_is_tested():
    site = os.environ.get("VJEPA_WM_SITE")
    if site is None:
        pytest.skip("VJEPA_WM_SITE is not set, so the checkout is tested")
    for package in (vjepa_wm, vjepa_wm.envs, vjepa_wm.planners):
        assert Path(package.__file__).is_relative_to(site)
