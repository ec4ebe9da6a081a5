"""Training state beside a model: what a resumed run needs and inference never does.

A state is a folder of safetensors shards, one per process, so nothing is ever unpickled, and a run may go on with
another number of processes, sharded (`fully_shard`), replicated (DDP) or alone. It is written in the background and
gets its name only when every process has written its part, so a killed run leaves the last whole state. No generator
is kept, because batches and masks are drawn from the seed and the step alone.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from vjepa_wm.checks import check_at_least
from vjepa_wm.models.checkpoint import CheckpointError, check_weights, read_json
from vjepa_wm.safe_files import FolderInUseError, FolderLock
from vjepa_wm.training.run.distributed import World
from vjepa_wm.training.run.shards import (
    Part,
    StoredTensor,
    own_parts,
    part_of,
    read_index,
    read_parts,
    write_shard,
)
from vjepa_wm.training.run.state_folder import DESCRIPTION_FILE, MOST_SHARDS, STATE_FOLDER, StateFolder, shard_name

OPTIMIZER = "optimizer"
"""First part of the names of the optimizer's tensors; those of modules begin with the name of the module."""
FOREIGN = "was written by a run of another architecture"


class TrainingState:
    """Writes and reads the state of one run; all processes make one at the same place and call it alike."""

    def __init__(
        self,
        folder: str | Path,
        *,
        modules: Mapping[str, nn.Module],
        optimizer: torch.optim.Optimizer,
        world: World,
        keep: int = 1,
    ) -> None:
        """Remember what is to be saved.

        Args:
            folder: folder of the run; several machines must see the same one.
            modules: networks by name, plain or sharded in place by `fully_shard`; not their DDP wrappers.
            optimizer: of parameters of `modules`, named after them; its hyper-parameters come from the configuration.
            world: the processes of the run.
            keep: number of newest states that are kept.

        Raises:
            ValueError: if `keep` is less than 1, a module has the name of the optimizer, or the optimizer has a
                parameter that is in no module.
        """
        check_at_least(1, keep=keep)
        if OPTIMIZER in modules:
            raise ValueError(f"modules must not use the name {OPTIMIZER!r}, which the optimizer has; choose another")
        self._states = StateFolder(Path(folder) / STATE_FOLDER, keep)
        self._modules = dict(modules)
        self._optimizer = optimizer
        self._world = world
        self._parameters()
        # A group of its own, because the writing thread's messages must not mix with those of the training.
        self._group = dist.new_group(backend="gloo") if world.size > 1 else None
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="training-state")
        self._writing: Future[int] | None = None
        self._step: int | None = None
        self._lock: FolderLock | None = None

    def save(self, step: int) -> None:
        """Copy the state and write it in the background, after the one before has been written.

        Args:
            step: the step with which the run goes on. The one that has been saved or loaded last is not saved again.

        Raises:
            CheckpointError: if the save before failed in another process, or there is a newer state of another run.
            OSError: if this process could not write in the save before, or the folder was deleted meanwhile.
            TypeError: if a tensor is sharded in a way that is not supported.
        """
        self.wait()
        self._check_folder()
        if step == self._step:
            return
        parts = {name: part_of(value, self._world.size) for name, value in self._tensors().items()}
        layout = "".join(f"{name}{part.shape}{part.local.dtype};" for name, part in sorted(parts.items()))
        copies = {name: part.copied() for name, part in own_parts(parts, self._world.rank).items()}
        self._writing = self._writer.submit(self._write, step, copies, zlib.crc32(layout.encode()))

    def wait(self) -> None:
        """Return when the last save is on the disk; raises as `save`."""
        if self._writing is None:
            return
        try:
            self._step = self._writing.result()
        finally:
            if self._writing.done():
                self._writing = None

    def __enter__(self) -> TrainingState:
        """Claim the folder of the run, into which no other run may write meanwhile.

        Raises:
            FolderInUseError: if another run is writing there, or has written since `load`.
        """
        if self._world.is_main:
            self._lock = FolderLock(self._states.root.parent)
            newest = max(self._states.steps(), default=None)
            if newest != self._step:
                self._lock.release()
                raise FolderInUseError(
                    f"another run has just written step {newest} into {self._states.root}; give the command again"
                )
            self._states.remove_halves()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Wait for the last save, which is as good when the training ends by an error, and let others write.

        Raises:
            OSError: if the folder was deleted or replaced meanwhile.
        """
        try:
            self.wait()
            if kind is None:
                self._check_folder()
        finally:
            if self._lock is not None:
                self._lock.release()

    def load(self) -> int:
        """Read the newest whole state into modules and optimizer and return its step; 0 if there is none.

        Raises:
            CheckpointError: if the state is damaged or belongs to another architecture; modules and optimizer are
                unchanged.
        """
        self.wait()
        # What the first process sees counts, because a file system may show machines a new state at different times.
        step = self._gather(max(self._states.steps(), default=-1))[0]
        if step < 0:
            return 0
        self._read(self._states.path(step), step)
        self._step = step
        return step

    def _check_folder(self) -> None:
        if self._lock is not None:
            self._lock.check()

    def _parameters(self) -> list[tuple[str, nn.Parameter]]:
        """Return the optimizer's parameters in its order, with the names they have in the modules."""
        names: dict[int, str] = {}
        for module_name, module in self._modules.items():
            for name, parameter in module.named_parameters():
                names.setdefault(id(parameter), f"{module_name}.{name}")
        ordered = [parameter for group in self._optimizer.param_groups for parameter in group["params"]]
        foreign = [tuple(parameter.shape) for parameter in ordered if id(parameter) not in names]
        if foreign:
            raise ValueError(
                f"optimizer must hold parameters of modules {sorted(self._modules)} only, got {len(foreign)} others, "
                f"the first of shape {foreign[0]}; make it after the modules are sharded"
            )
        return [(names[id(parameter)], parameter) for parameter in ordered]

    def _module_tensors(self) -> dict[str, Tensor]:
        return {
            f"{module_name}.{name}": value
            for module_name, module in self._modules.items()
            for name, value in module.state_dict().items()
        }

    def _tensors(self) -> dict[str, Tensor]:
        """Return everything that is saved; parameters without gradients have no optimizer state."""
        return self._module_tensors() | {
            f"{OPTIMIZER}.{name}.{key}": value
            for name, parameter in self._parameters()
            for key, value in self._optimizer.state.get(parameter, {}).items()
        }

    def _write(self, step: int, parts: Mapping[str, Part], layout: int) -> int:
        """Write the state of a step and return the step; runs in the background, in all processes at once."""
        temporary = self._states.unfinished(step)
        with self._together(step):
            if self._world.is_main:
                self._states.make_room(step)
        if len(set(self._gather(layout))) > 1:
            raise CheckpointError(f"the state of step {step} was not written: the processes hold different tensors")
        with self._together(step):
            temporary.mkdir(exist_ok=True)  # a network file system may not show it yet
            write_shard(temporary / shard_name(self._world.rank), parts)
        with self._together(step):
            if self._world.is_main:
                name = type(self._optimizer).__name__
                self._states.publish(step, {"step": step, "shards": self._world.size, "optimizer": name})
        return step

    def _read(self, folder: Path, step: int) -> None:
        try:
            description = read_json(folder / DESCRIPTION_FILE)
            shards = description.get("shards")
            if description.get("step") != step or type(shards) is not int or not 0 < shards <= MOST_SHARDS:
                raise CheckpointError(f"{folder / DESCRIPTION_FILE} is damaged: it describes another state")
            paths = [folder / shard_name(rank) for rank in range(shards)]
            stored = read_index(paths)
        except CheckpointError as error:
            raise CheckpointError(
                f"{error}; delete {folder} to go on from the state before it or to start over"
            ) from error
        if description.get("optimizer") != type(self._optimizer).__name__:
            raise CheckpointError(
                f"{folder} was written by a run with the optimizer {description.get('optimizer')}, "
                f"but this one has {type(self._optimizer).__name__}"
            )
        tensors = self._module_tensors() | self._empty_optimizer_tensors(stored)
        check_weights(tensors, cast(Any, stored), folder, FOREIGN)  # which looks at names, shapes and types alone
        _check_types(tensors, stored, folder)
        read_parts(paths, {name: part_of(value, self._world.size) for name, value in tensors.items()})
        self._fill_optimizer(tensors)

    def _empty_optimizer_tensors(self, stored: Mapping[str, StoredTensor]) -> dict[str, Tensor]:
        """Return memory for the stored optimizer tensors of parameters that the optimizer has, sharded like these."""
        parameters, empty = dict(self._parameters()), {}
        for name, tensor in stored.items():
            owner, _, _ = name.removeprefix(f"{OPTIMIZER}.").rpartition(".")
            if name.startswith(f"{OPTIMIZER}.") and owner in parameters:
                counter = tensor.shape == ()
                like = torch.empty(()) if counter else parameters[owner].detach()
                empty[name] = torch.empty_like(like, dtype=tensor.dtype)
        return empty

    def _fill_optimizer(self, tensors: Mapping[str, Tensor]) -> None:
        state: dict[int, dict[str, Tensor]] = {}
        numbers = {name: number for number, (name, _) in enumerate(self._parameters())}
        for name, value in tensors.items():
            if name.startswith(f"{OPTIMIZER}."):
                owner, _, key = name.removeprefix(f"{OPTIMIZER}.").rpartition(".")
                state.setdefault(numbers[owner], {})[key] = value
        self._optimizer.load_state_dict({**self._optimizer.state_dict(), "state": state})

    @contextmanager
    def _together(self, step: int) -> Iterator[None]:
        """Do the block in all processes and go on when all have done it; if one could not, none goes on."""
        failed = True
        try:
            yield
            failed = False
        finally:
            failures = self._gather(int(failed))
        if any(failures):
            ranks = [rank for rank, failure in enumerate(failures) if failure]
            raise CheckpointError(f"the state of step {step} was not written: it failed in the processes {ranks}")

    def _gather(self, value: int) -> list[int]:
        """Return the values of all processes."""
        if self._group is None:
            return [value]
        values = [torch.zeros(1, dtype=torch.int64) for _ in range(self._world.size)]
        dist.all_gather(values, torch.tensor([value]), group=self._group)
        return [int(value) for value in values]


def _check_types(tensors: Mapping[str, Tensor], stored: Mapping[str, StoredTensor], folder: Path) -> None:
    """Refuse other types of values, as converting them would lose some."""
    for name, value in tensors.items():
        if value.dtype != stored[name].dtype:
            raise CheckpointError(f"{folder} {FOREIGN}: {name} is {stored[name].dtype} instead of {value.dtype}")
