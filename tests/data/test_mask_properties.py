"""Masks and the encoder over random grids, settings and seeds."""

import math
from dataclasses import replace

import hypothesis
import hypothesis.strategies as st
import torch

from vjepa_wm.data.masks.mask import Mask, MaskError, check_mask
from vjepa_wm.data.masks.multi_block import MultiBlockMask
from vjepa_wm.data.masks.parts import PartsMask
from vjepa_wm.data.masks.samplers import FutureMask, ImageBlockMask, TubeMask
from vjepa_wm.models.encoder_config import VideoEncoderConfig
from vjepa_wm.models.predictor import masked_predictor_for
from vjepa_wm.training.pretrain.vjepa import VJEPA

repeatably = hypothesis.settings(max_examples=60, deadline=None, derandomize=True, database=None)
grids = st.tuples(st.integers(1, 6), st.integers(1, 9), st.integers(1, 9))
shares = st.floats(0.02, 0.98)
scales = st.tuples(shares, shares).map(lambda pair: (min(pair), max(pair)))
sizes, truncations, switches = st.sampled_from(("batch", "block")), st.sampled_from(("first", "random")), st.booleans()
parts = st.lists(st.tuples(shares, shares), min_size=1, max_size=3).map(
    lambda pairs: PartsMask(
        ends=tuple((k + 1) / len(pairs) for k in range(len(pairs))),
        context=tuple(a * b for a, b in pairs),
        targets=tuple(a * (1 - b) for a, b in pairs),
    )
)
settings_of_masks = st.one_of(
    st.builds(TubeMask, ratio=shares),
    st.builds(
        MultiBlockMask,
        num_blocks=st.integers(1, 9),
        spatial_scale=scales,
        temporal_scale=scales,
        sizes=sizes,
        total_ratio=st.none() | shares,
        truncation=truncations,
        full_complement=switches,
        inverse=switches,
    ),
    st.builds(ImageBlockMask, target_scale=scales, context_scale=scales, sizes=sizes, total_ratio=st.none() | shares),
    st.builds(FutureMask, context_duration=shares, context_keep=shares, target_keep=shares),
    parts,
)


def draw(mask, grid, batch_size, seed):
    return mask.sample(grid, batch_size, step=seed, generator=torch.Generator().manual_seed(seed))


@repeatably
@hypothesis.given(settings_of_masks, grids, st.integers(1, 5), st.integers(0, 2**31))
def test_every_setting_draws_a_right_mask_again_and_again_or_says_why_not(mask, grid, batch_size, seed):
    try:
        drawn = draw(mask, grid, batch_size, seed)
    except MaskError as error:
        assert "\n" not in str(error)
        if min(grid) > 1 and not isinstance(mask, PartsMask):  # all can be divided, so the last resort helps
            draw(replace(mask, move_one=True), grid, batch_size, seed)
        return
    assert check_mask(drawn, grid, batch_size) is drawn
    assert all(torch.equal(a, b) for a, b in zip(drawn, draw(mask, grid, batch_size, seed), strict=True))


@repeatably
@hypothesis.given(
    st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4)).filter(lambda grid: math.prod(grid) > 1),
    st.sampled_from(({}, {"class_token": True}, {"temporal_depth": 1}, {"rope": None})),
    st.data(),
)
def test_no_hidden_pixel_ever_reaches_features_or_loss(grid, form, data):
    tokens = math.prod(grid)
    num_context = data.draw(st.integers(1, tokens - 1))
    num_targets = data.draw(st.integers(1, tokens - num_context))
    order = torch.tensor([data.draw(st.permutations(range(tokens))) for _ in range(2)])
    context, target, _ = order.split((num_context, num_targets, tokens - num_context - num_targets), dim=1)
    mask = Mask(context.sort(dim=1).values, target.sort(dim=1).values)
    config = VideoEncoderConfig(image_size=16, num_frames=2, patch_size=4, embed_dim=16, depth=2, num_heads=2, **form)
    torch.manual_seed(data.draw(st.integers(0, 2**31)))
    model = VJEPA(config, masked_predictor_for(config, embed_dim=16, depth=1, num_heads=2))
    clip = torch.randn(2, 3, 2 * grid[0], 4 * grid[1], 4 * grid[2])
    targets = model.targets(clip)
    hidden = torch.ones(2, tokens, dtype=torch.bool).scatter_(1, mask.context_ids, False)
    pixels = hidden.view(2, 1, *grid)
    for axis, size in ((2, 2), (3, 4), (4, 4)):
        pixels = pixels.repeat_interleave(size, axis)
    first = model(clip, mask, targets)
    again = model(clip.masked_fill(pixels, float("nan")), mask, targets)
    for name in ("context", "predicted", "total"):
        assert torch.equal(getattr(first, name), getattr(again, name))
