from dataclasses import replace
from pathlib import Path

import pytest
import torch
from foreign_files import TINY, ac_predictor, encoder, predictor, prefixed, probe

from vjepa_wm.models.ac_predictor import ActionConditionedPredictor
from vjepa_wm.models.ac_predictor_config import ActionConditionedPredictorConfig
from vjepa_wm.models.attentive_probe import AttentiveProbe, AttentiveProbeConfig
from vjepa_wm.models.checkpoint import CheckpointError, build_meta
from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.encoder_config import (
    VideoEncoderConfig,
    vit_base,
    vit_giant,
    vit_gigantic,
    vit_huge,
    vit_large,
    vit_small,
    vit_tiny,
    vjepa21,
)
from vjepa_wm.models.official.architecture import (
    infer_ac_predictor_config,
    infer_encoder_config,
    infer_masked_predictor_config,
    infer_probe_config,
    match_table,
)
from vjepa_wm.models.official.published_models import find_models
from vjepa_wm.models.predictor import MaskedPredictor, MaskedPredictorConfig
from vjepa_wm.models.sincos import fixed_positions

PATH = Path("file.pt")


def part_of(weights):
    (part,) = find_models({"model": weights}, PATH)
    return part


def meta_part(build, config):
    return part_of(prefixed(build_meta(build, config)))


@pytest.mark.parametrize("vit", [vit_tiny, vit_small, vit_base, vit_large, vit_huge, vit_giant, vit_gigantic])
@pytest.mark.parametrize("side", [256, 384])
def test_published_encoders_are_told_by_their_weights(vit, side):
    config = replace(vit(side), rope="tiled", num_frames=64)
    path = Path("x-384.pt") if side == 384 else PATH
    assert infer_encoder_config(meta_part(VideoEncoder, config), path) == config


@pytest.mark.parametrize("vit", [vit_base, vit_large, vit_giant, vit_gigantic])
def test_encoders_of_2_1_are_told_by_their_weights(vit):
    config = replace(vjepa21(vit(384)), num_frames=64)
    assert infer_encoder_config(meta_part(VideoEncoder, config), PATH) == config


@pytest.mark.parametrize(
    "changes",
    [
        {"activation": "swiglu"},
        {"activation": "swiglu", "mlp_ratio": 3.0},
        {"class_token": True},
        {"in_channels": 1},
        {"patch_size": 14, "image_size": 252},
        {"mlp_ratio": 48 / 11},
    ],
)
def test_other_forms_are_told_by_their_weights(changes):
    wanted = replace(TINY, image_size=256, num_frames=64, **changes) if "image_size" not in changes else None
    wanted = wanted or replace(TINY, num_frames=64, **changes)
    found = infer_encoder_config(meta_part(VideoEncoder, wanted), PATH, num_heads=2)
    assert replace(found, mlp_ratio=wanted.mlp_ratio) == wanted
    assert build_meta(VideoEncoder, found).state_dict().keys() == build_meta(VideoEncoder, wanted).state_dict().keys()


def test_an_image_encoder_has_tubelets_of_one_frame():
    weights = prefixed(build_meta(VideoEncoder, replace(TINY, tubelet_size=1)), "")
    weights["patch_embed.proj.weight"] = weights["patch_embed.proj.weight"].squeeze(2)
    config = infer_encoder_config(part_of(weights), PATH, num_heads=2)
    assert (config.tubelet_size, config.num_frames) == (1, 1)


@pytest.mark.parametrize(
    ("name", "size", "frames"),
    [("vitl.pt", 256, 64), ("vitg-384.pt", 384, 64), ("mine-384.pt", 384, 64), ("vith16.pth.tar", 224, 16)],
)
def test_picture_size_comes_from_the_files_name(name, size, frames):
    config = infer_encoder_config(meta_part(VideoEncoder, TINY), Path(name), num_heads=2)
    assert (config.image_size, config.num_frames) == (size, frames)


def test_unknown_width_asks_for_heads():
    with pytest.raises(CheckpointError, match=r"width 24, which is not a published one \(192, 384.*give num_heads"):
        infer_encoder_config(meta_part(VideoEncoder, TINY), PATH)
    with pytest.raises(CheckpointError, match=r"width 36, which is not a published one.*give num_heads"):
        infer_masked_predictor_config(part_of(prefixed(predictor())), PATH)
    with pytest.raises(CheckpointError, match=r"width 36, which is not a published one.*give num_heads"):
        infer_ac_predictor_config(part_of(prefixed(ac_predictor())), PATH)
    with pytest.raises(CheckpointError, match=r"width 24, which is not a published one.*give num_heads"):
        infer_probe_config(part_of(prefixed(probe())), PATH)


@pytest.mark.parametrize("heads", [5, 0, 24])
def test_heads_must_divide_the_width(heads):
    with pytest.raises(CheckpointError, match=f"num_heads must divide the width 24.*even size, got {heads}"):
        infer_encoder_config(meta_part(VideoEncoder, TINY), PATH, num_heads=heads)


def test_levels_must_be_as_many_as_norms():
    weights = prefixed(build_meta(VideoEncoder, vjepa21(replace(TINY, depth=12))))
    weights = {name: value for name, value in weights.items() if "norms_block.3" not in name}
    with pytest.raises(CheckpointError, match=r"has 3 norms_block, but V-JEPA 2\.1 has 4 for 12 blocks"):
        infer_encoder_config(part_of(weights), PATH, num_heads=2)


@pytest.mark.parametrize(("grid", "size"), [((8, 14, 14), 224), ((8, 24, 24), 384)])
@pytest.mark.parametrize("uniform_power", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("class_token", [False, True])
def test_tables_of_v_jepa_1_tell_the_grid(grid, size, uniform_power, dtype, class_token):
    weights = prefixed(build_meta(VideoEncoder, replace(TINY, patch_size=16, class_token=class_token)))
    table = torch.cat((torch.zeros(int(class_token), 24), fixed_positions(24, grid, uniform_power)))
    weights["module.backbone.pos_embed"] = table.to(dtype).unsqueeze(0)
    config = infer_encoder_config(part_of(weights), PATH, num_heads=2)
    assert (config.rope, config.image_size, config.num_frames) == (None, size, 16)
    assert (config.uniform_power, config.short_time, config.class_token) == (uniform_power, False, class_token)


@pytest.mark.parametrize("class_token", [False, True])
def test_tables_whose_time_has_the_channels_that_are_left_are_told(class_token):
    grid, width = (8, 14, 14), 1024
    table = fixed_positions(width, grid, True, short_time=True)
    shares = table.unflatten(0, grid)
    assert torch.equal(shares[3, 0, 0, :340], shares[3, 5, 9, :340])  # time
    assert torch.equal(shares[0, 4, 0, 340:682], shares[6, 4, 9, 340:682])  # rows
    assert torch.equal(shares[0, 0, 4, 682:], shares[6, 9, 4, 682:])  # columns
    wide = replace(TINY, patch_size=16, embed_dim=width, num_heads=16, depth=1, mlp_ratio=0.25, class_token=class_token)
    weights = prefixed(build_meta(VideoEncoder, wide))
    weights["module.backbone.pos_embed"] = torch.cat((torch.zeros(int(class_token), width), table)).unsqueeze(0)
    config = infer_encoder_config(part_of(weights), PATH, num_heads=16)
    assert (config.rope, config.uniform_power, config.short_time) == (None, True, True)
    assert config.trained_grid == grid


@pytest.mark.parametrize("count", [8 * 16 * 16, 32 * 16 * 16, 32 * 24 * 24])
def test_tables_of_v_jepa_2_are_not_used(count):
    weights = prefixed(build_meta(VideoEncoder, TINY)) | {"pos_embed": torch.zeros(1, count, 24)}
    assert infer_encoder_config(part_of(weights), PATH, num_heads=2).rope == "tiled"


def test_a_release_of_v_jepa_2_has_rotary_positions_whatever_its_table():
    weights = prefixed(build_meta(VideoEncoder, TINY)) | {"pos_embed": torch.zeros(1, 7, 24)}
    assert infer_encoder_config(part_of(weights), Path("vitl.pt"), num_heads=2).rope == "tiled"


def test_any_other_table_has_to_be_explained():
    weights = prefixed(build_meta(VideoEncoder, TINY), "") | {"pos_embed": fixed_positions(24, (2, 4, 4)).unsqueeze(0)}
    part = part_of(weights)
    with pytest.raises(CheckpointError, match=r'stores 32 positions.*say positions="rope".*or positions="sincos"'):
        infer_encoder_config(part, PATH, num_heads=2)
    assert infer_encoder_config(part, PATH, num_heads=2, positions="rope").rope == "tiled"
    config = infer_encoder_config(part, PATH, num_heads=2, positions="sincos")
    assert (config.rope, config.image_size, config.num_frames) == (None, 32, 4)
    learned = part_of(weights | {"pos_embed": torch.randn(1, 32, 24)})
    with pytest.raises(CheckpointError, match=r"pos_embed \(32, 24\) is no sine-cosine table of a square grid"):
        infer_encoder_config(learned, PATH, num_heads=2, positions="sincos")
    with pytest.raises(CheckpointError, match="has no pos_embed that tells the grid"):
        infer_encoder_config(meta_part(VideoEncoder, TINY), PATH, num_heads=2, positions="sincos")


def test_tables_of_images_have_a_form_of_their_own():
    table = fixed_positions(24, (1, 14, 14), image=True)
    assert match_table(table, image=True) == ((1, 14, 14), False, False)
    assert match_table(table) is None
    assert match_table(torch.zeros(16, 22)) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"rope": "tiled", "num_mask_tokens": 10},
        {"rope": "tiled", "activation": "swiglu"},
        {"depth": 24, "num_mask_tokens": 8, "num_levels": 4, "predict_context": True, "modality_embedding": True},
        {"num_mask_tokens": 8, "target_dim": 1664, "predict_context": True, "modality_embedding": True},
    ],
)
def test_masked_predictors_are_told_by_their_weights(changes):
    wanted = MaskedPredictorConfig(**({"encoder_dim": 1024, "rope": "true"} | changes))
    if wanted.rope == "true":
        wanted = replace(wanted, rope_grid=16)
    assert infer_masked_predictor_config(meta_part(MaskedPredictor, wanted), PATH) == wanted


def test_the_predictor_of_v_jepa_1_has_fixed_positions():
    weights = prefixed(predictor()) | {
        "module.backbone.predictor_pos_embed": fixed_positions(36, (8, 14, 14), True)[None]
    }
    config = infer_masked_predictor_config(part_of(weights), PATH, num_heads=3)
    assert (config.rope, config.grid, config.uniform_power) == (None, (8, 14, 14), True)


@pytest.mark.parametrize("changes", [{"use_extrinsics": True}, {"use_state": False}, {"action_dim": 4, "state_dim": 9}])
def test_action_conditioned_predictors_are_told_by_their_weights(changes):
    wanted = ActionConditionedPredictorConfig(encoder_dim=1408, rope="tiled", **changes)
    assert infer_ac_predictor_config(meta_part(ActionConditionedPredictor, wanted), PATH) == wanted


@pytest.mark.parametrize(
    "changes", [{"num_classes": 174}, {"num_verbs": 97, "num_nouns": 300, "num_actions": 3568}, {"num_actions": 20}]
)
@pytest.mark.parametrize("width", [1024, 1408])
def test_probes_are_told_by_their_weights(changes, width):
    wanted = AttentiveProbeConfig(embed_dim=width, **changes)
    assert infer_probe_config(meta_part(AttentiveProbe, wanted), PATH) == wanted


def test_an_encoder_without_its_embedding_was_cut_down():
    weights = prefixed(encoder(), "")
    weights.pop("patch_embed.proj.weight")
    with pytest.raises(CheckpointError, match=r"no 'patch_embed\.proj\.weight' among its 27 tensors.*was cut down"):
        infer_encoder_config(part_of(weights), PATH, num_heads=2)


def test_a_hidden_width_without_a_ratio_is_refused():
    weights = prefixed(build_meta(VideoEncoder, replace(TINY, activation="swiglu")), "")
    for name in list(weights):
        if ".fc1." in name:
            weights[name] = weights[name][:-3]
    with pytest.raises(CheckpointError, match="SwiGLU must have a hidden width that is a multiple of 8, got 61"):
        infer_encoder_config(part_of(weights), PATH, num_heads=2)


def test_the_defaults_of_the_configuration_stay_what_files_without_one_have():
    assert VideoEncoderConfig().norm_eps == MaskedPredictorConfig(encoder_dim=24).norm_eps == 1e-6
    assert AttentiveProbeConfig(embed_dim=64, num_classes=2).norm_eps == 1e-5
