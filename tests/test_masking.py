import pytest
import torch

from vjepa_wm.data.masking import MultiBlockConfig, block_size, sample_mask, vjepa2_masks

SHORT, LONG = vjepa2_masks()
GRID = (8, 16, 16)


def draw(config, grid=GRID, batch_size=6, step=0, seed=0):
    return sample_mask(config, grid, batch_size, step=step, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("config", "side", "sizes"),
    [
        (SHORT, 16, [(6, 7), (6, 6), (7, 6), (6, 6), (6, 7), (7, 5)]),
        (LONG, 16, [(12, 15), (14, 13), (15, 12), (13, 14), (12, 15), (16, 11)]),
        (SHORT, 24, [(8, 10), (10, 9), (10, 8), (9, 9), (8, 10), (11, 8)]),
        (LONG, 24, [(18, 22), (21, 20), (22, 18), (20, 20), (18, 22), (24, 17)]),
    ],
)
def test_block_sizes_are_the_published_ones(config, side, sizes):
    assert [block_size(config, (8, side, side), step) for step in range(6)] == [(8, *size) for size in sizes]


@pytest.mark.parametrize("config", [SHORT, LONG, *vjepa2_masks("random")])
def test_sets_are_ascending_disjoint_and_within_the_clip(config):
    mask = draw(config)
    for ids in mask:
        assert ids.dtype == torch.int64
        assert (ids.diff(dim=1) > 0).all()
        assert ids.min() >= 0
        assert ids.max() < 8 * 16 * 16
    for context, target in zip(*mask, strict=True):
        assert not set(context.tolist()) & set(target.tolist())


def test_one_clip_needs_no_cut_so_the_sets_are_complements():
    context, target = draw(SHORT, batch_size=1)
    assert sorted(context[0].tolist() + target[0].tolist()) == list(range(8 * 16 * 16))


def test_hidden_blocks_last_the_whole_clip():
    context, _ = draw(SHORT, batch_size=1)
    per_frame = [set((context[0][context[0] // 256 == t] % 256).tolist()) for t in range(8)]
    assert all(frame == per_frame[0] for frame in per_frame)


def test_shares_of_visible_and_hidden_tokens_are_the_measured_ones():
    shares = torch.tensor(
        [[ids.shape[1] / 2048 for ids in draw(SHORT, batch_size=1, step=s, seed=s)] for s in range(200)]
    )
    assert shares.mean(dim=0).tolist() == pytest.approx([0.376, 0.624], abs=0.02)


def test_first_truncation_drops_the_latest_tokens_and_random_does_not():
    late = {t: draw(MultiBlockConfig(truncation=t), batch_size=24).context_ids // 256 == 7 for t in ("first", "random")}
    assert late["first"].float().mean() < 0.5 * late["random"].float().mean()


def test_options():
    full = draw(MultiBlockConfig(full_complement=True))
    assert full.context_ids.shape[1] + full.target_ids.shape[1] == 2048
    pred_full = draw(MultiBlockConfig(pred_full_complement=True))
    assert pred_full.context_ids.shape[1] + pred_full.target_ids.shape[1] == 2048
    plain, inverse = draw(SHORT), draw(MultiBlockConfig(inverse=True))
    assert torch.equal(plain.context_ids, inverse.target_ids)
    assert draw(MultiBlockConfig(max_keep=10)).context_ids.shape[1] == 10
    early = draw(MultiBlockConfig(max_temporal_keep=0.5))
    assert early.context_ids.max() < 4 * 256


def test_the_generator_and_the_step_decide_everything():
    first, second = draw(SHORT, seed=3), draw(SHORT, seed=3)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not torch.equal(first.context_ids, draw(SHORT, seed=4).context_ids)


def test_a_mask_that_cannot_be_is_named():
    with pytest.raises(ValueError, match=r"2 blocks of \(1, 2, 2\) on a grid of \(1, 2, 2\) leave none"):
        draw(MultiBlockConfig(num_blocks=2, spatial_scale=(1.0, 1.0), aspect_ratio=(1.0, 1.0)), grid=(1, 2, 2))
    with pytest.raises(ValueError, match="spatial_scale must be an ascending pair"):
        MultiBlockConfig(spatial_scale=(0.7, 0.2))
