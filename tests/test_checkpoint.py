import json

import pytest
import torch
from torch import nn

from vjepa_wm.models.checkpoint import CheckpointError, load_model, save_model
from vjepa_wm.models.encoder import VideoEncoder, VideoEncoderConfig
from vjepa_wm.training.checkpoint import STATE_FILE, load_training_state, save_training_state

CONFIG = VideoEncoderConfig(image_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=2)


def load(folder, kind="video_encoder"):
    return load_model(folder, kind, VideoEncoderConfig, VideoEncoder)


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
    with pytest.raises(CheckpointError, match=r"no checkpoint at .*nowhere: config.json is missing"):
        load(tmp_path / "nowhere")


def test_another_kind_is_refused(folder):
    with pytest.raises(CheckpointError, match="holds a video_encoder, but a world_model is needed"):
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


def train(model, optimizer, steps):
    for step in range(steps):
        generator = torch.Generator().manual_seed(step)
        optimizer.zero_grad()
        model(torch.randn(4, 3, generator=generator)).square().mean().backward()
        optimizer.step()


def test_training_state_continues_exactly(tmp_path):
    def make():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 2))
        return model, torch.optim.AdamW(model.parameters(), lr=0.1)

    model, optimizer = make()
    assert load_training_state(tmp_path, modules={"model": model}, optimizer=optimizer) == 0
    train(model, optimizer, 3)
    save_training_state(tmp_path, modules={"model": model}, optimizer=optimizer, step=3)
    other, other_optimizer = make()
    assert load_training_state(tmp_path, modules={"model": other}, optimizer=other_optimizer) == 3
    train(model, optimizer, 2)
    train(other, other_optimizer, 2)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))


def test_training_state_of_another_model_or_damaged_is_refused(tmp_path):
    model = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    save_training_state(tmp_path, modules={"model": model}, optimizer=optimizer, step=1)
    with pytest.raises(CheckpointError, match="another architecture"):
        load_training_state(tmp_path, modules={"model": nn.Linear(4, 2)}, optimizer=optimizer)
    (tmp_path / STATE_FILE).write_bytes(b"broken")
    with pytest.raises(CheckpointError, match="is damaged"):
        load_training_state(tmp_path, modules={"model": model}, optimizer=optimizer)
