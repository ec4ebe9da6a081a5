import json
from unittest.mock import Mock

import pytest
import torch
from foreign_files import (
    KNOWN,
    ac_predictor,
    clip,
    encoder,
    predictor,
    prefixed,
    probe,
    same_parameters,
    write_huggingface,
    write_official,
)
from small_trajectories import contents

from vjepa_wm.models.checkpoint import CheckpointError, read_tensors, save_model
from vjepa_wm.models.describe_checkpoint import describe_checkpoint
from vjepa_wm.models.load import load_ac_predictor, load_encoder, load_predictor, load_probe, load_world_model
from vjepa_wm.models.official import foreign_models
from vjepa_wm.stages.convert import ConvertConfig, run_convert

PREDICTOR = {"encoder_dim": 192, "embed_dim": 384, "num_heads": 12, "depth": 1, "mlp_ratio": 0.25}


def convert(source, out, **changes):
    run_convert(ConvertConfig(source=str(source), out=out, **changes))
    return out


def test_an_official_file_becomes_folders_of_its_models(tmp_path, capsys):
    models = encoder(KNOWN), predictor(**PREDICTOR)
    path = write_official(tmp_path / "a.pt", encoder=encoder(KNOWN, 5), target_encoder=models[0], predictor=models[1])
    out = convert(path, tmp_path / "out")
    assert same_parameters(load_encoder(out / "encoder"), models[0])
    assert same_parameters(load_predictor(out / "predictor"), models[1])
    text = capsys.readouterr().out
    assert f"wrote {out / 'encoder'}: VideoEncoder, " in text
    assert f'read it with vjepa_wm.load_predictor("{out / "predictor"}"), float32' in text
    out = convert(path, tmp_path / "other", key="encoder")
    assert same_parameters(load_encoder(out / "encoder"), encoder(KNOWN, 5))


def test_a_single_model_goes_into_the_folder_itself(tmp_path):
    torch.save({"predictor": prefixed(ac_predictor())}, tmp_path / "a.pt")
    assert same_parameters(load_ac_predictor(convert(tmp_path / "a.pt", tmp_path / "ac", num_heads=3)), ac_predictor())
    torch.save({"classifiers": [prefixed(probe())]}, tmp_path / "b.pt")
    assert same_parameters(load_probe(convert(tmp_path / "b.pt", tmp_path / "probe", num_heads=2)), probe())


def test_encoder_and_ac_predictor_become_a_world_model(tmp_path):
    half = ac_predictor(encoder_dim=192, embed_dim=1024, num_heads=16, depth=1, mlp_ratio=0.125)
    path = write_official(tmp_path / "a.pt", encoder=encoder(KNOWN), predictor=half)
    out = convert(path, tmp_path / "out", dtype="bfloat16")
    assert {value.dtype for value in read_tensors(out / "model.safetensors").values()} == {torch.bfloat16}
    model = load_world_model(out)
    assert same_parameters(model.predictor, half.bfloat16().float())
    assert not model.config.antialias
    with pytest.raises(CheckpointError, match="num_heads and positions must be left out for a world model"):
        convert(path, tmp_path / "other", num_heads=2)
    hub = convert(path, tmp_path / "hub", format="huggingface")
    assert same_parameters(load_encoder(hub), encoder(KNOWN))


def test_huggingface_and_back(tmp_path, capsys):
    models = encoder(KNOWN), predictor(**PREDICTOR)
    path = write_official(tmp_path / "a.pt", target_encoder=models[0], predictor=models[1])
    hub = convert(path, tmp_path / "hub", format="huggingface")
    assert "read it with transformers.VJEPA2Model.from_pretrained" in capsys.readouterr().out
    assert json.loads((hub / "config.json").read_text())["hidden_size"] == 192
    assert torch.equal(load_encoder(hub)(clip()), models[0](clip()))
    out = convert(hub, tmp_path / "own")
    assert same_parameters(load_encoder(out / "encoder"), models[0])
    assert same_parameters(load_predictor(out / "predictor"), models[1])


def test_a_classifier_keeps_all_its_parts(tmp_path):
    models = encoder(), predictor(), probe()
    hub = convert(write_huggingface(tmp_path / "a", *models, shards=2), tmp_path / "b", format="huggingface")
    for load, model in zip((load_encoder, load_predictor, load_probe), models, strict=True):
        assert same_parameters(load(hub), model)


def test_a_file_is_read_once_for_all_its_models(tmp_path, monkeypatch):
    read = Mock(wraps=foreign_models.read_pt)
    monkeypatch.setattr(foreign_models, "read_pt", read)
    path = write_official(tmp_path / "a.pt", encoder=encoder(KNOWN), predictor=predictor(**PREDICTOR))
    convert(path, tmp_path / "own")
    assert read.call_count == 1
    describe_checkpoint(path)
    assert read.call_count == 2


def test_half_precision_is_written(tmp_path):
    save_model(encoder(), "video_encoder", encoder().config, tmp_path / "a")
    out = convert(tmp_path / "a", tmp_path / "b", dtype="float16")
    assert {value.dtype for value in read_tensors(out / "model.safetensors").values()} == {torch.float16}
    assert same_parameters(load_encoder(out), encoder().half().float())


@pytest.mark.parametrize("form", ["vjepa_wm", "huggingface"])
def test_a_checkpoint_is_not_overwritten(tmp_path, form):
    save_model(encoder(), "video_encoder", encoder().config, tmp_path / "a")
    before = (tmp_path / "a" / "model.safetensors").read_bytes()
    with pytest.raises(CheckpointError, match=r"out must not hold a checkpoint yet, but .*a does; name another folder"):
        convert(tmp_path / "a", tmp_path / "a", format=form)
    assert (tmp_path / "a" / "model.safetensors").read_bytes() == before
    (tmp_path / "file").write_text("x")
    with pytest.raises(CheckpointError, match=r"out must be a folder, but .*file is a file"):
        convert(tmp_path / "a", tmp_path / "file", format=form)


@pytest.mark.parametrize("form", ["vjepa_wm", "huggingface"])
def test_a_stopped_conversion_goes_on_and_no_other_writes_over_it(tmp_path, monkeypatch, form):
    models = {"encoder": encoder(KNOWN), "predictor": predictor(**PREDICTOR)}
    source, out = write_official(tmp_path / "a.pt", **models), tmp_path / "out"
    whole = convert(source, tmp_path / "whole", format=form)
    monkeypatch.setattr("vjepa_wm.models.checkpoint.write_json", Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        convert(source, out, format=form)
    monkeypatch.undo()
    left = contents(out)
    assert any(name.endswith("model.safetensors") for name in left)
    with pytest.raises(CheckpointError, match="must not hold a checkpoint yet"):
        convert(source, out, format=form, dtype="float16")
    assert contents(out) == left
    convert(source, out, format=form)
    assert contents(out) == contents(whole)


def test_transformers_needs_an_encoder(tmp_path):
    torch.save({"predictor": prefixed(ac_predictor())}, tmp_path / "a.pt")
    with pytest.raises(
        CheckpointError, match=r"needs a video encoder, but .* holds an action-conditioned predictor only"
    ):
        convert(tmp_path / "a.pt", tmp_path / "b", format="huggingface", num_heads=3)


def test_what_transformers_cannot_hold_is_not_written(tmp_path):
    config = encoder().config
    model = encoder(type(config)(**{**vars(config), "rope": "true"}))
    save_model(model, "video_encoder", model.config, tmp_path / "a")
    with pytest.raises(CheckpointError, match="rope must be 'tiled', not 'true'"):
        convert(tmp_path / "a", tmp_path / "b", format="huggingface")
    assert not (tmp_path / "b").exists()
