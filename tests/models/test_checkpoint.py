import json

import pytest
import torch
from safetensors import safe_open
from torch import nn

from vjepa_wm.models.checkpoint import CheckpointError, build_meta, copy_weights, save_model
from vjepa_wm.models.encoder import VideoEncoder, VideoEncoderConfig
from vjepa_wm.models.load import load_from
from vjepa_wm.models.read_checkpoint import read_checkpoint

CONFIG = VideoEncoderConfig(image_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=2)


def load(folder, kind="video_encoder"):
    return load_from(read_checkpoint(folder), kind)


@pytest.fixture
def folder(tmp_path):
    save_model(VideoEncoder(CONFIG), "video_encoder", CONFIG, tmp_path)
    return tmp_path


def test_round_trip(tmp_path):
    model = VideoEncoder(CONFIG)
    save_model(model, "video_encoder", CONFIG, tmp_path)
    again = load(tmp_path)
    assert again.config == CONFIG
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


def test_stored_in_half_it_takes_half_the_space(folder, tmp_path):
    model = load(folder)
    save_model(model, "video_encoder", CONFIG, tmp_path / "half", dtype=torch.float16)
    sizes = [(f / "model.safetensors").stat().st_size for f in (folder, tmp_path / "half")]
    assert sizes[1] < 0.6 * sizes[0]
    for a, b in zip(model.parameters(), load(tmp_path / "half").parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-3)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"no checkpoint at .*nowhere: there is no such file or folder"):
        load(tmp_path / "nowhere")
    (tmp_path / "nowhere").mkdir()
    with pytest.raises(CheckpointError, match=r"no checkpoint at .*nowhere: config.json is missing"):
        load(tmp_path / "nowhere")


def test_another_kind_is_refused(folder):
    with pytest.raises(
        CheckpointError, match=r"holds a video encoder \(read it with load_encoder\), but a world model is needed"
    ):
        load(folder, "world_model")


def test_another_architecture_is_refused_with_its_keys(folder):
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(values | {"depth": 3, "embed_dim": 48}))
    with pytest.raises(CheckpointError, match=r"another architecture.*12 missing: blocks\.2\.attn.*of another shape"):
        load(folder)


def test_an_unknown_field_is_refused(folder):
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(values | {"dpeth": 3}))
    with pytest.raises(CheckpointError, match=r"unknown fields \['dpeth'\]"):
        load(folder)


def test_a_truncated_file_is_refused(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="is damaged or not a safetensors file"):
        load(folder)


def test_a_value_that_the_configuration_refuses_is_told(folder):
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(values | {"num_heads": 5}))
    with pytest.raises(
        CheckpointError, match=r"config\.json does not describe a VideoEncoderConfig: embed_dim must be"
    ):
        load(folder)
    (folder / "config.json").write_text(json.dumps(values | {"depth": "two"}))
    with pytest.raises(CheckpointError, match=r"config\.json does not describe .*: depth must not be 'two'"):
        load(folder)


def test_other_frameworks_are_told_who_wrote_the_file(folder):
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        assert file.metadata() == {"format": "pt"}


def test_what_a_killed_writer_left_is_removed(folder):
    (folder / "model.safetensors.tmp").write_bytes(b"half")
    (folder / "model.safetensors.tmp.d").mkdir()
    (folder / "model.safetensors.tmp.d/.tmpAbCdEf").write_bytes(b"half")  # where the library writes first
    save_model(VideoEncoder(CONFIG), "video_encoder", CONFIG, folder)
    assert {path.name for path in folder.rglob("*")} == {"config.json", "model.safetensors"}


def test_a_model_is_built_without_memory():
    model = build_meta(VideoEncoder, CONFIG)
    assert {value.device.type for value in model.parameters()} == {"meta"}


def test_computed_buffers_are_refused_as_loading_would_lose_them():
    class Computing(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.register_buffer("table", torch.arange(size), persistent=False)

    with pytest.raises(RuntimeError, match=r"Computing must not hold buffers outside its state dict, has \{'table'\}"):
        build_meta(Computing, 3)


def test_weights_are_copied_through_views_and_into_their_type():
    whole = torch.zeros(4)
    copy_weights({"a": whole[:2], "b": whole[2:]}, {"a": torch.ones(2).half(), "b": torch.full((2,), 2.0)}, "x", "y")
    assert whole.tolist() == [1, 1, 2, 2]
    with pytest.raises(CheckpointError, match=r"^x y; keys: 1 missing: b; 1 unexpected: c$"):
        copy_weights({"a": whole[:2], "b": whole[2:]}, {"a": torch.zeros(2), "c": torch.zeros(2)}, "x", "y")
    assert whole.tolist() == [1, 1, 2, 2]
