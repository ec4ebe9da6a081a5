from dataclasses import replace

import pytest
import torch

from vjepa_wm.cli import parse
from vjepa_wm.data.masks.mask import MaskError
from vjepa_wm.data.masks.mask_words import mask_text, parse_mask
from vjepa_wm.data.masks.multi_block import MultiBlockMask, small_grid_masks, vjepa2_masks
from vjepa_wm.data.masks.parts import PartsMask
from vjepa_wm.data.masks.samplers import FutureMask, ImageBlockMask, TubeMask, preset_masks

ALL = [
    TubeMask(),
    ImageBlockMask(),
    ImageBlockMask(truncation="random", sizes="block"),
    ImageBlockMask(total_ratio=0.6),
    MultiBlockMask(sizes="block", spatial_scale=(0.1, 0.4), temporal_scale=(0.3, 1.0)),
    MultiBlockMask(total_ratio=0.75, sizes="block"),
    FutureMask(),
    PartsMask(),
    PartsMask(ends=(0.25, 0.5, 1.0), context=(0.5, 0.5, 0.0), targets=(0.5, 0.25, 0.3)),
]
GRIDS = [(8, 16, 16), (4, 6, 10), (6, 9, 5)]


def draw(mask, grid=(4, 6, 10), batch_size=5, step=0, seed=0):
    return mask.sample(grid, batch_size, step=step, generator=torch.Generator().manual_seed(seed))


def frames(ids, grid):
    """Return the set of places of each time step."""
    places = grid[1] * grid[2]
    return [set((ids[ids // places == step] % places).tolist()) for step in range(grid[0])]


def bounds(places, columns):
    """Return the first and last row and the first and last column of places."""
    rows, across = places // columns, places % columns
    return rows.min().item(), rows.max().item(), across.min().item(), across.max().item()


@pytest.mark.parametrize("batch_size", [1, 7])
@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("mask", ALL)
def test_sets_are_ascending_disjoint_and_within_the_clip(mask, grid, batch_size):
    for step in range(4):
        context_ids, target_ids = draw(mask, grid, batch_size, step=step)
        for ids in (context_ids, target_ids):
            assert ids.dtype == torch.int64
            assert ids.shape[0] == batch_size
            assert (ids.diff(dim=1) > 0).all()
            assert ids.min() >= 0
            assert ids.max() < grid[0] * grid[1] * grid[2]
        for context, target in zip(context_ids, target_ids, strict=True):
            assert context.numel()
            assert target.numel()
            assert not set(context.tolist()) & set(target.tolist())


@pytest.mark.parametrize("mask", ALL)
def test_the_generator_and_the_step_decide_everything(mask):
    first, second, other = draw(mask, seed=3), draw(mask, seed=3), draw(mask, seed=4)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not torch.equal(first.target_ids[:, :4], other.target_ids[:, :4])
    assert not torch.equal(first.target_ids[0], first.target_ids[1])


@pytest.mark.parametrize(("ratio", "hidden"), [(0.9, 54), (0.5, 30), (0.01, 1), (0.98, 59)])
def test_tubes_hide_an_exact_number_of_places(ratio, hidden):
    context_ids, target_ids = draw(TubeMask(ratio=ratio))
    assert target_ids.shape == (5, 4 * hidden)
    assert context_ids.shape == (5, 4 * (60 - hidden))


def test_tubes_are_the_same_places_in_every_time_step():
    for ids in (*draw(TubeMask()).target_ids, *draw(TubeMask()).context_ids):
        steps = frames(ids, (4, 6, 10))
        assert all(step == steps[0] for step in steps)


def test_tubes_reach_every_place():
    assert draw(TubeMask(ratio=0.1), batch_size=200).target_ids.unique().numel() == 240


def test_one_target_block_of_a_picture_is_a_rectangle():
    for step in range(8):
        _, target_ids = draw(ImageBlockMask(num_targets=1), (1, 14, 14), step=step)
        for target in target_ids:
            top, bottom, left, right = bounds(target, 14)
            assert target.numel() == (bottom - top + 1) * (right - left + 1)
            assert 0.12 * 196 <= target.numel() <= 0.23 * 196
            assert 0.6 <= (bottom - top + 1) / (right - left + 1) <= 1.8


def test_context_of_a_picture_is_its_block_without_the_targets():
    mask = ImageBlockMask(context_scale=(0.5, 0.5))
    for seed in range(10):
        context_ids, target_ids = draw(mask, (1, 16, 16), batch_size=1, seed=seed)
        inside = {r * 16 + c for r in range(16) for c in range(16)} - set(target_ids[0].tolist())
        top, bottom, left, right = bounds(context_ids[0], 16)
        box = {r * 16 + c for r in range(top, bottom + 1) for c in range(left, right + 1)}
        assert set(context_ids[0].tolist()) == box & inside
        assert bottom - top < 11
        assert right - left < 11


def test_a_context_block_of_the_whole_picture_leaves_only_the_targets_out():
    context_ids, target_ids = draw(ImageBlockMask(context_scale=(1.0, 1.0)), (1, 6, 10), batch_size=1)
    assert sorted(context_ids[0].tolist() + target_ids[0].tolist()) == list(range(60))


def test_targets_of_a_picture_are_a_union_of_rectangles():
    # All blocks of a step have the size of the single one, so sliding that over the union must find all of it.
    for seed in range(10):
        one = draw(ImageBlockMask(num_targets=1), (1, 14, 14), batch_size=1, seed=seed).target_ids
        four = draw(ImageBlockMask(), (1, 14, 14), batch_size=1, seed=seed).target_ids
        assert one.shape[1] <= four.shape[1] <= 4 * one.shape[1]
        hidden = torch.zeros(14, 14)
        hidden.view(-1)[four[0]] = 1.0
        top, bottom, left, right = bounds(one[0], 14)
        height, width = bottom - top + 1, right - left + 1
        full = torch.nn.functional.avg_pool2d(hidden[None], (height, width), stride=1)[0] > 0.999
        covered = torch.zeros(14, 14)
        for row, column in full.nonzero().tolist():
            covered[row : row + height, column : column + width] = 1.0
        assert torch.equal(covered, hidden)


@pytest.mark.parametrize("truncation", ["first", "random"])
def test_image_blocks_last_the_whole_clip_even_when_cut(truncation):
    mask = draw(ImageBlockMask(truncation=truncation), batch_size=12)
    for ids in (*mask.context_ids, *mask.target_ids):
        steps = frames(ids, (4, 6, 10))
        assert all(step == steps[0] for step in steps)


def test_first_truncation_drops_the_lowest_places_and_random_does_not():
    low = {
        t: draw(ImageBlockMask(truncation=t), (1, 14, 14), batch_size=40).target_ids >= 12 * 14
        for t in ("first", "random")
    }
    assert low["first"].float().mean() < 0.5 * low["random"].float().mean()


def test_future_counts_are_exact_and_context_is_earlier():
    mask = FutureMask(context_duration=0.75, context_keep=0.3, target_keep=0.4)
    context_ids, target_ids = draw(mask)
    assert context_ids.shape == (5, round(3 * 60 * 0.3))
    assert target_ids.shape == (5, round(60 * 0.4))
    assert context_ids.max() // 60 < target_ids.min() // 60
    assert (target_ids // 60 == 3).all()


def test_future_that_keeps_all_is_the_two_parts_of_the_clip():
    context_ids, target_ids = draw(FutureMask(context_keep=1.0, target_keep=1.0), (2, 3, 3), batch_size=1)
    assert context_ids[0].tolist() == list(range(9))
    assert target_ids[0].tolist() == list(range(9, 18))


def test_shares_of_the_parts_are_exact_and_reach_both_sets_of_both():
    context_ids, target_ids = draw(PartsMask(), (4, 5, 5), batch_size=300)
    for ids, early, late in ((context_ids, 40, 10), (target_ids, 10, 40)):
        assert ((ids < 50).sum(dim=1) == early).all() and ((ids >= 50).sum(dim=1) == late).all()
        assert ids.unique().numel() == 100  # every token may be in either set
    thin = draw(PartsMask(context=(0.3, 0.0), targets=(0.0, 0.5)), (4, 5, 5))
    assert thin.context_ids.shape == (5, 15) and thin.target_ids.shape == (5, 25)
    assert thin.context_ids.max() < 50 <= thin.target_ids.min()


def test_shares_that_are_both_rounded_up_leave_no_token_in_two_sets():
    context_ids, target_ids = draw(PartsMask(context=(0.5, 0.5), targets=(0.5, 0.5)), (2, 1, 7))
    assert context_ids.shape == (5, 8) and target_ids.shape == (5, 6)


@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.93])
def test_a_total_ratio_is_exact_whatever_the_blocks_cover(ratio):
    context_ids, target_ids = draw(MultiBlockMask(total_ratio=ratio), (4, 6, 10))
    assert target_ids.shape == (5, round(240 * ratio)) and context_ids.shape == (5, 240 - round(240 * ratio))
    _, target_ids = draw(ImageBlockMask(total_ratio=ratio), (1, 10, 10))
    assert target_ids.shape == (5, round(100 * ratio))


def test_blocks_of_one_clip_may_have_sizes_of_their_own():
    options = {"num_blocks": 1, "spatial_scale": (0.05, 0.6), "temporal_scale": (1.0, 1.0), "full_complement": False}
    one, own = (
        {len(draw(MultiBlockMask(sizes=sizes, **options), batch_size=1, seed=seed).target_ids[0]) for seed in range(9)}
        for sizes in ("batch", "block")
    )
    assert len(one) == 1 and len(own) > 3


@pytest.mark.parametrize(
    ("mask", "grid"),
    [
        (TubeMask(ratio=0.9, move_one=True), (4, 2, 2)),
        (MultiBlockMask(spatial_scale=(1.0, 1.0), aspect_ratio=(1.0, 1.0), move_one=True), (2, 4, 4)),
        (MultiBlockMask(total_ratio=0.999, move_one=True), (2, 4, 4)),
        (ImageBlockMask(target_scale=(1.0, 1.0), aspect_ratio=(1.0, 1.0), move_one=True), (2, 4, 4)),
        (FutureMask(context_keep=0.01, move_one=True), (2, 3, 3)),
        (PartsMask(context=(0.01, 0.01), targets=(0.9, 0.9), move_one=True), (2, 3, 3)),
    ],
)
def test_the_last_resort_leaves_one_place_visible_where_else_nothing_is(mask, grid):
    with pytest.raises(MaskError):
        draw(replace(mask, move_one=False), grid)
    context_ids, target_ids = draw(mask, grid)
    whole_time = isinstance(mask, TubeMask | ImageBlockMask)
    assert context_ids.shape == (5, grid[0] if whole_time else 1)
    assert not isinstance(mask, MultiBlockMask) or target_ids.shape[1] == 31


@pytest.mark.parametrize(
    ("mask", "grid", "message"),
    [
        (PartsMask(), (1, 8, 8), r"ends \(0.5, 1.0\) leave a part of 1 time steps without any; enlarge the clip"),
        (PartsMask(targets=(0.0, 0.01)), (2, 3, 3), r"targets \(0.0, 0.01\) of 18 tokens .* is none; raise a share"),
        (MultiBlockMask(total_ratio=0.01), (2, 3, 3), "total_ratio 0.01 of 18 tokens is 0, but must be 1 to 17"),
        (TubeMask(ratio=0.9), (4, 2, 2), "ratio 0.9 of 4 places of a frame is 4, but must be 1 to 3; ratio 0.75 would"),
        (TubeMask(), (4, 1, 1), "ratio needs at least 2 places of a frame to divide, got 1; enlarge the clip"),
        (
            ImageBlockMask(target_scale=(1.0, 1.0), aspect_ratio=(1.0, 1.0)),
            (2, 4, 4),
            r"4 targets of \(4, 4\) in a context block of \(4, 4\) on a grid of \(2, 4, 4\) leave none; lower num_t",
        ),
        (FutureMask(), (1, 8, 8), "context_duration needs at least 2 time steps to divide, got 1; enlarge the clip"),
        (FutureMask(context_duration=0.9), (4, 8, 8), "context_duration 0.9 of 4 time steps is 4, but must be 1 to 3"),
        (FutureMask(context_keep=0.01), (2, 3, 3), "context_keep 0.01 of 9 early tokens is 0, but must be 1 to 9"),
        (FutureMask(target_keep=0.01), (2, 3, 3), "target_keep 0.01 of 9 late tokens is 0, but must be 1 to 9"),
        *[(mask, (1, 1, 1), "grid must be tokens in time, rows and columns") for mask in ALL],
    ],
)
def test_grids_on_which_a_setting_cannot_work_are_named(mask, grid, message):
    with pytest.raises(MaskError, match=message):
        draw(mask, grid)


@pytest.mark.parametrize("mask", ALL)
def test_no_clip_is_named(mask):
    with pytest.raises(MaskError, match="batch_size must be at least 1, got 0"):
        draw(mask, batch_size=0)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (TubeMask, {"ratio": 1.0}, r"ratio must be within \(0, 1\), got 1.0"),
        (TubeMask, {"ratio": 0.0}, r"ratio must be within \(0, 1\), got 0.0"),
        (ImageBlockMask, {"num_targets": 0}, "num_targets must be at least 1, got 0"),
        (ImageBlockMask, {"target_scale": (0.2, 0.1)}, "target_scale must be an ascending pair within"),
        (ImageBlockMask, {"aspect_ratio": (1.0, float("inf"))}, "aspect_ratio must be an ascending pair of finite"),
        (ImageBlockMask, {"context_scale": (0.5, 1.1)}, "context_scale must be an ascending pair within"),
        (ImageBlockMask, {"truncation": "last"}, "truncation must be 'first' or 'random', got 'last'"),
        (FutureMask, {"context_duration": 1.0}, r"context_duration must be within \(0, 1\), got 1.0"),
        (FutureMask, {"context_keep": 1.1}, r"context_keep must be within \(0, 1\], got 1.1"),
        (PartsMask, {"ends": (0.5, 0.9)}, r"ends must ascend from above 0 and end with 1, got \(0.5, 0.9\)"),
        (PartsMask, {"context": (0.8,)}, r"must have a number for each part, got \(2, 1, 2\)"),
        (PartsMask, {"targets": (0.3, 0.8)}, "must be shares that add up to at most 1 in each part"),
        (MultiBlockMask, {"sizes": "clip"}, "sizes must be 'batch' or 'block', got 'clip'"),
        (MultiBlockMask, {"total_ratio": 1.0}, r"total_ratio must be within \(0, 1\), got 1.0"),
        (
            MultiBlockMask,
            {"total_ratio": 0.5, "max_temporal_keep": 0.5},
            "total_ratio and max_temporal_keep below 1 ex",
        ),
        (FutureMask, {"target_keep": 0.0}, r"target_keep must be within \(0, 1\], got 0.0"),
    ],
)
def test_options_that_cannot_be_are_named(kind, options, message):
    with pytest.raises(ValueError, match=message):
        kind(**options)


def test_presets_by_name():
    assert preset_masks("small") == small_grid_masks()
    assert preset_masks("vjepa2") == vjepa2_masks()
    kinds = [type(preset_masks(name)[0]) for name in ("tubes", "images", "future")]
    assert kinds == [TubeMask, ImageBlockMask, FutureMask]
    with pytest.raises(ValueError, match=r"masks must be one of small, vjepa2, .*, got 'tube'"):
        preset_masks("tube")


def test_the_command_line_takes_options_of_the_default_and_presets():
    command = ["pretrain", "--data", "videos", "--out", "out"]
    assert parse(command)[1].masks.settings == small_grid_masks()
    first, second = parse([*command, "--masks.settings.0.num-blocks", "3", "--steps", "7"])[1].masks.settings
    assert (first.num_blocks, first.truncation) == (3, "random")
    assert second == small_grid_masks()[1]
    assert isinstance(second, MultiBlockMask)
    assert parse([*command, "--masks.preset", "future"])[1].masks.chosen() == (FutureMask(),)


def test_the_command_line_takes_settings_of_any_kind_as_words():
    command = ["pretrain", "--data", "videos", "--out", "out"]
    words = ("parts,context=0.9:0.1,targets=0.1:0.9", "blocks,num_blocks=3,total_ratio=0.8,sizes=block,move_one=true")
    chosen = parse([*command, "--masks.samplers", *words])[1].masks.chosen()
    assert chosen == (
        PartsMask(context=(0.9, 0.1), targets=(0.1, 0.9)),
        MultiBlockMask(num_blocks=3, total_ratio=0.8, sizes="block", move_one=True),
    )
    assert tuple(map(parse_mask, map(mask_text, chosen))) == chosen
    assert parse_mask("images,target_scale=0.1:0.2,truncation=random").target_scale == (0.1, 0.2)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("block,num_blocks=3", "unknown kind 'block', did you mean 'blocks'"),
        ("tubes,rate=0.5", "a mask of kind tubes has no option 'rate', did you mean 'ratio'"),
        ("tubes,ratio=much", "ratio of the mask 'tubes,ratio=much' cannot be 'much'"),
        ("tubes,move_one=1", "move_one of the mask 'tubes,move_one=1' cannot be '1'"),
        ("tubes,ratio=1.5", r"ratio must be within \(0, 1\), got 1.5"),
    ],
)
def test_words_that_are_no_mask_are_named(word, message):
    with pytest.raises(ValueError, match=message):
        parse_mask(word)
