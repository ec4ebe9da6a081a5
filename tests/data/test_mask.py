import re

import pytest
import torch

from vjepa_wm.data.masks.block_drawing import block_sizes, complement, cut, draw_blocks, draw_covered, draw_filled
from vjepa_wm.data.masks.mask import Mask, MaskError, check_mask, check_request
from vjepa_wm.data.masks.mask_options import count_share

GRID = (2, 2, 3)
GOOD = Mask(torch.tensor([[0, 3, 11], [1, 2, 3]]), torch.tensor([[1, 2], [0, 11]]))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_a_good_mask_comes_back_as_it_is():
    assert check_mask(GOOD, GRID) is GOOD


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"context_ids": torch.tensor([0, 3])},
            r"context_ids must be \(clips, tokens\) of int64, got \(2,\) of torch.i",
        ),
        (
            {"target_ids": torch.ones(2, 1)},
            r"target_ids must be \(clips, tokens\) of int64, got \(2, 1\) of torch.floa",
        ),
        (
            {"context_ids": torch.zeros(2, 0, dtype=torch.int64)},
            r"context_ids must have at least one clip and one token, got \(2, 0\); let the mask hide less of the grid",
        ),
        (
            {"target_ids": torch.zeros(2, 0, dtype=torch.int64)},
            r"target_ids must have at least one clip and one token, got \(2, 0\); let the mask hide more of the grid",
        ),
        (
            {"target_ids": torch.tensor([[1, 2], [0, 12]])},
            r"target_ids must be 0 to 11 on the grid .*, got 12 in clip 1",
        ),
        ({"context_ids": torch.tensor([[-1, 3], [1, 2]])}, r"context_ids must be 0 to 11 on .*, got -1 in clip 0"),
        ({"target_ids": torch.tensor([[2, 1], [0, 11]])}, "target_ids must be ascending .*, got 2 before 1 in clip 0"),
        ({"context_ids": torch.tensor([[3, 4], [5, 5]])}, "context_ids must be ascending .*, got 5 before 5 in clip 1"),
        ({"target_ids": torch.tensor([[1, 2]])}, "must be of the same clips, got 2 and 1 clips"),
        ({"target_ids": torch.tensor([[1, 2], [0, 3]])}, "must be disjoint, but both have token 3 of clip 1"),
    ],
)
def test_each_fault_of_a_mask_is_named(changed, message):
    with pytest.raises(MaskError, match=message):
        check_mask(GOOD._replace(**changed), GRID)


def test_a_mask_error_is_a_value_error():
    assert issubclass(MaskError, ValueError)


@pytest.mark.parametrize("grid", [(0, 4, 4), (1, 1, 1), (4, 4), (2, -2, -2)])
def test_grids_without_masks_are_named(grid):
    with pytest.raises(MaskError, match=rf"each at least 1 and together at least 2, got {re.escape(str(grid))}"):
        check_request(grid, 1)


def test_no_clip_is_named():
    with pytest.raises(MaskError, match="batch_size must be at least 1, got 0"):
        check_request(GRID, 0)


@pytest.mark.parametrize(
    ("share", "total", "largest", "best"), [(0.001, 9, 9, 1), (0.99, 9, 8, 8), (0.9999, 2048, 2047, 2047)]
)
def test_a_share_that_cannot_be_comes_with_the_nearest_that_can(share, total, largest, best):
    text = rf"ratio {share} of {total} places is \d+, but must be 1 to {largest}; ratio \S+ would do"
    with pytest.raises(MaskError, match=text) as found:
        count_share("ratio", share, total, "places", largest=largest)
    better = float(re.search(r"ratio (\S+) would do", str(found.value))[1])
    assert count_share("ratio", better, total, "places", largest=largest) == best


def test_too_few_things_to_divide_are_named():
    with pytest.raises(MaskError, match="ratio needs at least 2 places to divide, got 1; enlarge the clip"):
        count_share("ratio", 0.5, 1, "places", largest=0)


def test_a_block_is_never_empty_nor_larger_than_the_grid():
    wide = block_sizes((3, 2, 9), (), spatial_scale=(1.0, 1.0), aspect_ratio=(4.0, 4.0), generator=seeded())
    assert wide.tolist() == [3, 2, 2]
    tiny = {"spatial_scale": (0.01, 0.01), "aspect_ratio": (1.0, 1.0), "temporal_scale": (0.01, 0.01)}
    assert block_sizes((3, 2, 9), (), **tiny, generator=seeded()).tolist() == [1, 1, 1]


def test_blocks_reach_every_place_of_the_grid():
    drawn = draw_blocks((2, 3, 4), torch.tensor((1, 2, 2)), num_blocks=1, batch_size=200, generator=seeded())
    assert (drawn.flatten(1).sum(dim=1) == 4).all()
    assert drawn.any(dim=0).all()


def test_blocks_of_their_own_sizes_have_them_and_reach_every_place():
    sizes = torch.tensor([[[1, 2, 2], [2, 1, 4]]]).expand(200, -1, -1)
    drawn = draw_blocks((2, 3, 4), sizes, num_blocks=2, batch_size=200, generator=seeded())
    assert (drawn.sum(dim=2) == torch.tensor([4, 8])).all()
    assert drawn[:, 0].any(dim=0).all() and drawn[:, 1].any(dim=0).all()


def test_so_many_tokens_are_covered_by_the_first_blocks_and_part_of_the_next():
    blocks = torch.zeros(1, 3, 10, dtype=torch.bool)
    blocks[0, 0, 5:8] = blocks[0, 1, :4] = blocks[0, 2, 4:6] = True
    last = set()
    for seed in range(60):
        covered = draw_covered(lambda: blocks, 5, seeded(seed))[0]
        assert covered.sum() == 5 and covered[5:8].all()
        last.add(tuple(covered[:4].nonzero().flatten().tolist()))
    assert last == {(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)}
    assert draw_covered(lambda: blocks, 10, seeded()).all()  # blocks alone never cover the last two
    assert torch.equal(draw_covered(lambda: blocks, None, seeded()), blocks.any(dim=1))


def test_cut_keeps_chosen_tokens_only():
    chosen = torch.tensor([[True, False, True, True, False], [False, True, True, True, True]])
    assert cut(chosen, 2, "first", seeded()).tolist() == [[0, 2], [1, 2]]
    drawn = {tuple(cut(chosen, 2, "random", seeded(seed))[1].tolist()) for seed in range(100)}
    assert drawn == {(1, 2), (1, 3), (1, 4), (2, 3), (2, 4), (3, 4)}


def test_complement_is_the_rest():
    assert complement(torch.tensor([[0, 3], [1, 2]]), 5).tolist() == [[1, 2, 4], [0, 3, 4]]


def test_only_empty_clips_are_drawn_again():
    asked = []

    def draw(num_clips):
        asked.append(num_clips)
        context = torch.ones(num_clips, 2, dtype=torch.bool)
        if len(asked) == 1:
            context[1] = False
        return context, torch.ones(num_clips, 2, dtype=torch.bool)

    context, target = draw_filled(draw, 3, "nothing left")
    assert asked == [3, 1]
    assert context.all()
    assert target.all()


def test_clips_that_stay_empty_are_an_error():
    nothing, everything = torch.zeros(3, 2, dtype=torch.bool), torch.ones(3, 2, dtype=torch.bool)
    for sets in ((nothing, everything), (everything, nothing)):
        with pytest.raises(MaskError, match="nothing left"):
            draw_filled(lambda num_clips, sets=sets: tuple(places.clone() for places in sets), 3, "nothing left")


def test_the_last_resort_moves_one_token_of_the_other_set():
    everything, nothing = torch.ones(3, 2, dtype=torch.bool), torch.zeros(3, 2, dtype=torch.bool)
    for sets in ((nothing, everything), (everything, nothing)):
        context, target = draw_filled(
            lambda num_clips, sets=sets: tuple(places.clone() for places in sets), 3, "nothing left", seeded()
        )
        assert (context.sum(dim=1) == 1).all() and (target.sum(dim=1) == 1).all() and not (context & target).any()
    single = torch.tensor([[True, False]])
    with pytest.raises(MaskError, match="nothing left"):
        draw_filled(lambda num_clips: (~single & False, single.clone()), 1, "nothing left", seeded())
