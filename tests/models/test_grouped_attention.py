"""Factorised attention on masked clips: groups of unequal size against the mask over all pairs that says the same."""

from dataclasses import replace

import pytest
import torch

from vjepa_wm.data.masks.multi_block import MultiBlockMask
from vjepa_wm.data.masks.parts import PartsMask
from vjepa_wm.models import encoder as encoder_module
from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.encoder_config import VideoEncoderConfig
from vjepa_wm.models.factorized import group_mask, token_groups
from vjepa_wm.models.grouped_attention import attend_in_groups

GRID = (3, 4, 5)
CONFIG = VideoEncoderConfig(image_size=32, num_frames=6, patch_size=8, embed_dim=48, depth=4, num_heads=2)
MASKS = {
    "blocks": MultiBlockMask(num_blocks=2, spatial_scale=(0.3, 0.3), truncation="random"),
    "cut blocks": MultiBlockMask(num_blocks=2, spatial_scale=(0.3, 0.3)),
    "tokens": PartsMask(),
}


def context_ids(mask, grid=GRID):
    return MASKS[mask].sample(grid, 3, step=0, generator=torch.Generator().manual_seed(0)).context_ids


@pytest.mark.parametrize("class_token", [False, True])
@pytest.mark.parametrize("over", ["space", "time"])
@pytest.mark.parametrize("mask", MASKS)
def test_groups_attend_as_the_mask_over_all_pairs_says(mask, over, class_token):
    ids = context_ids(mask)
    generator = torch.Generator().manual_seed(1)
    shape = (3, 3, 2, ids.shape[1] + class_token, 8)
    inputs = torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()
    weight = torch.randn(shape[1:], generator=generator, dtype=torch.float64)
    pairs = group_mask(ids, GRID, over, class_token)
    masked = torch.nn.functional.scaled_dot_product_attention(*inputs, attn_mask=pairs)
    grouped = attend_in_groups(*inputs, token_groups(ids, GRID, over, class_token))
    torch.testing.assert_close(grouped, masked)
    gradients = [torch.autograd.grad((out * weight).sum(), inputs)[0] for out in (masked, grouped)]
    torch.testing.assert_close(*gradients)


def test_groups_hold_every_token_once_and_take_no_room_for_none():
    ids = torch.tensor([[0, 1, 7, 45], [20, 21, 22, 23]])
    groups = token_groups(ids, GRID, "space", False)
    assert groups.slots.tolist() == [[0, 1, 2, 0], [3, 3, 3, 3], [4, 5, 6, 7]]
    assert groups.filled.sum(dim=1).tolist() == [3, 1, 4] and groups.clips.tolist() == [0, 0, 1]
    assert groups.slots.flatten()[groups.places].tolist() == list(range(8))
    assert token_groups(ids[1:], GRID, "space", False).filled is None


@pytest.mark.parametrize("class_token", [False, True])
@pytest.mark.parametrize("mask", [*MASKS, None])
def test_the_encoder_is_the_same_in_both_forms(mask, class_token, monkeypatch):
    torch.manual_seed(0)
    model = VideoEncoder(replace(CONFIG, temporal_depth=2, class_token=class_token))
    clip = torch.randn(3, 3, 6, 32, 40)
    ids = mask and context_ids(mask)
    outputs, gradients = [], []
    for form in (token_groups, group_mask):
        monkeypatch.setattr(encoder_module, "token_groups", form)
        model.zero_grad()
        outputs.append(model(clip, ids))
        outputs[-1].square().sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    torch.testing.assert_close(*outputs, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(*gradients, atol=1e-4, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the compiler itself
@pytest.mark.parametrize("class_token", [False, True])
def test_compiled_blocks_take_groups_of_changing_sizes(class_token):
    torch.manual_seed(0)
    model = VideoEncoder(replace(CONFIG, depth=2, temporal_depth=1, class_token=class_token))
    clip, every_ids = torch.randn(3, 3, 6, 32, 40), [context_ids(mask) for mask in MASKS]

    def losses_and_gradients():
        found = []
        for ids in every_ids:
            model.zero_grad()
            loss = model(clip, ids).square().mean()
            loss.backward()
            found += [loss.detach(), torch.cat([p.grad.flatten() for p in model.parameters()])]
        return found

    plain = losses_and_gradients()
    for block in model.blocks:
        block.compile(dynamic=True, fullgraph=True, backend="aot_eager")  # as pretraining does, but for the backend
    try:
        torch.testing.assert_close(losses_and_gradients(), plain, atol=1e-5, rtol=1e-4)
    finally:
        torch._dynamo.reset()


def test_a_clip_without_any_token_is_refused():
    with pytest.raises(ValueError, match=r"ids must keep at least one token of each clip, got \(1, 0\)"):
        VideoEncoder(CONFIG)(torch.zeros(1, 3, 6, 32, 32), torch.zeros(1, 0, dtype=torch.int64))
