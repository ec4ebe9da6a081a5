import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from foreign_files import (
    EXTRAS,
    KNOWN,
    TINY,
    ac_predictor,
    clip,
    encoder,
    predictor,
    prefixed,
    probe,
    randomised,
    same_parameters,
    write_huggingface,
    write_official,
)
from safetensors.torch import save_file

import vjepa_wm
from vjepa_wm.models.checkpoint import CheckpointError, read_tensors, save_model
from vjepa_wm.models.encoder_config import vjepa21
from vjepa_wm.models.load import load_ac_predictor, load_encoder, load_predictor, load_probe, load_world_model
from vjepa_wm.models.sincos import fixed_positions
from vjepa_wm.models.world_model import WorldModel, WorldModelConfig, save_world_model

TOKENS = torch.randn(2, 8, 24, generator=torch.Generator().manual_seed(0))


def run_predictor(model, dim=24, image=False):
    ids = torch.arange(12).expand(2, -1)
    context = torch.randn(2, 8, dim, generator=torch.Generator().manual_seed(1))
    return model(context, ids[:, :8], ids[:, 8:], (3, 2, 2), 1, image=image)


def run_ac_predictor(model, use_state=True):
    generator = torch.Generator().manual_seed(1)
    z, actions, states = (torch.randn(2, 3, *size, generator=generator) for size in ((4, 24), (7,), (7,)))
    return model(z, actions, states if use_state else None)


def assert_ready(model):
    assert not model.training
    assert {value.dtype for value in model.parameters()} == {torch.float32}
    assert {value.device.type for value in model.parameters()} == {"cpu"}


def test_the_package_has_the_functions_and_imports_torch_late():
    assert vjepa_wm.load_encoder is load_encoder
    assert {name for name in vjepa_wm.__all__ if callable(getattr(vjepa_wm, name))} == set(vjepa_wm.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'load_everything'"):
        vjepa_wm.load_everything  # noqa: B018
    code = "import sys, vjepa_wm; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("prefix", ["", "module.", "module.backbone."])
def test_an_official_encoder_gives_the_same_numbers(tmp_path, prefix):
    model = encoder(KNOWN)
    torch.save({"target_encoder": prefixed(model, prefix)} | EXTRAS, tmp_path / "a.pt")
    loaded = load_encoder(tmp_path / "a.pt")
    assert_ready(loaded)
    assert torch.equal(loaded(clip()), model(clip()))


def test_a_bare_state_dict_in_half_precision_is_loaded_as_float32(tmp_path):
    model = encoder()
    torch.save(model.half().state_dict(), tmp_path / "a.pt")
    loaded = load_encoder(tmp_path / "a.pt", num_heads=2)
    assert_ready(loaded)
    assert torch.equal(loaded(clip()), model.float()(clip()))


def test_which_encoder_is_taken(tmp_path, caplog):
    models = {name: encoder(seed=k) for k, name in enumerate(("encoder", "target_encoder", "ema_encoder"))}
    path = write_official(tmp_path / "a.pt", **models, predictor=predictor())
    with caplog.at_level("INFO"):
        assert same_parameters(load_encoder(path, num_heads=2), models["ema_encoder"])
    assert "'encoder' and 'target_encoder' and 'ema_encoder'; taking 'ema_encoder'" in caplog.text
    assert same_parameters(load_encoder(path, key="encoder", num_heads=2), models["encoder"])
    path = write_official(tmp_path / "b.pt", encoder=models["encoder"], target_encoder=models["target_encoder"])
    assert same_parameters(load_encoder(path, num_heads=2), models["target_encoder"])
    with pytest.raises(CheckpointError, match=r"holds 'encoder' \(a video.*'target_encoder' .*; got 'ema_encoder'"):
        load_encoder(path, key="ema_encoder", num_heads=2)


def test_a_key_of_another_kind_is_refused(tmp_path):
    path = write_official(tmp_path / "a.pt", encoder=encoder(), predictor=predictor())
    with pytest.raises(CheckpointError, match=r"'predictor' \(a masked predictor\); got 'predictor'"):
        load_encoder(path, key="predictor", num_heads=2)


def test_an_official_predictor_gives_the_same_numbers(tmp_path):
    model = predictor()
    path = write_official(tmp_path / "a.pt", encoder=encoder(), predictor=model)
    loaded = load_predictor(path, num_heads=3)
    assert_ready(loaded)
    assert torch.equal(run_predictor(loaded), run_predictor(model))


def test_models_of_2_1_give_the_same_numbers(tmp_path):
    config = vjepa21(replace(TINY, patch_size=16, depth=12))
    model = encoder(config)
    fields = {"num_levels": 4, "predict_context": True, "modality_embedding": True, "rope": "true", "rope_grid": 16}
    other = predictor(**fields)
    path = write_official(
        tmp_path / "vjepa2_1_vitg_384.pt", encoder=encoder(config, 5), ema_encoder=model, predictor=other
    )
    loaded = load_encoder(path, num_heads=2)
    assert loaded.config == replace(config, image_size=384, num_frames=64)
    assert torch.equal(loaded(clip(size=64)), model(clip(size=64)))
    assert torch.equal(loaded(clip(frames=1, size=64)), model(clip(frames=1, size=64)))
    assert torch.equal(
        run_predictor(load_predictor(path, num_heads=3), 96, image=True), run_predictor(other, 96, image=True)
    )


def test_an_encoder_of_v_jepa_1_has_its_fixed_positions(tmp_path):
    config = replace(TINY, patch_size=4, image_size=56, num_frames=16, rope=None, uniform_power=True)
    model = encoder(config)
    weights = prefixed(model) | {"module.backbone.pos_embed": fixed_positions(24, (8, 14, 14), True)[None]}
    torch.save({"target_encoder": weights}, tmp_path / "a.pth.tar")
    loaded = load_encoder(tmp_path / "a.pth.tar", num_heads=2)
    assert loaded.config == config
    assert torch.equal(loaded(clip(size=56)), model(clip(size=56)))


@pytest.mark.parametrize("changes", [{"use_extrinsics": True}, {"use_state": False}, {}])
def test_an_official_ac_predictor_gives_the_same_numbers(tmp_path, changes):
    model = ac_predictor(**changes)
    path = tmp_path / "a.pt"
    torch.save({"predictor": prefixed(model, "module.")} | EXTRAS, path)
    loaded = load_ac_predictor(path, num_heads=3)
    assert_ready(loaded)
    use_state = changes.get("use_state", True)
    assert torch.equal(run_ac_predictor(loaded, use_state), run_ac_predictor(model, use_state))


def test_the_layout_of_jepa_wms_gives_the_same_numbers(tmp_path):
    model = ac_predictor()
    weights = {name.replace("state_encoder", "proprio_encoder"): v for name, v in prefixed(model, "module.").items()}
    action = {name: weights.pop(f"module.action_encoder.{name}") for name in ("weight", "bias")}
    torch.save({"predictor": weights, "action_encoder": action, "epoch": 3, "opt": None}, tmp_path / "a.pth.tar")
    assert torch.equal(
        run_ac_predictor(load_ac_predictor(tmp_path / "a.pth.tar", num_heads=3)), run_ac_predictor(model)
    )


@pytest.mark.parametrize("changes", [{}, {"num_classes": 0, "num_verbs": 2, "num_nouns": 3, "num_actions": 4}])
def test_an_official_probe_gives_the_same_numbers(tmp_path, changes):
    model = probe(**changes)
    torch.save(
        {"classifiers": [prefixed(model, "module."), prefixed(probe(seed=8), "module.")]} | EXTRAS, tmp_path / "a.pt"
    )
    found, wanted = load_probe(tmp_path / "a.pt", num_heads=2)(TOKENS), model(TOKENS)
    torch.testing.assert_close(found, wanted, rtol=0, atol=0)


def test_an_official_world_model_is_put_together(tmp_path):
    half = ac_predictor(encoder_dim=192, embed_dim=1024, num_heads=16, depth=1, mlp_ratio=0.125)
    path = write_official(tmp_path / "a.pt", encoder=encoder(KNOWN), predictor=half, target_encoder=encoder(KNOWN, 4))
    model = load_world_model(path)
    assert_ready(model)
    assert same_parameters(model.encoder, encoder(KNOWN, 4))
    assert same_parameters(model.predictor, half)
    assert not model.config.antialias
    assert model.config.encoder.image_size == 256
    assert not any(value.requires_grad for value in model.encoder.parameters())
    assert same_parameters(load_world_model(path, key="encoder").encoder, encoder(KNOWN))


@pytest.mark.parametrize("shards", [1, 3])
def test_huggingface_folders_give_the_same_numbers(tmp_path, shards):
    models = encoder(), predictor(), probe()
    path = write_huggingface(tmp_path, *models, shards=shards)
    loaded = load_encoder(path), load_predictor(path), load_probe(path)
    for model in loaded:
        assert_ready(model)
    assert loaded[0].config == models[0].config
    assert torch.equal(loaded[0](clip()), models[0](clip()))
    assert torch.equal(run_predictor(loaded[1]), run_predictor(models[1]))
    assert same_parameters(loaded[2], models[2])
    assert loaded[2].config.norm_eps == 1e-6
    assert load_probe(path, num_heads=3).config.num_heads == 3


def test_own_folders_are_read(tmp_path):
    models = {"video_encoder": encoder(), "masked_predictor": predictor(), "ac_predictor": ac_predictor()}
    models["attentive_probe"] = probe()
    for kind, model in models.items():
        save_model(model, kind, model.config, tmp_path / kind, dtype=torch.float16)
    readers = load_encoder, load_predictor, load_ac_predictor, load_probe
    for read, (kind, model) in zip(readers, models.items(), strict=True):
        loaded = read(tmp_path / kind)
        assert_ready(loaded)
        assert same_parameters(loaded, model.half().float())
        assert loaded.config == model.config


def test_halves_of_a_world_model_are_read(tmp_path):
    model = randomised(WorldModel(WorldModelConfig(encoder=TINY, predictor=ac_predictor().config)))
    save_world_model(model, tmp_path)
    assert same_parameters(load_world_model(tmp_path), model)
    assert same_parameters(load_encoder(tmp_path), model.encoder)
    assert same_parameters(load_ac_predictor(tmp_path), model.predictor)
    assert same_parameters(load_encoder(tmp_path / "model.safetensors"), model.encoder)
    with pytest.raises(CheckpointError, match=r"holds a world model \(read it with load_world_model\), but a masked"):
        load_predictor(tmp_path)


def test_a_world_model_with_tensors_of_neither_half_is_refused(tmp_path):
    save_world_model(WorldModel(WorldModelConfig(encoder=TINY, predictor=ac_predictor().config)), tmp_path)
    weights = read_tensors(tmp_path / "model.safetensors") | {"decoder.weight": torch.zeros(2)}
    save_file({name: value.clone() for name, value in weights.items()}, tmp_path / "model.safetensors")
    for load in (load_world_model, load_encoder):
        with pytest.raises(CheckpointError, match=r"model\.safetensors does not fit .*1 unexpected: decoder\.weight"):
            load(tmp_path)


def test_a_half_of_a_world_model_that_does_not_fit_is_named(tmp_path):
    save_world_model(WorldModel(WorldModelConfig(encoder=TINY, predictor=ac_predictor().config)), tmp_path)
    weights = read_tensors(tmp_path / "model.safetensors")
    kept = {name: value.clone() for name, value in weights.items() if name != "predictor.predictor_norm.bias"}
    save_file(kept, tmp_path / "model.safetensors")
    for load in (load_world_model, load_ac_predictor):
        with pytest.raises(CheckpointError, match=r"safetensors \(predictor\) does .*1 missing: predictor_norm\.bias$"):
            load(tmp_path)
    assert not load_encoder(tmp_path).training


def test_a_name_is_looked_up(tmp_path, monkeypatch):
    monkeypatch.setenv("VJEPA_WM_CACHE", str(tmp_path))
    write_official(tmp_path / "vitg-384.pt", target_encoder=encoder(KNOWN))
    assert load_encoder("vjepa2_vit_giant_384").config.image_size == 384
    with pytest.raises(CheckpointError, match="did you mean 'vjepa2_vit_giant'"):
        load_encoder("vjepa2_vit_gigant")


def test_the_wrong_kind_is_told_with_its_reader(tmp_path):
    path = write_official(tmp_path / "a.pt", encoder=encoder(), predictor=predictor())
    with pytest.raises(
        CheckpointError,
        match=r"holds a video encoder \(read it with load_encoder\) and a masked predictor "
        r"\(read it with load_predictor\), but an attentive probe is needed \(load_probe\)",
    ):
        load_probe(path)
    folder = write_huggingface(tmp_path / "hf", encoder())
    with pytest.raises(CheckpointError, match=r"holds a video encoder .*, but a masked predictor is needed"):
        load_predictor(folder)
    with pytest.raises(CheckpointError, match=r"holds a video encoder .*, but a world model is needed"):
        load_world_model(folder)
    with pytest.raises(CheckpointError, match="but a world model is needed"):
        load_world_model(path)


def test_a_world_model_needs_its_encoder(tmp_path):
    torch.save({"predictor": prefixed(ac_predictor())}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="an action-conditioned predictor without its encoder: load both"):
        load_world_model(tmp_path / "a.pt")


def test_a_file_without_a_model_is_told_by_its_entries(tmp_path):
    torch.save(EXTRAS, tmp_path / "a.pt")
    with pytest.raises(
        CheckpointError, match=r"no model that is known here; its 7 entries: opt \(dict\).*optimizer only"
    ):
        load_encoder(tmp_path / "a.pt")


def test_a_file_of_another_model_is_told_by_its_keys(tmp_path):
    weights = prefixed(encoder(), "") | {"blocks.0.ls1.gamma": torch.zeros(24)}
    del weights["norm.weight"]
    weights["blocks.1.mlp.fc2.bias"] = torch.zeros(3)
    torch.save(weights, tmp_path / "a.pt")
    with pytest.raises(
        CheckpointError,
        match=r"is no V-JEPA encoder, or one that was cut down.*1 missing: norm\.weight; 1 unexpected: "
        r"blocks\.0\.ls1\.gamma; 1 of another shape: blocks\.1\.mlp\.fc2\.bias \(3,\) instead of \(24,\)",
    ):
        load_encoder(tmp_path / "a.pt", num_heads=2)


def test_an_encoder_of_2_1_that_was_cut_down_is_told(tmp_path):
    weights = prefixed(encoder(vjepa21(replace(TINY, patch_size=16, depth=4))), "")
    torch.save({name: v for name, v in weights.items() if "norms_block" not in name}, tmp_path / "a.pt")
    with pytest.raises(
        CheckpointError, match=r"V-JEPA 2\.1 encoder that was cut down.*2 missing: norm\.bias, norm\.weight"
    ):
        load_encoder(tmp_path / "a.pt", num_heads=2)


def test_options_that_a_folder_settles_are_refused(tmp_path):
    save_model(encoder(), "video_encoder", TINY, tmp_path / "own")
    with pytest.raises(CheckpointError, match="states its own configuration, so key, num_heads must be left out"):
        load_encoder(tmp_path / "own", key="encoder", num_heads=2)
    with pytest.raises(CheckpointError, match="so positions must be left out"):
        load_encoder(write_huggingface(tmp_path / "hf", encoder()), positions="rope")


def test_a_folder_of_checkpoints_names_them(tmp_path):
    save_model(encoder(), "video_encoder", TINY, tmp_path / "encoder")
    write_official(tmp_path / "e50.pt", encoder=encoder())
    with pytest.raises(CheckpointError, match=r"config\.json is missing; but it contains encoder, e50\.pt: name one"):
        load_encoder(tmp_path)


def test_a_config_of_neither_kind_is_told(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"depth": 3}))
    with pytest.raises(CheckpointError, match=r"names neither a 'kind' .* nor a 'model_type'"):
        load_encoder(tmp_path)


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs the kernel's account of memory")
def test_loading_holds_the_weights_once(tmp_path):
    model = encoder(replace(TINY, embed_dim=512, depth=1, num_heads=8, mlp_ratio=16.0))
    torch.save({"encoder": prefixed(model)}, tmp_path / "a.pt")
    torch.save({"encoder": prefixed(encoder())}, tmp_path / "tiny.pt")
    size = sum(value.nbytes for value in model.state_dict().values())
    code = (
        "import re, sys, vjepa_wm; from pathlib import Path\n"
        "vjepa_wm.load_encoder(sys.argv[2], num_heads=2)  # so that what is imported late is there\n"
        "anonymous = lambda: 1024 * int(re.search(r'RssAnon:\\s+(\\d+)', Path('/proc/self/status').read_text())[1])\n"
        "before = anonymous(); model = vjepa_wm.load_encoder(sys.argv[1], num_heads=8)\n"
        "print(anonymous() - before)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "a.pt", tmp_path / "tiny.pt"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert 0.9 * size < int(result.stdout) < 1.3 * size
