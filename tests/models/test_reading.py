import json
import os
import shutil

import numpy as np
import pytest
import torch
from foreign_files import TINY, encoder, write_huggingface
from safetensors.torch import save_file

from vjepa_wm.models.checkpoint import CheckpointError
from vjepa_wm.models.official.reading import NumpyNumber, read_huggingface_weights, read_pt
from vjepa_wm.models.read_checkpoint import read_checkpoint

CONTENT = {"encoder": {"w": torch.arange(1000.0)}, "epoch": 3, "loss": np.float64(0.25), "name": "x"}


class Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.system, (f"touch {self.trace}",)


@pytest.mark.parametrize("is_zip", [True, False])
def test_files_of_both_ages_are_read(tmp_path, is_zip):
    torch.save(CONTENT, tmp_path / "a.pt", _use_new_zipfile_serialization=is_zip)
    content = read_pt(tmp_path / "a.pt")
    assert torch.equal(content["encoder"]["w"], torch.arange(1000.0))
    assert (content["epoch"], content["name"]) == (3, "x")
    assert isinstance(content["loss"], NumpyNumber)


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_file_with_code_in_it_is_refused_and_nothing_runs(tmp_path, is_zip):
    trace = tmp_path / "trace"
    torch.save({"w": torch.zeros(2), "x": Evil(trace)}, tmp_path / "a.pt", _use_new_zipfile_serialization=is_zip)
    with pytest.raises(
        CheckpointError, match=r"is refused: .*(posix|nt)\.system.*loading it would run.*Nothing was run"
    ):
        read_pt(tmp_path / "a.pt")
    assert not trace.exists()


def test_a_file_with_a_whole_module_is_refused_with_the_way_out(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "a.pt")
    with pytest.raises(
        CheckpointError, match=r"torch\.nn\.modules\.linear\.Linear.*make a plain file of it.*state_dict"
    ):
        read_pt(tmp_path / "a.pt")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"no file at .*nowhere\.pt"):
        read_pt(tmp_path / "nowhere.pt")


def test_an_empty_file_is_told(tmp_path):
    (tmp_path / "a.pt").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"a\.pt is empty \(0 bytes\)"):
        read_pt(tmp_path / "a.pt")


def test_a_tensor_that_is_longer_than_its_part_is_told(tmp_path):
    torch.save({"a": torch.arange(1000.0), "b": torch.arange(1000.0)}, tmp_path / "a.pt")
    read_pt(tmp_path / "a.pt")
    content = (tmp_path / "a.pt").read_bytes()
    number = b"M" + (1000).to_bytes(2, "little")  # as pickle writes it
    (tmp_path / "a.pt").write_bytes(content.replace(number, b"M" + (1008).to_bytes(2, "little"), 1))
    with pytest.raises(CheckpointError, match=r"a\.pt is damaged: no part of it has the 4032 bytes"):
        read_pt(tmp_path / "a.pt")


def test_containers_that_hold_themselves_and_tensors_without_values_are_read(tmp_path):
    content = {"w": torch.arange(3.0), "shape_alone": torch.empty(5, device="meta")}
    content["self"] = content
    torch.save(content, tmp_path / "a.pt")
    assert torch.equal(read_pt(tmp_path / "a.pt")["self"]["w"], torch.arange(3.0))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_truncated_file_is_told(tmp_path, share):
    torch.save(CONTENT, tmp_path / "a.pt")
    data = (tmp_path / "a.pt").read_bytes()
    (tmp_path / "a.pt").write_bytes(data[: int(share * len(data))])
    with pytest.raises(CheckpointError, match=rf"is cut short: {int(share * len(data))} bytes.*download it again"):
        read_pt(tmp_path / "a.pt")


def test_a_truncated_file_of_old_age_is_told(tmp_path):
    torch.save(CONTENT, tmp_path / "a.pt", _use_new_zipfile_serialization=False)
    data = (tmp_path / "a.pt").read_bytes()
    for length in (3, 100, len(data) - 500):
        (tmp_path / "a.pt").write_bytes(data[:length])
        with pytest.raises(CheckpointError, match=rf"is damaged or not a PyTorch file \({length} bytes\)"):
            read_pt(tmp_path / "a.pt")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"<!DOCTYPE html><html><body>404</body></html>", "begins with '<!DOCTYPE html>.*a web page was saved"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "begins with 'version https://git-lfs.*git lfs pull"),
        (b"hello", "is not a PyTorch file: it begins with 'hello'$"),
        (b"\x08\0\0\0\0\0\0\0{}      ", "is a safetensors file; name the folder"),
    ],
)
def test_other_files_are_told_by_their_beginning(tmp_path, data, text):
    (tmp_path / "a.pt").write_bytes(data)
    with pytest.raises(CheckpointError, match=text):
        read_pt(tmp_path / "a.pt")


def test_a_zip_of_something_else_is_told(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "readme.txt").write_text("x")
    shutil.make_archive(str(tmp_path / "a"), "zip", tmp_path / "folder")
    with pytest.raises(CheckpointError, match=r"a\.zip is damaged or not a PyTorch file"):
        read_pt(tmp_path / "a.zip")


def test_a_file_that_is_no_dictionary_is_told(tmp_path):
    torch.save([torch.zeros(2)], tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="holds a list, but a checkpoint is a dictionary"):
        read_pt(tmp_path / "a.pt")


@pytest.mark.parametrize("shards", [1, 3])
def test_folders_are_read_whole_or_in_shards(tmp_path, shards):
    model = encoder()
    weights = read_huggingface_weights(write_huggingface(tmp_path, model, shards=shards))
    assert len(weights) == 4 + 16 * TINY.depth
    assert torch.equal(weights["encoder.layernorm.bias"], model.norm.bias)


def test_missing_shards_are_named(tmp_path):
    write_huggingface(tmp_path, encoder(), shards=3)
    (tmp_path / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"misses 1 of 3 shards: model-00002-of-00003\.safetensors"):
        read_checkpoint(tmp_path)


def test_a_truncated_shard_is_named(tmp_path):
    write_huggingface(tmp_path, encoder(), shards=3)
    path = tmp_path / "model-00003-of-00003.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(
        CheckpointError, match=r"model-00003-of-00003\.safetensors is damaged.*bytes.*download it again"
    ):
        read_checkpoint(tmp_path)


def test_what_a_folder_lacks_is_told(tmp_path):
    save_file({"w": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"config\.json is missing"):
        read_checkpoint(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "vjepa2"}')
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"has a config\.json but no weights.*pytorch_model\.bin is of an older"):
        read_checkpoint(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}}))
    with pytest.raises(CheckpointError, match="must map tensors to files under 'weight_map'"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"), [("{", "is not valid json"), ("[1]", "must hold a json object, got a list")]
)
def test_a_broken_config_is_told(tmp_path, text, message):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(tmp_path)
