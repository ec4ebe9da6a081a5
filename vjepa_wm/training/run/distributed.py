"""One process or many: who this one is, and what they do together.

Source: torch.distributed; `torchrun` sets the environment variables that are read here.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.rendezvous import rendezvous
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.layers import Block

PATIENCE = timedelta(days=7)
"""How long processes wait while one prepares what all of them use."""


@dataclass(frozen=True, kw_only=True)
class World:
    """The processes that train one model together; without `torchrun` there is one."""

    rank: int = 0
    """Number of this process."""
    size: int = 1
    """Number of processes."""
    local_rank: int = 0
    """Number of this process on its machine, and of its GPU."""
    local_size: int = 1
    """Number of processes on this machine."""

    @property
    def is_main(self) -> bool:
        """Whether this process writes what is written once."""
        return self.rank == 0

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean over all processes."""
        if self.size == 1:
            return values
        values = values.clone()
        dist.all_reduce(values)
        return values / self.size

    def gather(self, values: Tensor) -> Tensor:
        """Return the rows of all processes end to end; all have the same shape."""
        if self.size == 1:
            return values
        parts = [torch.empty_like(values) for _ in range(self.size)]
        dist.all_gather(parts, values.contiguous())
        return torch.cat(parts)

    def gather_objects(self, value: object) -> list:
        """Return what every process has, in the order of their numbers; it travels by pickle between them."""
        if self.size == 1:
            return [value]
        values = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """Do the block in the main process, however long that takes, and only then in the others."""
        # A group of its own, because those of the training give up after minutes.
        group = dist.new_group(backend="gloo", timeout=PATIENCE) if self.size > 1 else None
        if group and not self.is_main:
            dist.barrier(group)
        yield
        if group and self.is_main:
            dist.barrier(group)


@contextmanager
def joined_world(device: torch.device) -> Iterator[World]:
    """Join the processes that `torchrun` started, and leave them at the end.

    Args:
        device: cpu or cuda; a GPU is chosen by the number of the process on its machine.
    """
    names = {"rank": "RANK", "size": "WORLD_SIZE", "local_rank": "LOCAL_RANK", "local_size": "LOCAL_WORLD_SIZE"}
    if names["size"] not in os.environ:
        yield World()
        return
    world = World(**{field: int(os.environ[name]) for field, name in names.items()})
    if device.type == "cuda":
        torch.cuda.set_device(world.local_rank)
    store, rank, size = next(rendezvous("env://"))
    # After a restart by torchrun the store still holds the addresses of the dead, hence a part of it for each life.
    store = dist.PrefixStore(f"restart_{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=size)
    try:
        yield world
        dist.barrier()  # nobody leaves while another still talks to it
    finally:
        dist.destroy_process_group()


def distribute(network: nn.Module, world: World, parallel: str, *, partly_used: bool) -> nn.Module:
    """Return what to call in place of `network`, so that the processes share their gradients.

    Args:
        network: the same weights in every process; already sharded if `parallel` is fsdp.
        world: the processes.
        parallel: ddp or fsdp.
        partly_used: whether some call may leave some parameters out.
    """
    if world.size == 1 or parallel == "fsdp":
        return network
    return DistributedDataParallel(network, find_unused_parameters=partly_used)


def average_gradients(parameters: Iterable[nn.Parameter], world: World) -> None:
    """Replace the gradients by their means over all processes.

    For losses that are no module's `forward`, which `distribute` needs; the same parameters must have gradients in all
    processes.
    """
    if world.size == 1:
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    for exchange in [dist.all_reduce(gradient, async_op=True) for gradient in gradients]:
        exchange.wait()
    torch._foreach_div_(gradients, world.size)


def hold_gradients(network: nn.Module, *, hold: bool) -> AbstractContextManager:
    """Return a context in which gradients add up without being exchanged, if `hold`."""
    return network.no_sync() if hold and isinstance(network, DistributedDataParallel) else nullcontext()


def shard(networks: Sequence[nn.Module], world: World, device: torch.device) -> None:
    """Share out the parameters of networks over the processes, block by block (FSDP2), keeping their names.

    A part of another network that is called by itself stands before it.
    """
    mesh = init_device_mesh(device.type, (world.size,))
    for network in networks:
        for block in (part for part in network.modules() if isinstance(part, Block)):
            if not isinstance(block, FSDPModule):  # of a part that was shared out before its whole
                fully_shard(block, mesh=mesh)
        # Else a network without gradients keeps its outer parameters whole after the call.
        fully_shard(network, mesh=mesh, reshard_after_forward=True)
        if isinstance(network, VideoEncoder):
            register_fsdp_forward_method(network, "level_features")


def whole_state(network: nn.Module) -> dict[str, Tensor]:
    """Return the weights by name, of a sharded network put together again; every process must ask."""
    weights = network.state_dict()
    return {name: value.full_tensor() if isinstance(value, DTensor) else value for name, value in weights.items()}
