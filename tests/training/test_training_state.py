import copy
import json
import multiprocessing
import random
import threading
import time

import pytest
import torch
import torch.distributed as dist
from safetensors import safe_open
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from vjepa_wm.models.checkpoint import CheckpointError
from vjepa_wm.safe_files import FolderInUseError
from vjepa_wm.training.pretrain.ema import make_target, update_target
from vjepa_wm.training.run import training_state as checkpoint
from vjepa_wm.training.run.distributed import World
from vjepa_wm.training.run.shards import own_parts, part_of
from vjepa_wm.training.run.state_folder import StateFolder, has_training_state
from vjepa_wm.training.run.training_state import TrainingState

ALONE = World()
# Its children start in no time, because the server has imported for them what takes long.
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["__main__", "pytest", "torch._dynamo", "torch.distributed.fsdp", checkpoint.__name__])


class Mixed(nn.Module):
    """Every kind of tensor that a network may hold, and parameters that are never used."""

    def __init__(self, width=5):
        super().__init__()
        self.first, self.second, self.unused = nn.Linear(3, width), nn.Linear(width, 1), nn.Linear(2, 2)
        self.halved = nn.Parameter(torch.randn(width).bfloat16())
        self.scale = nn.Parameter(torch.tensor(1.5))
        self.transposed = nn.Parameter(torch.randn(width, width).t())
        self.register_buffer("counts", torch.arange(4))
        self.register_buffer("flags", torch.tensor([True, False]))
        self.register_buffer("nothing", torch.zeros(0, 3))
        self.frozen = nn.Parameter(torch.randn(3), requires_grad=False)

    def forward(self, x):
        self.counts += 1
        return self.second((self.first(x) + self.halved.float()) @ self.transposed) * self.scale


def make(seed=0, model=Mixed, **options):
    torch.manual_seed(seed)
    network = model(**options)
    return network, torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=0.1)


def state(folder, network, optimizer, world=ALONE, **options):
    return TrainingState(folder, modules={"network": network}, optimizer=optimizer, world=world, **options)


def train(network, optimizer, steps):
    for step in range(steps):
        optimizer.zero_grad()
        network(torch.randn(4, 3, generator=torch.Generator().manual_seed(step))).square().mean().backward()
        optimizer.step()


def whole(value):
    return value.full_tensor() if isinstance(value, DTensor) else value


def assert_same(network, optimizer, other, other_optimizer):
    for (name, a), (other_name, b) in zip(network.state_dict().items(), other.state_dict().items(), strict=True):
        assert name == other_name and a.dtype == b.dtype and torch.equal(whole(a), whole(b)), name
    values, other_values = (o.state_dict()["state"] for o in (optimizer, other_optimizer))
    assert values.keys() == other_values.keys()
    for index, tensors in values.items():
        assert tensors.keys() == other_values[index].keys()
        for key, value in tensors.items():
            other_value = other_values[index][key]
            assert value.dtype == other_value.dtype and torch.equal(whole(value), whole(other_value)), key


def stored_names(folder):
    """Return the names in each shard of the newest state, and the number of stored values by name."""
    names, sizes = [], {}
    newest = sorted(path for path in (folder / "state").iterdir() if path.suffix != ".tmp")[-1]
    for path in sorted(newest.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            names.append(set(file.keys()))
            for name in file.keys():  # noqa: SIM118
                sizes[name] = sizes.get(name, 0) + file.get_tensor(name).numel()
    return names, sizes


def test_training_goes_on_exactly(tmp_path):
    network, optimizer = make()
    assert state(tmp_path, network, optimizer).load() == 0 and not has_training_state(tmp_path)
    train(network, optimizer, 3)
    saved = state(tmp_path, network, optimizer)
    saved.save(3)
    saved.wait()
    assert has_training_state(tmp_path)
    other, other_optimizer = make(seed=1)
    assert state(tmp_path, other, other_optimizer).load() == 3
    assert_same(network, optimizer, other, other_optimizer)
    assert other.unused.weight not in other_optimizer.state
    train(network, optimizer, 2)
    train(other, other_optimizer, 2)
    assert_same(network, optimizer, other, other_optimizer)


def test_optimizer_state_belongs_to_names_whatever_the_order(tmp_path):
    network, optimizer = make()
    train(network, optimizer, 2)
    saved = state(tmp_path, network, optimizer)
    saved.save(2)
    saved.wait()
    assert "optimizer.network.first.weight.exp_avg" in stored_names(tmp_path)[1]
    other, _ = make(seed=1)
    turned = torch.optim.AdamW([p for p in reversed(list(other.parameters())) if p.requires_grad], lr=0.3)
    train(other, turned, 1)
    assert state(tmp_path, other, turned).load() == 2
    for (name, a), b in zip(network.named_parameters(), other.parameters(), strict=True):
        values, other_values = optimizer.state.get(a, {}), turned.state.get(b, {})
        assert values.keys() == other_values.keys(), name
        assert all(torch.equal(values[key], other_values[key]) for key in values)
    assert turned.param_groups[0]["lr"] == 0.3


def test_a_state_from_before_the_first_step_empties_the_optimizer(tmp_path):
    network, optimizer = make()
    saved = state(tmp_path, network, optimizer)
    saved.save(0)
    train(network, optimizer, 1)
    assert saved.load() == 0 and not optimizer.state_dict()["state"]
    again, again_optimizer = make()
    assert_same(network, optimizer, again, again_optimizer)


def test_saving_is_in_the_background_and_later_changes_do_not_appear(tmp_path, monkeypatch):
    network, optimizer = make()
    train(network, optimizer, 1)
    copied, copied_optimizer = make()
    train(copied, copied_optimizer, 1)
    go_on, write = threading.Event(), checkpoint.write_shard

    def write_later(path, parts):
        assert go_on.wait(20)
        write(path, parts)

    monkeypatch.setattr(checkpoint, "write_shard", write_later)
    saved = state(tmp_path, network, optimizer)
    saved.save(1)
    assert not has_training_state(tmp_path)
    train(network, optimizer, 1)
    with torch.no_grad():
        network.counts.fill_(-7)
    go_on.set()
    saved.wait()
    other, other_optimizer = make(seed=1)
    assert state(tmp_path, other, other_optimizer).load() == 1
    assert_same(copied, copied_optimizer, other, other_optimizer)


def test_the_last_save_is_not_lost_when_the_training_fails(tmp_path):
    with pytest.raises(FloatingPointError), state(tmp_path, *make()) as saved:
        saved.save(5)
        raise FloatingPointError
    assert has_training_state(tmp_path)


def test_a_half_written_state_is_not_loaded_and_goes_away(tmp_path):
    network, optimizer = make()
    saved = state(tmp_path, network, optimizer)
    saved.save(5)
    saved.wait()
    half = tmp_path / "state/step-00000009.tmp"
    half.mkdir()
    (half / "rank-00000.safetensors").write_bytes(b"half")
    again = state(tmp_path, *make(seed=1))
    assert again.load() == 5
    again.save(9)
    again.wait()
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["step-00000009"]


def test_the_newest_are_kept(tmp_path):
    saved = state(tmp_path, *make(), keep=2)
    for step in (5, 10, 100_000_000):
        saved.save(step)
    saved.wait()
    assert sorted(path.name for path in (tmp_path / "state").iterdir()) == ["step-00000010", "step-100000000"]
    assert state(tmp_path, *make()).load() == 100_000_000


def test_a_state_is_saved_once_and_never_behind_a_newer_one(tmp_path):
    saved = state(tmp_path, *make())
    saved.save(5)
    saved.wait()
    before = (tmp_path / "state").stat().st_mtime_ns
    saved.save(5)
    saved.wait()
    assert (tmp_path / "state").stat().st_mtime_ns == before
    for step in (4, 5):
        forgetful = state(tmp_path, *make())
        forgetful.save(step)
        with pytest.raises(CheckpointError, match=rf"holds a state of step 5, so one of step {step} would never be"):
            forgetful.wait()


def test_errors_of_the_background_are_raised_at_the_next_call(tmp_path):
    (tmp_path / "state").write_text("a file where the folder should be")
    for call in (lambda saved: saved.save(2), TrainingState.wait, TrainingState.load):
        saved = state(tmp_path, *make())
        saved.save(1)
        with pytest.raises(OSError, match="state"):
            call(saved)
        saved.wait()  # it has been told


def damaged(path):
    path.write_bytes(path.read_bytes()[:-7])


def foreign_header(path):
    import safetensors.torch

    safetensors.torch.save_file(safetensors.torch.load_file(path), path)


def lacking(path):
    import safetensors.torch

    with safe_open(path, framework="pt") as file:
        metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    tensors["network.first.weight"] = tensors["network.first.weight"][:2].clone()
    safetensors.torch.save_file(tensors, path, metadata=metadata)


@pytest.mark.parametrize(
    ("file", "harm", "message"),
    [
        ("rank-00000.safetensors", damaged, r"rank-00000\.safetensors is damaged: "),
        ("rank-00000.safetensors", foreign_header, r"rank-00000\.safetensors is damaged: its header does not say"),
        ("rank-00000.safetensors", lambda path: path.unlink(), r"rank-00000\.safetensors is missing"),
        ("rank-00000.safetensors", lacking, r"damaged: 1 tensors are not whole, the first is network\.first\.weight"),
        ("state.json", damaged, r"state\.json is not valid json"),
        ("state.json", lambda path: path.write_text("{}"), r"state\.json is damaged: it describes another state"),
    ],
)
def test_a_damaged_state_is_named_and_changes_nothing(tmp_path, file, harm, message):
    network, optimizer = make()
    train(network, optimizer, 1)
    saved = state(tmp_path, network, optimizer)
    saved.save(5)
    saved.wait()
    harm(tmp_path / "state/step-00000005" / file)
    other, other_optimizer = make(seed=1)
    with pytest.raises(CheckpointError, match=message + r".*; delete .*step-00000005 to go on from the state before"):
        state(tmp_path, other, other_optimizer).load()
    assert_same(other, other_optimizer, *make(seed=1))


class Doubled(Mixed):
    def __init__(self):
        super().__init__()
        self.double()


class Longer(Mixed):
    def __init__(self):
        super().__init__()
        self.third = nn.Linear(2, 2)


def test_another_architecture_is_named_and_changes_nothing(tmp_path):
    network, optimizer = make()
    train(network, optimizer, 1)
    saved = state(tmp_path, network, optimizer)
    saved.save(5)
    saved.wait()
    foreign = r"step-00000005 was written by a run of another architecture"
    for options, message in (
        ({"width": 6}, foreign + r".*network\.first\.bias \(5,\) instead of \(6,\)"),
        ({"model": Longer}, foreign + r"; keys: 2 missing: network\.third\.bias"),
        ({"model": lambda: nn.Linear(3, 5)}, foreign + r".*unexpected"),
        ({"model": Doubled}, foreign + r": network\.\w+ is torch\.\w+ instead of torch\.float64"),
    ):
        other, other_optimizer = make(seed=1, **options)
        with pytest.raises(CheckpointError, match=message):
            state(tmp_path, other, other_optimizer).load()
        assert_same(other, other_optimizer, *make(seed=1, **options))
    other, _ = make(seed=1)
    with pytest.raises(CheckpointError, match="by a run with the optimizer AdamW, but this one has RAdam"):
        state(tmp_path, other, torch.optim.RAdam(other.parameters())).load()
    few = torch.optim.AdamW(other.first.parameters())
    with pytest.raises(CheckpointError, match=foreign + r".*unexpected: optimizer\.network\.halved\.exp_avg"):
        state(tmp_path, other, few).load()


def test_what_cannot_be_saved_is_refused_at_once(tmp_path):
    network, optimizer = make()
    with pytest.raises(ValueError, match="keep must be at least 1, got 0"):
        state(tmp_path, network, optimizer, keep=0)
    with pytest.raises(ValueError, match="modules must not use the name 'optimizer'"):
        TrainingState(tmp_path, modules={"optimizer": network}, optimizer=optimizer, world=ALONE)
    with pytest.raises(ValueError, match=r"modules \['network'\] only, got 9 others, the first of shape"):
        state(tmp_path, copy.deepcopy(network), optimizer)


def test_every_value_has_one_writer_and_the_work_is_shared():
    values = {
        f"{index}.{key}": torch.zeros(size) for index in range(30) for key, size in (("a", 8), ("b", 8), ("c", ()))
    }
    parts = {name: part_of(value, 3) for name, value in values.items()}
    chosen = [own_parts(parts, rank) for rank in range(3)]
    assert sorted(name for part in chosen for name in part) == sorted(values)
    sizes = [sum(part.local.nbytes for part in own.values()) for own in chosen]
    assert max(sizes) - min(sizes) <= 32


class Small(nn.Sequential):
    """Fewer rows than processes, and rows that they cannot share evenly."""

    def __init__(self):
        super().__init__(nn.Linear(3, 7), nn.Linear(7, 1), nn.LayerNorm(1))
        self.register_buffer("table", torch.arange(5.0))


def sharded(shape, seed):
    torch.manual_seed(seed)
    network = Small()
    target = make_target(network)
    mesh = init_device_mesh("cpu", shape, mesh_dim_names=("copies", "shards")[-len(shape) :])
    for module in (network, target):
        fully_shard(module[0], mesh=mesh)
        fully_shard(module, mesh=mesh)
    return network, torch.optim.AdamW(network.parameters(), lr=0.1), target


def one_of_two(rank, folder):
    """What each of two processes does; the other half is in the test."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    world = World(rank=rank, size=2, local_rank=rank, local_size=2)
    network, optimizer = make(model=Small)  # replicated, as DDP has it
    train(network, optimizer, 2)
    replicated = state(folder / "replicated", network, optimizer, world)
    replicated.save(2)
    for name, shape in (("sharded", (2,)), ("hybrid", (2, 1))):
        other, other_optimizer, target = sharded(shape, seed=1)
        assert state(folder / "alone", other, other_optimizer, world).load() == 2
        assert_same(network, optimizer, other, other_optimizer)
        train(other, other_optimizer, 3)
        update_target(target, other, 0.25)
        modules = {"network": other, "target": target}
        saved = TrainingState(folder / name, modules=modules, optimizer=other_optimizer, world=world)
        saved.save(5)
        train(other, other_optimizer, 1)
        saved.wait()
    replicated.wait()
    other, other_optimizer, _ = sharded((2,), seed=2)
    assert state(folder / "replicated", other, other_optimizer, world).load() == 2
    assert_same(network, optimizer, other, other_optimizer)
    failing(rank, replicated, network)
    dist.destroy_process_group()


def failing(rank, saved, network):
    """A save that fails in one process fails in both, and leaves the state before it."""
    write = checkpoint.write_shard
    if rank == 1:
        checkpoint.write_shard = fail
    saved.save(3)
    error, message = (OSError, "disk full") if rank == 1 else (CheckpointError, r"it failed in the processes \[1\]")
    with pytest.raises(error, match=message):
        saved.wait()
    checkpoint.write_shard = write
    if rank == 1:
        network.register_buffer("more", torch.zeros(1))
    saved.save(3)
    with pytest.raises(CheckpointError, match="the processes hold different tensors"):
        saved.wait()


def fail(path, parts):
    raise OSError("disk full")


def test_one_process_and_two_read_each_other(tmp_path):
    network, optimizer = make(model=Small)
    train(network, optimizer, 2)
    saved = state(tmp_path / "alone", network, optimizer)
    saved.save(2)
    saved.wait()
    processes = [SERVER.Process(target=one_of_two, args=(rank, tmp_path)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]

    other, other_optimizer = make(seed=1, model=Small)
    assert state(tmp_path / "replicated", other, other_optimizer).load() == 2
    assert_same(network, optimizer, other, other_optimizer)
    target = make_target(make(seed=1, model=Small)[0])
    train(network, optimizer, 3)
    update_target(target, network, 0.25)
    for name in ("sharded", "hybrid"):
        other, other_optimizer = make(seed=2, model=Small)
        modules = {"network": other, "target": make_target(other)}
        again = TrainingState(tmp_path / name, modules=modules, optimizer=other_optimizer, world=ALONE)
        assert again.load() == 5
        assert_same(network, optimizer, other, other_optimizer)
        for a, b in zip(target.state_dict().values(), modules["target"].state_dict().values(), strict=True):
            torch.testing.assert_close(a, b, atol=1e-7, rtol=0)
        shards, sizes = stored_names(tmp_path / name)
        assert len(shards) == 2 and all(shards)
        assert sizes["network.0.weight"] == 21 and sizes["network.table"] == 5
    both = stored_names(tmp_path / "replicated")[0]
    assert not both[0] & both[1], "what all processes have is written once"


def fill(network, optimizer, value):
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(value)
            values = {"exp_avg": torch.full_like(parameter, value), "exp_avg_sq": torch.full_like(parameter, value)}
            optimizer.state[parameter] = {"step": torch.tensor(float(value)), **values}


class Big(nn.ModuleList):
    def __init__(self):
        super().__init__(nn.Linear(256, 256) for _ in range(16))


def save_for_ever(folder):
    torch.set_num_threads(1)
    network, optimizer = make(model=Big)
    saved = state(folder, network, optimizer)
    step = saved.load()
    while True:
        step += 1
        fill(network, optimizer, step)
        saved.save(step)
        fill(network, optimizer, -1)


def test_a_killed_run_leaves_a_whole_state(tmp_path):
    moments, steps, halves = random.Random(0), [0], 0
    network, optimizer = make(model=Big)
    for _ in range(10):
        process = SERVER.Process(target=save_for_ever, args=(tmp_path,))
        process.start()
        while max(StateFolder(tmp_path / "state").steps(), default=0) <= steps[-1]:
            assert process.is_alive()
            time.sleep(0.005)
        time.sleep(moments.uniform(0.0, 0.1))
        process.kill()
        process.join()
        halves += any((tmp_path / "state").glob("*.tmp"))
        steps.append(state(tmp_path, network, optimizer).load())
        values = list(network.parameters())
        values += [value for parameter in values for value in optimizer.state[parameter].values()]
        assert len(values) == 4 * 32 and all((value == steps[-1]).all() for value in values)
    assert steps == sorted(set(steps)) and halves > 0
    assert json.loads((tmp_path / f"state/step-{steps[-1]:08d}/state.json").read_text())["step"] == steps[-1]


def test_two_runs_never_write_into_one_folder(tmp_path):
    with state(tmp_path, *make()), pytest.raises(FolderInUseError, match="is writing into"):
        state(tmp_path, *make()).__enter__()
    with state(tmp_path, *make()):  # free again
        pass
