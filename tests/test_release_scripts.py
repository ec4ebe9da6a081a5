"""Every command of the scripts that make what is released is one that the command line takes."""

import subprocess
from pathlib import Path

import pytest
from rehearse_release import shorten

from vjepa_wm.cli import parse

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
PARTS = ["encoders", "episodes", "labels", "rollouts", "search"]
RECORD = """#!/bin/sh
printf '%s\\n' "$@" '' >> "$(dirname "$0")/commands"
"""


def commands_of(script, *words, folder):
    """Return the commands that a script gives, none of which is run."""
    for name in ("vjepa-wm", "python"):
        (folder / name).write_text(RECORD if name == "vjepa-wm" else "#!/bin/sh\n")
        (folder / name).chmod(0o755)
    subprocess.run(["bash", SCRIPTS / script, *words], check=True, env={"BIN": str(folder), "PATH": "/usr/bin:/bin"})
    return [command.split("\n") for command in (folder / "commands").read_text().split("\n\n") if command]


@pytest.mark.parametrize(
    ("script", "words"),
    [("release_arm.sh", []), ("release_plane.sh", []), *(("equal_budget.sh", [part]) for part in PARTS)],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_every_command_is_taken(script, words, tmp_path):
    commands = commands_of(script, *words, folder=tmp_path)
    assert len(commands) > 3
    for command in commands:
        parse(command)
        parse(shorten(command))


def test_a_rehearsal_shortens_trainings_and_collections_alone():
    assert shorten(["collect", "--episodes", "7000", "--steps", "30"]) == [
        "collect",
        "--episodes",
        "35",
        "--steps",
        "30",
    ]
    assert shorten(["evaluate", "--episodes", "100"]) == ["evaluate", "--episodes", "100"]
    assert shorten(["train-looks", "--steps", "1400"]) == ["train-looks", "--steps", "3", "--batch-size", "4"]
    assert shorten(["pretrain", "--out", "o"]) == ["pretrain", "--out", "o", "--steps", "5", "--batch-size", "4"]
