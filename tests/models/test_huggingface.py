import json
from dataclasses import replace

import pytest
import torch
from foreign_files import KNOWN, TINY, encoder, predictor, probe, write_huggingface
from safetensors.torch import save_file

from vjepa_wm.models.checkpoint import ATTENTIVE_PROBE, MASKED_PREDICTOR, VIDEO_ENCODER, CheckpointError
from vjepa_wm.models.encoder_config import vit_giant, vjepa21
from vjepa_wm.models.load import load_encoder, load_predictor, load_probe
from vjepa_wm.models.official.huggingface import (
    foreign_names,
    split_parts,
    translate_encoder_config,
    translate_masked_predictor_config,
)
from vjepa_wm.models.official.huggingface_export import _cut_ratio, save_huggingface, to_huggingface

ENCODER_NAMES = {
    "encoder.embeddings.patch_embeddings.proj.weight",
    "encoder.layer.1.norm1.bias",
    "encoder.layer.0.attention.query.weight",
    "encoder.layer.0.attention.key.bias",
    "encoder.layer.1.attention.value.weight",
    "encoder.layer.1.attention.proj.bias",
    "encoder.layer.0.mlp.fc2.weight",
    "encoder.layernorm.weight",
}
PREDICTOR_NAMES = {
    "predictor.embeddings.predictor_embeddings.weight",
    "predictor.embeddings.mask_tokens.2",
    "predictor.layer.1.attention.key.weight",
    "predictor.layernorm.bias",
    "predictor.proj.bias",
}
PROBE_NAMES = {
    "pooler.query_tokens",
    "pooler.cross_attention_layer.layer_norm1.weight",
    "pooler.cross_attention_layer.cross_attn.q_proj.bias",
    "pooler.cross_attention_layer.cross_attn.k_proj.weight",
    "pooler.cross_attention_layer.cross_attn.v_proj.bias",
    "pooler.cross_attention_layer.mlp.fc1.weight",
    "pooler.self_attention_layers.1.layer_norm2.bias",
    "pooler.self_attention_layers.0.self_attn.q_proj.weight",
    "pooler.self_attention_layers.0.self_attn.out_proj.weight",
    "pooler.self_attention_layers.0.mlp.fc2.bias",
    "classifier.weight",
}


@pytest.mark.parametrize(
    ("model", "kind", "wanted", "count"),
    [
        (encoder, VIDEO_ENCODER, ENCODER_NAMES, 4 + 16 * 2),
        (predictor, MASKED_PREDICTOR, PREDICTOR_NAMES, 6 + 3 + 16 * 2),
        (probe, ATTENTIVE_PROBE, PROBE_NAMES, 3 + 14 + 16 * 2),
    ],
)
def test_names_are_those_of_transformers(model, kind, wanted, count):
    names = foreign_names(model().state_dict(), kind)
    assert wanted <= names.keys()
    assert len(names) == count


def test_queries_keys_and_values_are_views_in_their_order():
    model = encoder()
    names = foreign_names(model.state_dict(), VIDEO_ENCODER)
    parts = [names[f"encoder.layer.0.attention.{name}.weight"] for name in ("query", "key", "value")]
    assert torch.equal(torch.cat(parts), model.blocks[0].attn.qkv.weight)
    parts[1].zero_()
    assert not model.blocks[0].attn.qkv.weight[24:48].any()
    assert model.blocks[0].attn.qkv.weight[:24].any()


def test_a_classifier_has_a_prefix_and_stacked_mask_tokens():
    models = encoder(), predictor(), probe()
    weights, values = to_huggingface(*models)
    assert weights["vjepa2.predictor.embeddings.mask_tokens"].shape == (3, 1, 1, 36)
    assert {"vjepa2.encoder.layernorm.bias", "pooler.query_tokens", "classifier.bias"} <= weights.keys()
    assert values["architectures"] == ["VJEPA2ForVideoClassification"]
    assert len(values["id2label"]) == 5
    parts = split_parts(weights)
    assert parts.keys() == {VIDEO_ENCODER, MASKED_PREDICTOR, ATTENTIVE_PROBE}
    assert torch.equal(parts[MASKED_PREDICTOR]["predictor.embeddings.mask_tokens.1"], models[1].mask_tokens[1])


def test_configurations_come_back(tmp_path):
    models = encoder(KNOWN), predictor(encoder_dim=192)
    _, values = to_huggingface(*models)
    assert translate_encoder_config(values, tmp_path) == KNOWN
    assert translate_masked_predictor_config(values, tmp_path) == models[1].config


def test_fields_that_are_left_out_have_their_default(tmp_path):
    config = translate_encoder_config({"model_type": "vjepa2", "hidden_size": None}, tmp_path)
    assert (config.embed_dim, config.depth, config.num_frames, config.norm_eps) == (1024, 24, 64, 1e-6)
    assert translate_masked_predictor_config({}, tmp_path).num_mask_tokens == 10


def test_the_mlp_ratio_survives_being_cut_off():
    for width, hidden in ((1408, 6144), (1664, 8192), (24, 61)):
        assert int(width * _cut_ratio(width, hidden / width)) == hidden
    assert int(1408 * _cut_ratio(1408, vit_giant().mlp_ratio)) == 6144


def test_a_config_that_contradicts_its_weights_tells_every_field(tmp_path):
    changes = {
        "num_hidden_layers": 3,
        "hidden_size": 48,
        "patch_size": 16,
        "mlp_ratio": 3.0,
        "pred_hidden_size": 24,
        "pred_num_mask_tokens": 10,
        "pred_num_hidden_layers": 1,
        "num_pooler_layers": 5,
        "tubelet_size": 1,
    }
    folder = write_huggingface(tmp_path, encoder(), predictor(), probe(), **changes)
    with pytest.raises(CheckpointError) as error:
        load_encoder(folder)
    text = str(error.value)
    assert "config.json contradicts the weights: hidden_size is 48 in config.json, 24 in the weights;" in text
    for said in (
        "num_hidden_layers is 3 in config.json, 2 in",
        "patch_size is 16 in config.json, 8 in",
        "tubelet_size is 1 in config.json, 2 in",
        "hidden width of the MLP (mlp_ratio) is 144 in config.json, 96 in",
        "pred_hidden_size is 24 in config.json, 36 in",
        "pred_num_mask_tokens is 10 in config.json, 3 in",
        "pred_num_hidden_layers is 1 in config.json, 2 in",
        "num_pooler_layers is 5 in config.json, 2 in",
        "hidden_size (of the probe) is 48 in config.json, 24 in",
    ):
        assert said in text


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"model_type": "dinov2"}, "model of type 'dinov2', but only 'vjepa2'"),
        ({"hidden_act": "silu"}, "hidden_act must be 'gelu' to be read, got 'silu'"),
        ({"qkv_bias": False}, "qkv_bias must be True to be read, got False"),
        ({"num_attention_heads": 5}, "num_heads must divide the width 24 into heads of an even size, got 5"),
        ({"crop_size": 33}, "image_size must be a multiple of patch_size 8, got 33"),
    ],
)
def test_configs_that_cannot_be_read_are_told(tmp_path, changes, text):
    with pytest.raises(CheckpointError, match=text):
        load_encoder(write_huggingface(tmp_path, encoder(), **changes))


def test_patch_sizes_may_be_pairs(tmp_path):
    folder = write_huggingface(tmp_path, encoder(), patch_size=[8, 8])
    assert load_encoder(folder).config.patch_size == 8


def test_weights_that_were_cut_down_are_told(tmp_path):
    folder = write_huggingface(tmp_path, encoder(), predictor(), probe(), shards=2)
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    index["weight_map"] = {k: v for k, v in index["weight_map"].items() if v.startswith("model-00001")}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=r"does not fit its config\.json: it was cut.*\d+ missing: encoder\."):
        load_encoder(folder)
    with pytest.raises(CheckpointError, match=r"\d+ missing: predictor\."):
        load_predictor(folder)


def test_a_probe_without_its_classifier_is_told(tmp_path):
    folder = write_huggingface(tmp_path, encoder())
    weights = to_huggingface(encoder(), None, probe())[0]
    rest = {name: value.clone() for name, value in weights.items() if "classifier" not in name}
    save_file(rest, folder / "model.safetensors")
    values = json.loads((folder / "config.json").read_text()) | {"num_pooler_layers": 2}
    (folder / "config.json").write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match=r"has no 'classifier\.weight', so its probe was cut down"):
        load_probe(folder)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"rope": "true"}, "rope must be 'tiled', not 'true'"),
        ({"rope": None}, "rope must be 'tiled', not None"),
        ({"activation": "swiglu"}, "activation must be 'gelu', not SwiGLU"),
        ({"class_token": True}, "it has no class token"),
        ({"temporal_depth": 1}, "it has no factorised attention"),
        ({"levels": (1,)}, "it has no norms for several levels"),
        ({"image_tokenizer": True}, "it treats pictures as clips"),
    ],
)
def test_encoders_that_transformers_cannot_compute_are_refused(changes, text):
    with pytest.raises(CheckpointError, match=f"transformers cannot hold this model: {text}"):
        to_huggingface(encoder(replace(TINY, **changes)))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"rope": "true", "rope_grid": 16}, "rope must be 'tiled', not 'true'; the predictor's rope_grid must be None"),
        ({"predict_context": True}, "no output for visible tokens"),
        ({"num_levels": 4}, "has one level in and out"),
        ({"target_dim": 32}, "has one level in and out"),
        ({"modality_embedding": True}, "no modality embedding"),
        ({"encoder_dim": 48}, "the predictor is for encoder_dim 48"),
        ({"norm_eps": 1e-5}, "norm_eps of encoder and predictor must be equal"),
    ],
)
def test_predictors_that_transformers_cannot_compute_are_refused(changes, text):
    with pytest.raises(CheckpointError, match=text):
        to_huggingface(encoder(), predictor(**changes))


def test_probes_that_transformers_cannot_compute_are_refused(caplog):
    with pytest.raises(CheckpointError, match="its probe has the encoder's 2 heads, not 3"):
        to_huggingface(encoder(), None, probe(num_heads=3))
    with pytest.raises(CheckpointError, match="it has no probe for anticipation"):
        to_huggingface(encoder(), None, probe(num_classes=0, num_actions=4))
    with pytest.raises(CheckpointError, match="its probe's mlp_ratio is 4, not 2"):
        to_huggingface(encoder(), None, probe(mlp_ratio=2.0))
    assert not caplog.records
    to_huggingface(encoder(), None, probe())
    assert "transformers will use the encoder's 1e-06" in caplog.text


def test_every_reason_is_told_at_once():
    with pytest.raises(CheckpointError, match=r"rope must be 'tiled'.*rope_grid.*levels.*pictures.*predictor's rope"):
        to_huggingface(encoder(vjepa21(replace(TINY, patch_size=16, depth=4))), predictor(rope="true"))


def test_a_saved_folder_has_the_preprocessing_too(tmp_path):
    save_huggingface(tmp_path, encoder(replace(TINY, image_size=384)), predictor(), dtype=torch.float16)
    assert load_encoder(tmp_path).config.image_size == 384
    values = json.loads((tmp_path / "video_preprocessor_config.json").read_text())
    assert values["video_processor_type"] == "VJEPA2VideoProcessor"
    assert values["size"] == {"shortest_edge": 438}
    assert values["crop_size"] == {"height": 384, "width": 384}
    assert values["image_mean"] == [0.485, 0.456, 0.406]
