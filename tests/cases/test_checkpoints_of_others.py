"""What damaged and odd checkpoints must become.

A case is one line: what is changed in a small whole checkpoint, and the words of the error.
"""

import json

import pytest
import torch
from foreign_files import encoder, predictor, write_huggingface, write_official
from safetensors.torch import load_file, save_file

from vjepa_wm.models.checkpoint import VIDEO_ENCODER, CheckpointError, save_model
from vjepa_wm.models.load import load_encoder

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


def values(**changes):
    """Change entries of config.json."""

    def change(folder):
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def content(name, data):
    return lambda folder: (folder / name).write_bytes(data)


def weights(make):
    """Replace one tensor of the weights by what a function makes of it."""

    def change(folder):
        path = folder / "model.safetensors"
        tensors = load_file(path)
        name = next(name for name in sorted(tensors) if name.endswith("weight"))
        save_file(tensors | {name: make(tensors[name])}, path, metadata={"format": "pt"})

    return change


OWN = {
    "weights are a pointer": (content("model.safetensors", LFS), r"model\.safetensors.*git lfs pull"),
    "weights are a web page": (content("model.safetensors", b"<html>404</html>"), r"model\.safetensors.*web page"),
    "weights are noise": (content("model.safetensors", bytes(99)), r"model\.safetensors is damaged"),
    "config is a pointer": (content("config.json", LFS), r"config\.json is not valid json.*git lfs pull"),
    "config nested without end": (content("config.json", b"[" * 99999), r"config\.json is not valid json"),
    "kind a list": (values(kind=["video_encoder"]), "known are video_encoder"),
    "depth a list": (values(depth=[2]), r"config\.json .*depth must not be \[2\]"),
    "depth a text": (values(depth="2"), "depth must not be '2'"),
    "depth true": (values(depth=True), "depth must not be True"),
    "depth 2.0": (values(depth=2.0), r"depth must not be 2\.0"),
    "depth null": (values(depth=None), "depth must not be None"),
    "depth negative": (values(depth=-1), "depth must not be -1"),
    "depth 0": (values(depth=0), r"config\.json"),
    "depth 10^7": (values(depth=10**7), r"depth is 10000000, and it holds \d+ tensors"),
    "depth 10^30": (values(depth=10**30), "depth must not be 1000000"),
    "width a list": (values(embed_dim=[24]), r"embed_dim must not be \[24\]"),
    "width of millions": (values(embed_dim=2_400_000), r"does not fit its config\.json"),
    "heads 0": (values(num_heads=0), r"config\.json"),
    "patch 0": (values(patch_size=0), r"config\.json"),
    "tubelet negative": (values(tubelet_size=-2), "tubelet_size must not be -2"),
    "mlp_ratio NaN": (values(mlp_ratio=float("nan")), "mlp_ratio must not be nan"),
    "mlp_ratio a list": (values(mlp_ratio=[4]), r"mlp_ratio must not be \[4\]"),
    "levels a number": (values(levels=3), "levels must not be 3"),
    "levels of texts": (values(levels=["a"]), r"levels must not be \['a'\]"),
    "rope of another name": (values(rope="tilted"), "rope must not be 'tilted'"),
    "class_token a number": (values(class_token=1), "class_token must not be 1"),
    "whole numbers": (weights(lambda old: old.to(torch.int32)), "1 not of floating-point numbers: "),
    "NaN": (weights(lambda old: old * torch.nan), "numbers that are infinite or none at all, the first in"),
    "infinite": (weights(lambda old: old / 0), "numbers that are infinite or none at all, the first in"),
    "beyond float32": (weights(lambda old: old.double() * 1e300), "numbers that are infinite"),
}


@pytest.mark.parametrize("name", OWN)
def test_own_folder(tmp_path, name):
    change, words = OWN[name]
    model = encoder()
    save_model(model, VIDEO_ENCODER, model.config, tmp_path)
    change(tmp_path)
    with pytest.raises(CheckpointError, match=words):
        load_encoder(tmp_path)


def index(make):
    """Change the names of the files that hold the tensors."""

    def change(folder):
        path = folder / "model.safetensors.index.json"
        places = json.loads(path.read_text())["weight_map"]
        path.write_text(json.dumps({"weight_map": {name: make(folder, place) for name, place in places.items()}}))

    return change


FOREIGN = {
    "a shard above": (index(lambda folder, name: f"../{name}"), "must name files beside it, got '../model"),
    "an absolute shard": (index(lambda folder, name: str(folder / name)), "must name files beside it, got '/"),
    "a shard below": (index(lambda folder, name: f"x/{name}"), "must name files beside it, got 'x/model"),
    "a nameless shard": (index(lambda folder, name: ""), "must name files beside it, got ''"),
    "a shard that is a pointer": (content("model-00001-of-00002.safetensors", LFS), "git lfs pull"),
    "width a list": (values(hidden_size=[24]), "hidden_size must be like 1024, got '.24.'"),
    "width a text": (values(hidden_size="24"), "hidden_size must be like 1024, got '24'"),
    "depth negative": (values(num_hidden_layers=-1), "num_hidden_layers must be like 24, got '-1'"),
    "depth 10^7": (values(num_hidden_layers=10**7), "num_hidden_layers is 10000000 in config.json, 2 in the weights"),
    "heads 0": (values(num_attention_heads=0), "num_heads|num_attention_heads"),
    "patch 0": (values(patch_size=0), "patch_size is 0 in config.json"),
    "patch an object": (values(patch_size={"a": 1}), "patch_size must be like 16"),
    "mlp_ratio null words": (values(mlp_ratio="4x"), r"mlp_ratio must be like 4\.0, got '4x'"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_huggingface_folder(tmp_path, name):
    change, words = FOREIGN[name]
    change(write_huggingface(tmp_path / "foreign", encoder(), predictor(), shards=2))
    with pytest.raises(CheckpointError, match=words):
        load_encoder(tmp_path / "foreign")


OFFICIAL = {
    "whole numbers": (lambda old: old.to(torch.int64), "not of floating-point numbers"),
    "NaN": (lambda old: torch.full_like(old, torch.nan), "numbers that are infinite or none at all"),
}


@pytest.mark.parametrize("name", OFFICIAL)
def test_official_file(tmp_path, name):
    make, words = OFFICIAL[name]
    state = {key: make(value) if key == "norm.weight" else value for key, value in encoder().state_dict().items()}
    with pytest.raises(CheckpointError, match=words):
        load_encoder(write_official(tmp_path / "a.pt", encoder=state), num_heads=2)
