"""The promise: from nothing to a planner that beats chance, by the commands a newcomer would type."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_all_stages_from_nothing_end_nearer_to_the_goal_than_chance(tmp_path):
    script = Path(__file__).parents[1] / "scripts/run_tiny.sh"
    environment = os.environ | {"BIN": str(Path(sys.executable).parent)}
    subprocess.run(["bash", script, tmp_path], check=True, env=environment)
    rows = {row["policy"]: row for row in json.loads((tmp_path / "evaluate/results.json").read_text())["rows"]}
    assert rows["world_model"]["mean_final_distance"] < 0.6 * rows["random"]["mean_final_distance"]
