"""The training step as one call: what enters it, what comes out, and what it refuses."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import vjepa_wm
from vjepa_wm.data.masks.mask import (
    EmptyMaskError,
    Mask,
    MaskClipsError,
    MaskError,
    MaskFormError,
    MaskOrderError,
    MaskOverlapError,
    MaskRangeError,
)
from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.encoder_config import VideoEncoderConfig, vjepa21
from vjepa_wm.models.predictor import MaskedPredictor, masked_predictor_for
from vjepa_wm.training.pretrain.objective import ObjectiveConfig
from vjepa_wm.training.pretrain.vjepa import VJEPA

SMALL = VideoEncoderConfig(image_size=32, num_frames=4, patch_size=8, embed_dim=24, depth=2, num_heads=2)
FORMS = {
    "rotary": SMALL,
    "tiled": replace(SMALL, rope="tiled"),
    "V-JEPA 2.1": vjepa21(SMALL),
    "fixed": replace(SMALL, rope=None),
    "class token": replace(SMALL, class_token=True),
    "fixed, class token": replace(SMALL, rope=None, class_token=True),
    "SwiGLU": replace(SMALL, activation="swiglu"),
    "factorised": replace(SMALL, temporal_depth=1),
    "factorised, class token": replace(SMALL, temporal_depth=1, class_token=True),
}
MASK = Mask(torch.tensor([[0, 3, 9, 17], [2, 5, 20, 31]]), torch.tensor([[1, 2, 30], [0, 19, 22]]))


def make(config=SMALL, *, predict_context=True, **options) -> VJEPA:
    torch.manual_seed(0)
    predictor = masked_predictor_for(config, embed_dim=16, depth=1, num_heads=2, predict_context=predict_context)
    return VJEPA(config, predictor, **options)


def clips(seed=1) -> torch.Tensor:
    return torch.randn(2, 3, 4, 32, 32, generator=torch.Generator().manual_seed(seed))


def with_other_pixels(clip, kept_ids, value):
    """Return a clip with `value` in all pixels of tokens that are not kept."""
    hidden = torch.ones(2, 2, 1, 4, 1, 4, 1, dtype=torch.bool)
    hidden.view(2, 32).scatter_(1, kept_ids, False)
    pixels = hidden.expand(2, 2, 2, 4, 8, 4, 8).reshape(2, 1, 4, 32, 32)
    return torch.where(pixels, value, clip)


def same(a, b):
    return torch.equal(a.detach(), b.detach())


@pytest.mark.parametrize("form", FORMS)
def test_hidden_pixels_change_nothing_to_the_bit(form):
    model = make(FORMS[form], objective=ObjectiveConfig(variance_weight=1.0, covariance_weight=1.0))
    clip = clips()
    targets = model.targets(clip)
    first = model(clip, MASK, targets)
    first.total.backward()
    gradient = model.encoder.blocks[0].attn.qkv.weight.grad.clone()
    for value in (torch.randn(clip.shape), torch.tensor(float("nan"))):
        model.zero_grad()
        other = with_other_pixels(clip, MASK.context_ids, value)
        assert not torch.equal(other, clip)
        again = model(other, MASK, targets)
        again.total.backward()
        for name in ("context", "predicted", "energy", "context_energy", "total"):
            assert same(getattr(first, name), getattr(again, name)), name
        assert torch.equal(gradient, model.encoder.blocks[0].attn.qkv.weight.grad)
    shown = model(with_other_pixels(clip, MASK.target_ids, torch.zeros(())), MASK, targets)
    assert not same(first.context, shown.context)  # so the visible pixels do count


def test_it_says_what_it_is_made_of():
    model = make(objective=ObjectiveConfig(variance_weight=2.0, covariance_weight=3.0, context_loss_weight=0.25))
    out, clip = model(clips(), MASK), clips()
    assert out.context.shape == (2, 4, 24) and out.predicted.shape == out.target.shape == (2, 3, 24)
    assert same(out.context, model.encoder(clip, MASK.context_ids))
    whole = nn.functional.layer_norm(model.target_encoder(clip), (24,))
    assert same(out.target, whole.gather(1, MASK.target_ids[..., None].expand(-1, -1, 24)))
    torch.testing.assert_close(out.energy, (out.predicted - out.target).abs().mean())
    terms = out.regularisation
    total = out.energy + 0.25 * out.context_energy + 2.0 * terms["variance_loss"] + 3.0 * terms["covariance_loss"]
    torch.testing.assert_close(out.total, total)
    assert not out.target.requires_grad and out.context_energy > 0
    assert float(make(predict_context=False)(clips(), MASK).context_energy) == 0.0


def test_only_visible_tokens_enter_the_encoder():
    model, seen = make(), []
    model.encoder.blocks[0].register_forward_hook(lambda block, inputs, output: seen.append(inputs[0].shape[1]))
    model(clips(), MASK)
    assert seen == [4]


def test_energy_and_regulariser_may_be_ones_own():
    model = make(
        energy=lambda predicted, target: (predicted - target).square().sum(dim=-1),
        regulariser=lambda features: {"size": features.square().mean()},
    )
    out = model(clips(), MASK)
    torch.testing.assert_close(out.energy, (out.predicted - out.target).square().sum(dim=-1).mean())
    assert list(out.regularisation) == ["size"]
    torch.testing.assert_close(out.total, out.energy + 0.5 * out.context_energy + out.context.square().mean())
    with pytest.raises(ValueError, match=r"energy must return a number for each token, \(2, 4\), got \(\)"):
        make(energy=lambda predicted, target: predicted.mean())(clips(), MASK)


def test_the_slow_copy_follows_and_never_trains():
    model = make().train()
    before = [p.clone() for p in model.target_encoder.parameters()]
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            parameter.add_(1.0)
    model.update_target(0.75)
    for old, new in zip(before, model.target_encoder.parameters(), strict=True):
        torch.testing.assert_close(new, old + 0.25)
        assert not new.requires_grad
    assert not model.target_encoder.training


def test_a_frozen_teacher_makes_the_targets():
    torch.manual_seed(3)
    teacher = VideoEncoder(replace(SMALL, embed_dim=48))
    predictor = masked_predictor_for(SMALL, embed_dim=16, depth=1, num_heads=2, target_dim=48)
    out = VJEPA(SMALL, predictor, teacher=teacher)(clips(), MASK)
    expected = nn.functional.layer_norm(teacher(clips()), (48,))
    assert same(out.target, expected.gather(1, MASK.target_ids[..., None].expand(-1, -1, 48)))
    assert not any(p.requires_grad for p in teacher.parameters())


def ids(*rows):
    return torch.tensor(rows)


@pytest.mark.parametrize(
    ("context", "target", "error"),
    [
        (ids([0, 3], [2, 5]), ids([1, 3], [0, 19]), MaskOverlapError),
        (ids([0, 3], [2, 5]), ids([1, 32], [0, 19]), MaskRangeError),
        (ids([-1, 3], [2, 5]), ids([1, 31], [0, 19]), MaskRangeError),
        (torch.zeros(2, 0, dtype=torch.int64), ids([1, 31], [0, 19]), EmptyMaskError),
        (ids([0, 3], [2, 5]), torch.zeros(2, 0, dtype=torch.int64), EmptyMaskError),
        (ids([0, 3], [2, 5]), ids([4, 1], [0, 19]), MaskOrderError),
        (ids([0, 3], [2, 5]), ids([4, 5]), MaskClipsError),
        (ids([0, 3], [2, 5], [1, 2]), ids([4, 5], [6, 7], [8, 9]), MaskClipsError),
        (ids([0, 3], [2, 5]), ids([4.0, 5.0], [6.0, 7.0]), MaskFormError),
        (ids([0, 3], [2, 5]), torch.tensor([4, 5]), MaskFormError),
    ],
)
def test_each_fault_of_a_mask_has_its_own_error(context, target, error):
    with pytest.raises(error) as found:
        make()(clips(), (context, target))
    assert isinstance(found.value, MaskError) and type(found.value) is error


def test_networks_that_do_not_fit_are_refused():
    fitting = masked_predictor_for(SMALL, embed_dim=16, depth=1, num_heads=2)
    for predictor, message in (
        (replace(fitting, encoder_dim=32), "the predictor's encoder_dim must be 24 for this encoder, got 32"),
        (replace(fitting, target_dim=32), "the predictor's output_dim must be 24 for this encoder, got 32"),
        (replace(fitting, num_levels=2), "the predictor's num_levels must be at most 1, the encoder's, got 2"),
    ):
        with pytest.raises(ValueError, match=message):
            VJEPA(SMALL, predictor)


def test_a_predictor_takes_no_more_targets_than_its_capacity():
    predictor = MaskedPredictor(masked_predictor_for(SMALL, embed_dim=16, depth=1, num_heads=2, capacity=3))
    context = torch.zeros(2, 4, 24)
    assert predictor(context, MASK.context_ids, MASK.target_ids, (2, 4, 4)).shape == (2, 3, 24)
    with pytest.raises(ValueError, match="target_ids must be at most capacity 3 a clip, got 4"):
        predictor(context, MASK.target_ids.new_tensor([[0, 1, 2, 3]] * 2), MASK.context_ids, (2, 4, 4))


@pytest.mark.parametrize("rope", ["true", None])
@pytest.mark.parametrize("outside", [-1, 32])
def test_targets_outside_the_grid_are_an_error(rope, outside):
    predictor = MaskedPredictor(masked_predictor_for(replace(SMALL, rope=rope), embed_dim=16, depth=1, num_heads=2))
    with pytest.raises(ValueError, match=rf"target_ids must be 0 to 31 on the grid \(2, 4, 4\), got {outside}"):
        predictor(torch.zeros(1, 2, 24), ids([0, 1]), ids([2, outside]), (2, 4, 4))


def test_it_has_a_short_name():
    assert vjepa_wm.VJEPA is VJEPA


@pytest.mark.parametrize(
    ("context", "target", "message"),
    [
        (ids([0, 3]), ids([1], [2]), r"needs context_ids \(2, 4\) and as many rows of target_ids, got \(1, 2\)"),
        (ids([0, 3, 4, 5], [0, 3, 4, 5]), ids([1]), r"as many rows of target_ids, got \(2, 4\) and \(1, 1\)"),
        (ids([0, 3, 4, 5], [0, 3, 4, 5]), torch.zeros(2, 0, dtype=torch.int64), "at least one token of each clip"),
    ],
)
def test_ids_of_other_clips_and_no_targets_are_errors_of_the_predictor(context, target, message):
    predictor = MaskedPredictor(masked_predictor_for(SMALL, embed_dim=16, depth=1, num_heads=2))
    with pytest.raises(ValueError, match=message):
        predictor(torch.zeros(2, 4, 24), context, target, (2, 4, 4))


def test_grey_clips_and_rectangular_patches_take_the_step():
    grey = replace(SMALL, in_channels=1, patch_width=4, rope_grid=4)
    assert grey.trained_grid == (2, 4, 8)
    out = make(grey)(clips()[:, :1], (ids([0, 31], [1, 32]), ids([1, 2, 63], [0, 2, 3])))
    assert out.predicted.shape == (2, 3, 24) and torch.isfinite(out.total)
    with pytest.raises(ValueError, match="multiples of patch_size 8x4, got 32x30"):
        make(grey).encoder(clips()[:, :1, :, :, :30])
    with pytest.raises(ValueError, match="image_size must be a multiple of patch_width 5, got 32"):
        replace(SMALL, patch_width=5)
