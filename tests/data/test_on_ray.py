"""Episodes played by the processes of a Ray cluster, one of which is killed. Needs Ray, which CI does not install."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from small_trajectories import contents
from square_world import run

from vjepa_wm.data.trajectories.dataset import TrajectoryDataset

CODE = """
import sys
from functools import partial
from pathlib import Path
from square_world import SquareEnv, run

root, breaks = map(Path, sys.argv[1:])
print(run(root, partial(SquareEnv, breaks=breaks), num_episodes=40, workers=2, ray="local"))
"""


def collect_on_ray(root, breaks):
    """Collect in another process, as Ray keeps threads and sets what warnings do."""
    path = os.pathsep.join([str(Path(__file__).parents[1] / "support"), *filter(None, sys.path)])
    command = [sys.executable, "-c", CODE, str(root), str(breaks)]
    return subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, timeout=300)


@pytest.fixture
def breaks(tmp_path):
    (tmp_path / "breaks").mkdir()
    return tmp_path / "breaks"


needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")


@needs_ray
def test_a_worker_that_is_killed_while_it_plays_changes_nothing(tmp_path, breaks):
    whole = run(tmp_path / "whole", num_episodes=40)
    (breaks / "die-1").touch()
    (breaks / "die-2").touch()
    finished = collect_on_ray(tmp_path / "set", breaks)
    assert finished.returncode == 0, finished.stderr
    assert not any(breaks.iterdir()) and str(whole) in finished.stdout
    assert TrajectoryDataset(tmp_path / "set").num_episodes == 40
    assert contents(tmp_path / "set") == contents(tmp_path / "whole")


@needs_ray
def test_an_error_on_the_cluster_comes_with_its_traceback(tmp_path, breaks):
    (breaks / "raise").touch()
    finished = collect_on_ray(tmp_path / "set", breaks)
    assert finished.returncode == 1
    assert re.search(r"(?s)piece \d+ failed on the Ray cluster:.*break_once.*the square is broken", finished.stderr)


def test_ray_must_be_installed(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r"Ray is not installed: pip install 'vjepa_wm\[ray\]', or leave --ray out"):
        run(tmp_path / "set", ray="local")
