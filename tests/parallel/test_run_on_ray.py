"""Pieces of work done by a Ray cluster. Needs Ray, which CI does not install."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

CODE = """
from small_pieces import kill_itself, kill_itself_once, maker
from vjepa_wm.parallel.run_numbered import run_numbered
import sys

if __name__ == "__main__":
    print(*run_numbered(maker(kill_itself_once, sys.argv[1]), [7, 3, 40, 0, 12], workers=2, ray="local"))
    next(run_numbered(maker(kill_itself), [12], workers=1, ray="local"))
"""


@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")
def test_results_come_in_order_also_with_gaps_and_deaths_and_three_deaths_are_an_error(tmp_path):
    (tmp_path / "3").touch()
    path = os.pathsep.join([str(Path(__file__).parents[1] / "support"), *filter(None, sys.path)])
    # In another process, as Ray keeps threads and sets what warnings do.
    finished = subprocess.run(
        [sys.executable, "-c", CODE, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert "7 3 40 0 12" in finished.stdout, finished.stderr
    assert not any(tmp_path.iterdir())
    assert finished.returncode == 1 and "RuntimeError: piece 12 failed on the Ray cluster:\n" in finished.stderr
