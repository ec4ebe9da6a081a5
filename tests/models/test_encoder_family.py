"""The forms of the encoder beside plain V-JEPA 2: sizes, pictures, levels, fixed positions, factorised attention."""

from dataclasses import replace

import pytest
import torch
from einops import rearrange

from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.encoder_config import (
    VideoEncoderConfig,
    level_blocks,
    vit_base,
    vit_giant,
    vit_gigantic,
    vit_huge,
    vit_large,
    vit_small,
    vit_tiny,
    vjepa21,
)
from vjepa_wm.models.factorized import group_mask
from vjepa_wm.models.layers import DropPath
from vjepa_wm.models.mlp import SwiGLU, hidden_width

SMALL = VideoEncoderConfig(image_size=32, num_frames=4, patch_size=8, embed_dim=48, depth=4, num_heads=2)
FORMS = {
    "rotary": SMALL,
    "V-JEPA 2.1": vjepa21(SMALL),
    "fixed": replace(SMALL, rope=None),
    "class token": replace(SMALL, class_token=True),
    "fixed, class token": replace(SMALL, rope=None, class_token=True),
    "SwiGLU": replace(SMALL, activation="swiglu"),
    "factorised": replace(SMALL, temporal_depth=2),
    "factorised, class token": replace(SMALL, temporal_depth=1, class_token=True),
    "image": replace(SMALL, tubelet_size=1, num_frames=1, rope=None),
}


def make(config: VideoEncoderConfig) -> VideoEncoder:
    torch.manual_seed(0)
    model = VideoEncoder(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # so that no part is negligible
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


@pytest.fixture
def clip() -> torch.Tensor:
    return torch.randn(2, 3, 4, 32, 32, generator=torch.Generator().manual_seed(1))


def kept_ids() -> torch.Tensor:
    return torch.tensor([[0, 3, 17, 30, 9], [2, 5, 6, 31, 20]])


@pytest.mark.parametrize(
    ("config", "parameters", "tensors"),
    [
        (vit_tiny(), 5_633_856, 148),
        (vit_small(), 21_884_544, 148),
        (vit_base(), 86_236_416, 148),
        (vit_large(), 303_885_312, 292),
        (replace(vit_large(), rope=None, class_token=True), 303_886_336, 293),
        (vit_huge(), 631_648_000, 388),
        (vit_giant(), 1_012_173_952, 484),
        (replace(vit_gigantic(), mlp_ratio=4.0), 1_598_483_328, 580),
        (vit_gigantic(), 1_843_923_840, 580),
        (vjepa21(vit_base(384)), 86_833_152, 158),
        (vjepa21(vit_large(384)), 304_680_960, 302),
        (vjepa21(vit_giant(384)), 1_013_267_968, 494),
        (vjepa21(vit_gigantic(384)), 1_845_216_768, 590),
    ],
    ids=lambda value: str(value) if isinstance(value, int) else f"{value.embed_dim} wide",
)
def test_presets_have_the_published_size(config, parameters, tensors):
    with torch.device("meta"):
        model = VideoEncoder(config)
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert len(model.state_dict()) == tensors


def test_hidden_widths_are_the_published_ones():
    assert hidden_width(1408, 48 / 11, "gelu") == 6144
    assert hidden_width(1664, 64 / 13, "gelu") == 8192
    assert hidden_width(192, 4.0, "swiglu") == 512
    assert hidden_width(192, 6.0, "swiglu") == 768


@pytest.mark.parametrize("form", FORMS)
def test_every_form_encodes_clips_and_kept_tokens(form, clip):
    model = make(FORMS[form])
    if form == "image":
        clip = clip[:, :, :1]
    tokens = clip.shape[2] // model.config.tubelet_size * 16
    extra = int(model.config.class_token)
    assert model(clip).shape == (2, tokens + extra, 48)
    ids = kept_ids() % tokens
    kept = model(clip, ids)
    assert kept.shape == (2, 5 + extra, 48)
    turned = model(clip, ids.flip(1))
    torch.testing.assert_close(turned[:, extra:].flip(1), kept[:, extra:], atol=1e-5, rtol=1e-4)
    assert not torch.allclose(kept[:, extra:], model(clip)[:, extra:].gather(1, ids[..., None].expand(-1, -1, 48)))


@pytest.mark.parametrize("form", FORMS)
def test_keeping_every_token_is_keeping_all(form, clip):
    model = make(FORMS[form])
    clip = clip[:, :, :1] if form == "image" else clip
    whole = model(clip)
    ids = torch.arange(whole.shape[1] - model.config.class_token).expand(2, -1)
    torch.testing.assert_close(model(clip, ids), whole, atol=1e-5, rtol=1e-4)


def test_a_picture_is_a_repeated_frame_without_an_image_tokenizer(clip):
    model = make(SMALL)
    picture = clip[:, :, 0]
    torch.testing.assert_close(model(picture), model(torch.stack((picture, picture), dim=2)))
    torch.testing.assert_close(model(picture.unsqueeze(2)), model(picture))


def test_a_picture_has_its_own_tokenizer_and_modality_in_vjepa21(clip):
    model = make(vjepa21(SMALL))
    picture = clip[:, :, 0]
    as_picture, as_clip = model(picture), model(torch.stack((picture, picture), dim=2))
    assert as_picture.shape == as_clip.shape == (2, 16, 48)
    assert not torch.allclose(as_picture, as_clip, atol=1e-2)
    with torch.no_grad():
        model.video_mod_embed += torch.randn(48)
    assert torch.equal(model(picture), as_picture)
    with torch.no_grad():
        model.img_mod_embed += torch.randn(48)
    assert not torch.allclose(model(picture), as_picture, atol=1e-3)


def test_intermediate_layers_are_normed_and_in_the_order_asked_for(clip):
    model = make(SMALL)
    last, first = model.intermediate_layers(clip, layers=(-1, 0))
    assert torch.equal(last, model(clip))
    raw = []
    hook = model.blocks[0].register_forward_hook(lambda module, inputs, output: raw.append(output))
    model(clip)
    hook.remove()
    torch.testing.assert_close(first, model.norm(raw[0]))
    with pytest.raises(ValueError, match="layers must be from -4 to 3, got 4"):
        model.intermediate_layers(clip, layers=(4,))


def test_levels_have_their_own_norms_and_are_put_end_to_end(clip):
    model = make(vjepa21(SMALL))
    assert model.config.levels == (0, 1, 2, 3)
    levels = model.level_features(clip)
    assert levels.shape == (2, 32, 4 * 48)
    torch.testing.assert_close(levels[..., -48:], model(clip))
    torch.testing.assert_close(model.level_features(clip, num_levels=2), levels[..., -96:])
    with torch.no_grad():
        model.norms_block[1].bias += 1.0
    torch.testing.assert_close(model.level_features(clip)[..., 48:96], levels[..., 48:96] + 1.0)
    with pytest.raises(ValueError, match="num_levels must be from 1 to 4, the encoder's levels, got 5"):
        model.level_features(clip, num_levels=5)
    model = make(replace(SMALL, levels=(1, 3)))
    with pytest.raises(ValueError, match=r"norms for layers \(1, 3\) only, got 2"):
        model.intermediate_layers(clip, layers=(2,))


def test_level_blocks_are_the_published_ones():
    assert level_blocks(48) == (11, 23, 37, 47)
    assert level_blocks(6) == (0, 2, 3, 5)


def test_stretched_positions_do_not_depend_on_the_resolution():
    model = make(replace(SMALL, depth=1, rope_grid=4))
    small, large = (model._tables(torch.arange(side * side), (1, side, side), torch.zeros(1)) for side in (4, 7))
    torch.testing.assert_close(large.cos[..., (0, 6, 48), :], small.cos[..., (0, 3, 15), :])
    counting = make(replace(SMALL, depth=1))._tables(torch.arange(49), (1, 7, 7), torch.zeros(1))
    assert not torch.allclose(counting.cos[..., 48, :], large.cos[..., 48, :], atol=1e-2)


def test_factorised_blocks_see_their_own_frame_or_place_only(clip):
    space = make(replace(SMALL, temporal_depth=1))
    changed = clip.clone()
    changed[:, :, 2:] += 1.0  # the second tubelet
    before, after = space.intermediate_layers(clip, layers=(2, 3)), space.intermediate_layers(changed, layers=(2, 3))
    torch.testing.assert_close(before[0][:, :16], after[0][:, :16])
    assert not torch.allclose(before[1][:, :16], after[1][:, :16], atol=1e-3)
    time = make(replace(SMALL, depth=2, temporal_depth=1))
    time.blocks[0].forward = lambda x, *rest: x  # leaves the temporal block alone
    changed = clip.clone()
    changed[..., :8, :8] += 1.0  # the first place
    difference = (time(changed) - time(clip)).abs().amax(dim=(0, 2))
    assert (difference > 1e-3).nonzero().flatten().tolist() == [0, 16]


def test_group_mask_by_hand():
    mask = group_mask(torch.tensor([0, 2, 3]), (2, 1, 2), "space", False)
    assert mask[0, 0].int().tolist() == [[1, 0, 0], [0, 1, 1], [0, 1, 1]]
    mask = group_mask(torch.tensor([0, 2, 3]), (2, 1, 2), "time", True)
    assert mask[0, 0].int().tolist() == [[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 1, 0], [1, 0, 0, 1]]


def test_drop_path_keeps_the_mean_and_grows_with_depth():
    torch.manual_seed(0)
    drop = DropPath(0.25)
    x = torch.ones(4000, 1, 1)
    assert drop(x).unique().tolist() == pytest.approx([0.0, 4 / 3])
    assert float(drop(x).mean()) == pytest.approx(1.0, abs=0.05)
    assert torch.equal(drop.eval()(x), x)
    rates = [block.drop_path.probability for block in VideoEncoder(replace(SMALL, drop_path=0.3)).blocks]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3])


def test_swiglu_equals_its_formula():
    torch.manual_seed(0)
    mlp, x = SwiGLU(8, 16), torch.randn(3, 8)
    gate = mlp.fc1(x)
    torch.testing.assert_close(mlp(x), mlp.fc3(gate * torch.sigmoid(gate) * mlp.fc2(x)))


@pytest.mark.parametrize("form", ["rotary", "factorised"])
def test_recomputed_activations_give_the_same_gradients(form, clip):
    gradients = []
    for recompute in (False, True):
        model = make(FORMS[form]).train()
        model.recompute_activations = recompute
        model(clip, kept_ids()).square().mean().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    torch.testing.assert_close(*gradients)


LONG = [pytest.param(form, marks=pytest.mark.slow) for form in ("fixed, class token", "factorised")]


@pytest.mark.parametrize("form", ["V-JEPA 2.1", *LONG])
def test_it_compiles_without_graph_breaks(form, clip):
    # Two blocks, since the compiler writes each out; factorised, one of them attends over time.
    depth = {"depth": 2, "levels": FORMS[form].levels and (0, 1), "temporal_depth": FORMS[form].temporal_depth and 1}
    model = make(replace(FORMS[form], **depth))
    ids = kept_ids()
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    for inputs in ((clip,), (clip, ids)):
        torch.testing.assert_close(compiled(*inputs), model(*inputs), atol=1e-5, rtol=1e-4)
    torch._dynamo.reset()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rope": "half"}, "rope must be one of tiled, true or None, got 'half'"),
        (
            {"rope": None, "rope_grid": 4},
            "rope_grid must be at least 2 and needs rotary positions, got 4",
        ),
        ({"activation": "relu"}, "activation must be gelu or swiglu, got 'relu'"),
        ({"drop_path": 1.0}, "drop_path must be from 0 to below 1, got 1.0"),
        ({"temporal_depth": 4}, "temporal_depth must leave at least one of 4 blocks to space, got 4"),
        ({"levels": (0, 2)}, r"levels must ascend and end with the last block, 3, got \(0, 2\)"),
        ({"num_heads": 12}, r"head_dim \(embed_dim over num_heads\) must be at least 6 .*, got 4; take fewer heads"),
        ({"num_frames": 1}, "num_frames must be at least tubelet_size 2, got 1"),
    ],
)
def test_wrong_configurations_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **options)


def test_positions_are_never_stored(clip):
    model = make(FORMS["fixed"])
    assert not any("pos" in name for name in model.state_dict())
    shifted = rearrange(rearrange(clip, "b c (t p) h w -> b c t p h w", p=2).flip(2), "b c t p h w -> b c (t p) h w")
    turned = rearrange(rearrange(model(shifted), "b (t s) d -> b t s d", t=2).flip(1), "b t s d -> b (t s) d")
    assert not torch.allclose(turned, model(clip), atol=1e-3)  # so positions are there
