from pathlib import Path

import pytest
import torch
from foreign_files import EXTRAS, ac_predictor, encoder, predictor, prefixed, probe

from vjepa_wm.models.checkpoint import (
    AC_PREDICTOR,
    ATTENTIVE_PROBE,
    MASKED_PREDICTOR,
    VIDEO_ENCODER,
    CheckpointError,
)
from vjepa_wm.models.official.published_models import find_models, likely_cause

PATH = Path("file.pt")


def kinds(content):
    return {part.name: part.kind for part in find_models(content, PATH)}


@pytest.mark.parametrize(
    "prefix", ["", "module.", "module.backbone.", "backbone.", "_orig_mod.module.", "module._orig_mod."]
)
def test_prefixes_go(prefix):
    model = encoder()
    (part,) = find_models({"encoder": prefixed(model, prefix)}, PATH)
    assert part.weights.keys() == model.state_dict().keys()
    assert all(torch.equal(part.weights[name], value) for name, value in model.state_dict().items())


def test_models_are_recognised_among_other_entries():
    content = {
        "encoder": prefixed(encoder()),
        "predictor": prefixed(predictor()),
        "target_encoder": prefixed(encoder(seed=5)),
        "classifiers": [prefixed(probe(), "module."), prefixed(probe(seed=9), "module.")],
        **EXTRAS,
    }
    assert kinds(content) == {
        "encoder": VIDEO_ENCODER,
        "predictor": MASKED_PREDICTOR,
        "target_encoder": VIDEO_ENCODER,
        "classifiers": ATTENTIVE_PROBE,
    }
    assert kinds({"predictor": prefixed(ac_predictor(), "module.")}) == {"predictor": AC_PREDICTOR}


@pytest.mark.parametrize(
    ("model", "kind"),
    [(encoder, VIDEO_ENCODER), (predictor, MASKED_PREDICTOR), (ac_predictor, AC_PREDICTOR), (probe, ATTENTIVE_PROBE)],
)
def test_a_bare_state_dict_is_one_part_without_a_name(model, kind):
    assert kinds(prefixed(model(), "module.")) == {"": kind}


def test_the_first_of_several_probes_counts():
    first = probe()
    (part,) = find_models({"classifiers": [prefixed(first), prefixed(probe(seed=9))]}, PATH)
    assert torch.equal(part.weights["linear.weight"], first.linear.weight)


def test_what_is_no_model_of_ours_is_passed_over():
    assert kinds({"model": {"conv1.weight": torch.zeros(2)}, **EXTRAS}) == {}
    assert kinds({}) == {}


def test_a_name_that_comes_twice_is_refused():
    weights = prefixed(encoder(), "module.") | prefixed(encoder(), "")
    with pytest.raises(CheckpointError, match=r"holds 'patch_embed.*' twice, with and without module\."):
        find_models({"encoder": weights}, PATH)


def test_position_tables_are_set_apart():
    weights = prefixed(encoder()) | {"module.backbone.pos_embed": torch.ones(1, 32, 24)}
    (part,) = find_models({"encoder": weights}, PATH)
    assert part.table.shape == (32, 24)
    assert "pos_embed" not in part.weights


@pytest.mark.parametrize("leaf", ["", "proprio_encoder."])
def test_encoders_beside_the_predictor_are_put_into_it(leaf):
    model = ac_predictor()
    weights = prefixed(model, "module.")
    beside = {}
    for ours, theirs in (("action_encoder", "action_encoder"), ("state_encoder", "proprio_encoder")):
        prefix = f"module.{theirs}." if leaf else "module."
        beside[theirs] = {prefix + name: weights.pop(f"module.{ours}.{name}") for name in ("weight", "bias")}
    (part,) = find_models({"predictor": weights, **beside, "epoch": 3}, PATH)
    assert part.weights.keys() == model.state_dict().keys()
    assert all(torch.equal(part.weights[name], value) for name, value in model.state_dict().items())


def test_a_state_encoder_of_another_name_is_renamed():
    weights = prefixed(ac_predictor(), "module.")
    renamed = {name.replace("state_encoder", "proprio_encoder"): value for name, value in weights.items()}
    (part,) = find_models({"predictor": renamed}, PATH)
    assert part.weights.keys() == ac_predictor().state_dict().keys()


def test_the_likeliest_cause_knows_a_shortened_encoder():
    weights = prefixed(encoder(), "") | {"img_mod_embed": torch.zeros(1, 1, 24)}
    (part,) = find_models({"encoder": weights}, PATH)
    assert "V-JEPA 2.1 encoder that was cut down" in likely_cause(part)
