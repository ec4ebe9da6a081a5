"""Training state beside a model: what a resumed run needs and inference never does.

It is one safetensors file, so nothing is ever unpickled: tensors of modules and optimizer under dotted names. No
generator is kept, because batches and masks are drawn from the seed and the step alone. The file is replaced in one
move, so a killed run leaves the last whole one.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from vjepa_wm.models.checkpoint import CheckpointError

STATE_FILE = "training_state.safetensors"


def save_training_state(
    folder: str | Path,
    *,
    modules: dict[str, nn.Module],
    optimizer: torch.optim.Optimizer,
    step: int,
) -> None:
    """Write everything that changes while training into `folder`.

    Args:
        folder: where to, made if missing.
        modules: networks by name.
        optimizer: its state tensors are kept, its hyper-parameters come from the schedule.
        step: the step with which the run goes on.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for name, module in modules.items():
        tensors |= {f"module.{name}.{key}": value.detach() for key, value in module.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{key}": torch.as_tensor(value) for key, value in state.items()}
    # Cloned, because safetensors refuses tensors that share memory.
    tensors = {name: value.to("cpu", copy=True).contiguous() for name, value in tensors.items()}
    temporary = folder / (STATE_FILE + ".tmp")
    save_file(tensors, temporary, metadata={"step": str(step)})
    temporary.replace(folder / STATE_FILE)


def load_training_state(
    folder: str | Path,
    *,
    modules: dict[str, nn.Module],
    optimizer: torch.optim.Optimizer,
) -> int:
    """Read the state back into the given parts and return the next step; 0 if `folder` has no state.

    Raises:
        CheckpointError: the file is damaged or belongs to another architecture.
    """
    path = Path(folder) / STATE_FILE
    if not path.is_file():
        return 0
    try:
        with safe_open(path, framework="pt") as file:
            step = int(file.metadata()["step"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise CheckpointError(f"{path} is damaged: {error}; delete it to start over") from error
    for name, module in modules.items():
        prefix = f"module.{name}."
        values = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
        try:
            module.load_state_dict(values)
        except RuntimeError as error:
            raise CheckpointError(f"{path} was written by a run of another architecture: {error}") from error
    optimizer.load_state_dict({**optimizer.state_dict(), "state": _optimizer_state(tensors)})
    return step


def _optimizer_state(tensors: dict[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".", 2)
            state.setdefault(int(index), {})[key] = value
    return state
