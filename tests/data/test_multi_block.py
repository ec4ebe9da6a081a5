import pytest
import torch

from vjepa_wm.data.masks.mask import MaskError
from vjepa_wm.data.masks.multi_block import MultiBlockMask, vjepa2_masks

SHORT, LONG = vjepa2_masks()
GRID = (8, 16, 16)


def draw(mask, grid=GRID, batch_size=6, step=0, seed=0):
    return mask.sample(grid, batch_size, step=step, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("mask", "side", "sizes"),
    [
        (SHORT, 16, [(6, 7), (6, 6), (7, 6), (6, 6), (6, 7), (7, 5)]),
        (LONG, 16, [(12, 15), (14, 13), (15, 12), (13, 14), (12, 15), (16, 11)]),
        (SHORT, 24, [(8, 10), (10, 9), (10, 8), (9, 9), (8, 10), (11, 8)]),
        (LONG, 24, [(18, 22), (21, 20), (22, 18), (20, 20), (18, 22), (24, 17)]),
    ],
)
def test_block_sizes_are_the_published_ones(mask, side, sizes):
    assert [mask.block_size((8, side, side), step) for step in range(6)] == [(8, *size) for size in sizes]


@pytest.mark.parametrize("mask", [SHORT, LONG, *vjepa2_masks("random")])
def test_sets_are_ascending_disjoint_and_within_the_clip(mask):
    drawn = draw(mask)
    for ids in drawn:
        assert ids.dtype == torch.int64
        assert (ids.diff(dim=1) > 0).all()
        assert ids.min() >= 0
        assert ids.max() < 8 * 16 * 16
    for context, target in zip(*drawn, strict=True):
        assert not set(context.tolist()) & set(target.tolist())


def test_one_clip_needs_no_cut_so_the_sets_are_complements():
    context, target = draw(SHORT, batch_size=1)
    assert sorted(context[0].tolist() + target[0].tolist()) == list(range(8 * 16 * 16))


def test_hidden_blocks_last_the_whole_clip():
    context, _ = draw(SHORT, batch_size=1)
    per_frame = [set((context[0][context[0] // 256 == t] % 256).tolist()) for t in range(8)]
    assert all(frame == per_frame[0] for frame in per_frame)


def test_one_block_is_a_box_on_a_grid_that_is_not_square():
    mask = MultiBlockMask(num_blocks=1, spatial_scale=(0.3, 0.3), temporal_scale=(0.5, 0.5))
    _, target = draw(mask, grid=(4, 6, 10), batch_size=5, step=2)
    time, rows, columns = mask.block_size((4, 6, 10), 2)
    for ids in target:
        steps, places = ids // 60, ids % 60
        box = [(axis.min().item(), axis.max().item()) for axis in (steps, places // 10, places % 10)]
        assert [high - low + 1 for low, high in box] == [time, rows, columns]
        assert len(ids) == time * rows * columns


def test_shares_of_visible_and_hidden_tokens_are_the_measured_ones():
    shares = torch.tensor(
        [[ids.shape[1] / 2048 for ids in draw(SHORT, batch_size=1, step=s, seed=s)] for s in range(200)]
    )
    assert shares.mean(dim=0).tolist() == pytest.approx([0.376, 0.624], abs=0.02)


def test_first_truncation_drops_the_latest_tokens_and_random_does_not():
    late = {t: draw(MultiBlockMask(truncation=t), batch_size=24).context_ids // 256 == 7 for t in ("first", "random")}
    assert late["first"].float().mean() < 0.5 * late["random"].float().mean()


def test_complements_take_in_what_was_cut():
    plain = draw(SHORT)
    full = draw(MultiBlockMask(full_complement=True))
    assert torch.equal(full.context_ids, plain.context_ids)
    assert full.context_ids.shape[1] + full.target_ids.shape[1] == 2048
    pred_full = draw(MultiBlockMask(pred_full_complement=True))
    assert torch.equal(pred_full.target_ids, plain.target_ids)
    assert pred_full.context_ids.shape[1] + pred_full.target_ids.shape[1] == 2048


def test_inverse_swaps_the_sets():
    plain, inverse = draw(SHORT), draw(MultiBlockMask(inverse=True))
    assert torch.equal(plain.context_ids, inverse.target_ids)
    assert torch.equal(plain.target_ids, inverse.context_ids)


def test_context_can_be_kept_few_and_early():
    assert draw(MultiBlockMask(max_keep=10)).context_ids.shape[1] == 10
    early = draw(MultiBlockMask(max_temporal_keep=0.5))
    assert early.context_ids.max() < 4 * 256
    assert early.target_ids.max() >= 4 * 256


def test_the_generator_and_the_step_decide_everything():
    first, second = draw(SHORT, seed=3), draw(SHORT, seed=3)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not torch.equal(first.context_ids, draw(SHORT, seed=4).context_ids)
    assert SHORT.block_size(GRID, 0) != SHORT.block_size(GRID, 1)


def test_clips_without_context_are_drawn_again():
    # Four blocks of one token hide all three tokens of a clip in four draws of nine.
    context, target = draw(MultiBlockMask(num_blocks=4, spatial_scale=(0.34, 0.34)), grid=(1, 3, 1), batch_size=40)
    assert context.shape == (40, 1)
    assert target.shape[1] >= 1


def test_a_mask_that_cannot_be_is_named():
    text = r"2 blocks of \(1, 2, 2\) on a grid of \(1, 2, 2\) leave none; lower spatial_scale \(1.0, 1.0\) or enlarge"
    with pytest.raises(MaskError, match=text):
        draw(MultiBlockMask(num_blocks=2, spatial_scale=(1.0, 1.0), aspect_ratio=(1.0, 1.0)), grid=(1, 2, 2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"spatial_scale": (0.7, 0.2)}, r"spatial_scale must be an ascending pair within \(0, 1\], got \(0.7, 0.2\)"),
        ({"temporal_scale": (0.5, 1.5)}, r"temporal_scale must be an ascending pair within \(0, 1\], got \(0.5, 1.5\)"),
        ({"aspect_ratio": (0.0, 1.0)}, r"aspect_ratio must be an ascending pair of finite numbers above 0, got \(0.0"),
        ({"num_blocks": 0}, "num_blocks must be at least 1, got 0"),
        ({"max_keep": 0}, "max_keep must be at least 1, got 0"),
        ({"max_temporal_keep": 0.0}, r"max_temporal_keep must be within \(0, 1\], got 0.0"),
        ({"truncation": "last"}, "truncation must be 'first' or 'random', got 'last'"),
        ({"full_complement": True, "pred_full_complement": True}, "full_complement and pred_full_complement exclude"),
    ],
)
def test_options_that_cannot_be_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        MultiBlockMask(**options)
