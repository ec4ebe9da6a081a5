"""A training that is interrupted in the middle."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def interrupted_at(trainer: type, last: int) -> Iterator[None]:
    """Let a class of trainers raise KeyboardInterrupt at one step, by its number, of what is trained within."""
    make = trainer.step

    def step(self, number, *data):
        if number == last:
            raise KeyboardInterrupt
        return make(self, number, *data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "step", step)
        yield
