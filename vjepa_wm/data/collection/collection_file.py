"""meta/collection.json of a data set that is collected: what its episodes are of, so that a collection never mixes.

The recorder compares what a LeRobot data set says of itself, which is neither policy nor seed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vjepa_wm.checks import differences
from vjepa_wm.data.trajectories.layout import TASKS_PATH
from vjepa_wm.data.trajectories.metadata_checks import TrajectoryError, read_json_object
from vjepa_wm.data.trajectories.parquet_tables import read_tasks
from vjepa_wm.data.trajectories.writer import TrajectoryWriter
from vjepa_wm.safe_files import write_json

COLLECTION_PATH = Path("meta/collection.json")


def claim_collection(writer: TrajectoryWriter, settings: Mapping[str, Any], task: str) -> None:
    """Begin a collection in a data set, or make sure that the one in it is the same.

    Args:
        writer: recorder of the data set.
        settings: everything that an episode depends on besides its number, json values by name.
        task: what the episodes show, in words, by which a data set without this file is judged.

    Raises:
        TrajectoryError: if the data set holds another collection, naming the differences.
    """
    path = writer.root / COLLECTION_PATH
    told: list[str] = []
    if path.exists() and writer.num_episodes:
        told = differences(read_json_object(path), settings)
    elif writer.num_episodes:
        found = read_tasks(writer.root / TASKS_PATH)
        told = [] if task in found else [f"episodes of {'; '.join(found)}, asked for {task}"]
    if told:
        raise TrajectoryError(
            f"{writer.root} holds another collection: {'; '.join(told)}; give what it began with, or choose another "
            "folder: what is trained takes several (--data A B)"
        )
    write_json(path, dict(settings))
