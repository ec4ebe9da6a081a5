"""What every run on labelled data reads and leaves: the sets, the record of the run, the results.

Why this file exists: heads on frozen features, fine-tuning and the measuring of a trained head share it.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vjepa_wm.data.clips.bad_files import BadFiles, write_bad_files
from vjepa_wm.data.labelled.feature_store import item_digests
from vjepa_wm.data.labelled.find_labelled import find_labelled
from vjepa_wm.data.labelled.labelled_set import LabelledSet
from vjepa_wm.models.checkpoint import read_json
from vjepa_wm.safe_files import write_json
from vjepa_wm.training.classification.config import ClassifyConfig
from vjepa_wm.training.classification.results import HeadResult, write_results
from vjepa_wm.training.run.distributed import World
from vjepa_wm.training.run.run_record import refuse_another_run, run_record, told_apart

RECORD = "classify.json"
BAD_FILES = "bad_files.csv"


@dataclass(frozen=True, kw_only=True)
class Sets:
    """What is trained and measured on, as it was read."""

    train: LabelledSet
    """To train on."""
    test: LabelledSet
    """To measure on."""
    bad: BadFiles
    """Which of their items, of the first and of the second, cannot be read."""

    @classmethod
    def open(cls, config: ClassifyConfig) -> Sets:
        """Read labels; errors as of `find_labelled`."""
        train, test = find_labelled(config.data, config.read, config.seed)
        bad = BadFiles("labelled items", [train.items, test.items], config.read.max_bad_share)
        return cls(train=train, test=test, bad=bad)

    def content(self) -> str:
        """Return what tells items and labels from others."""
        digest = hashlib.blake2b(digest_size=8)
        for one in (self.train, self.test):
            digest.update(b"".join(item_digests(one.items)))
            digest.update(one.labels.tobytes() + repr(dict(one.classes)).encode())
        return digest.hexdigest()


def check_run(config: ClassifyConfig, first_step: int, world: World, *, encoder: str, data: str) -> None:
    """Make sure that the run in the folder is this one, and write down what this one is.

    Args:
        config: the run.
        first_step: the step that it goes on with; at 0 there is none that could be another.
        world: the processes of the run.
        encoder: what tells the encoder from others.
        data: what tells items and labels from others.

    Raises:
        CheckpointError: if it is another, naming the differences.
    """
    # The number of steps follows from the rest, so it can be neither more nor less.
    asked = run_record({**dataclasses.asdict(config), "steps": 0}, {"encoder": encoder, "data": data})
    path = config.out / RECORD
    if first_step and path.exists():
        refuse_another_run(config.out, told_apart(read_json(path), asked, config.free_options))
    if world.is_main:
        write_json(path, asked)


def report(folder: Path, sets: Sets, results: Mapping[str, HeadResult], chosen_on: str) -> str:
    """Write what was measured, and the list of bad items if there are any; return the table."""
    table = write_results(folder, results, train=sets.train, test=sets.test, chosen_on=chosen_on, bad=sets.bad.reasons)
    lines = sets.bad.report() if sets.bad.num_bad else []
    if sets.bad.num_bad:
        write_bad_files(sets.bad.reasons, folder / BAD_FILES)
    return "\n".join([table, *lines])
