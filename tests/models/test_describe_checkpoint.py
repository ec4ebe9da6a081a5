import re

import pytest
import torch
from foreign_files import (
    EXTRAS,
    KNOWN,
    TINY,
    ac_predictor,
    encoder,
    predictor,
    prefixed,
    probe,
    write_huggingface,
    write_official,
)

from vjepa_wm.models.checkpoint import CheckpointError, build_meta, save_model
from vjepa_wm.models.describe_checkpoint import describe_checkpoint
from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.encoder_config import vit_giant
from vjepa_wm.models.predictor import MaskedPredictor, MaskedPredictorConfig
from vjepa_wm.models.world_model import WorldModel, WorldModelConfig, save_world_model
from vjepa_wm.stages.inspect import InspectConfig, run_inspect


def test_an_official_file_is_explained(tmp_path, capsys):
    half = predictor(encoder_dim=192, embed_dim=384, num_heads=12, depth=1)
    path = write_official(tmp_path / "vitl.pt", encoder=encoder(KNOWN), target_encoder=encoder(KNOWN), predictor=half)
    run_inspect(InspectConfig(file=str(path)))
    text = capsys.readouterr().out
    assert "vitl.pt: a PyTorch file, as Meta publishes its models" in text
    assert "by its name it is vjepa2_vit_large, V-JEPA 2 ViT-L: video encoder and masked predictor" in text
    assert "\nencoder: a video encoder, V-JEPA 2\n  width 192, 1 blocks, 3 heads, MLP 192 (gelu), " in text
    assert "tubelets of 2 x 8 x 8, made for 64 frames of 256 px" in text
    count = sum(value.numel() for value in encoder(KNOWN).parameters())
    assert f"{count:,} parameters in 16 tensors (float32): " in text
    assert f'read it with vjepa_wm.load_encoder("{path}", key="target_encoder")' in text
    assert "predictor: a masked predictor, V-JEPA 2\n" in text
    assert "for an encoder of width 192, 3 mask tokens" in text
    assert "other entries, not needed here: opt (dict), scaler (NoneType), epoch (int)" in text


def test_a_file_whose_heads_cannot_be_told_says_what_is_missing(tmp_path):
    text = describe_checkpoint(write_official(tmp_path / "a.pt", encoder=encoder()))
    assert "encoder: a video encoder\n" in text
    assert re.search(r"as it is it cannot be loaded: .*width 24, which is not a published one.*give num_heads", text)


def test_a_part_that_does_not_fit_is_told(tmp_path):
    weights = prefixed(encoder(KNOWN))
    del weights["module.backbone.norm.bias"]
    torch.save({"encoder": weights}, tmp_path / "a.pt")
    assert "cannot be loaded" in describe_checkpoint(tmp_path / "a.pt")
    assert "1 missing: norm.bias" in describe_checkpoint(tmp_path / "a.pt")


def test_sizes_have_names_and_large_files_cost_nothing(tmp_path):
    predictor_form = MaskedPredictorConfig(encoder_dim=1408, num_mask_tokens=10, rope="tiled")
    models = {"target_encoder": (VideoEncoder, vit_giant(), torch.bfloat16)}
    models["predictor"] = (MaskedPredictor, predictor_form, torch.float32)
    content = {}
    for name, (build, config, dtype) in models.items():
        shapes = {key: value.shape for key, value in build_meta(build, config).state_dict().items()}
        content[name] = {key: torch.zeros((), dtype=dtype).expand(shape) for key, shape in shapes.items()}
    torch.save(content, tmp_path / "a.pt")
    text = describe_checkpoint(tmp_path / "a.pt")
    assert "target_encoder: a video encoder, V-JEPA 2 ViT-g" in text
    assert "1,012,173,952 parameters in 484 tensors (bfloat16)" in text
    assert "22,381,312 parameters in 160 tensors (float32)" in text


def test_a_probe_and_an_ac_predictor_are_explained(tmp_path):
    torch.save({"classifiers": [prefixed(probe(embed_dim=32, num_heads=16))]} | EXTRAS, tmp_path / "a.pt")
    assert "classifiers: an attentive probe, for 5 classes" in describe_checkpoint(tmp_path / "a.pt")
    half = ac_predictor(embed_dim=1024, num_heads=16, depth=1, mlp_ratio=0.125, use_state=False)
    torch.save({"predictor": prefixed(half)}, tmp_path / "b.pt")
    assert "predictor: an action-conditioned predictor, V-JEPA 2-AC" in describe_checkpoint(tmp_path / "b.pt")
    assert "actions of 7 numbers, no states" in describe_checkpoint(tmp_path / "b.pt")


def test_our_folders_are_explained(tmp_path):
    save_model(encoder(), "video_encoder", TINY, tmp_path / "e", dtype=torch.float16)
    text = describe_checkpoint(tmp_path / "e")
    assert "a checkpoint folder of vjepa_wm" in text
    assert "\na video encoder, V-JEPA 2\n" in text
    assert "(float16)" in text
    save_world_model(WorldModel(WorldModelConfig(encoder=TINY, predictor=ac_predictor().config)), tmp_path / "w")
    text = describe_checkpoint(tmp_path / "w")
    assert "together they are a world model: imagines what actions lead to" in text
    assert 'read it with vjepa_wm.load_world_model("' in text


def test_a_huggingface_folder_is_explained(tmp_path):
    text = describe_checkpoint(write_huggingface(tmp_path, encoder(), predictor(), probe(), shards=2))
    assert "a model folder of Hugging Face transformers" in text
    assert "\na video encoder, V-JEPA 2\n" in text
    assert "\nan attentive probe, for 5 classes\n" in text
    assert text.count("read it with") == 3
    assert "cannot be loaded" not in text


@pytest.mark.parametrize(
    ("data", "text"), [(b"", "is empty"), (b"PK\3\4xxx", "is cut short"), (b"<html>", "a web page was saved")]
)
def test_broken_files_raise_what_loading_them_raises(tmp_path, data, text):
    (tmp_path / "a.pt").write_bytes(data)
    with pytest.raises(CheckpointError, match=text):
        describe_checkpoint(tmp_path / "a.pt")


def test_an_unknown_kind_is_told(tmp_path):
    (tmp_path / "config.json").write_text('{"kind": "toaster"}')
    with pytest.raises(CheckpointError, match="holds a 'toaster', known are video_encoder, "):
        describe_checkpoint(tmp_path)
