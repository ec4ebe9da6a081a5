import numpy as np
import pytest
import torch

from vjepa_wm.data.latents.hindsight import first_arrivals, later_rows
from vjepa_wm.data.latents.latent_set import LatentSet
from vjepa_wm.data.latents.window_mixture import WindowMixture
from vjepa_wm.data.randomness import generator_for

CPU = torch.device("cpu")


def latent_set(*lengths, action_dim=2, offset=0.0):
    """Latents that are the number of their row, so that it shows which were read."""
    total = sum(lengths)
    rows = np.arange(total, dtype=np.float32) + offset
    return LatentSet(
        z=np.broadcast_to(rows[:, None, None], (total, 4, 3)).astype(np.float16),
        states=rows[:, None].repeat(2, axis=1),
        actions=rows[:, None].repeat(action_dim, axis=1),
        objects=None,
        firsts=np.cumsum(lengths) - lengths,
        lengths=np.array(lengths),
    )


def test_windows_stay_within_episodes():
    latents = latent_set(4, 1, 3)
    assert latents.window_starts(3).tolist() == [0, 1, 5]
    assert latents.window_starts(1).tolist() == list(range(8))
    assert latents.window_starts(5).size == 0
    z, actions, states = latents.windows(np.array([5, 0]), 3, CPU)
    assert z.shape == (2, 3, 4, 3) and z[:, :, 0, 0].tolist() == [[5, 6, 7], [0, 1, 2]]
    assert actions[:, :, 0].tolist() == states[:, :, 1].tolist() == [[5, 6, 7], [0, 1, 2]]


def test_parts_share_the_arrays_and_know_their_own_ends():
    latents = latent_set(4, 1, 3, 2)
    part = latents.part([2, 0])
    assert part.z is latents.z and part.frames().tolist() == [5, 6, 7, 0, 1, 2, 3]
    assert part.episode_ends(np.array([6, 0, 3])).tolist() == [7, 3, 3]
    train, val = latents.split(0.25, seed=0)
    assert sorted([*train.firsts, *val.firsts]) == [0, 4, 5, 8] and val.num_episodes == 1
    with pytest.raises(ValueError, match="validation_share must leave at least one of 4 episodes"):
        latents.split(0.0, seed=0)


def drawn(mixture, steps, batch_size):
    counts = [np.zeros(len(one.z), int) for one in mixture.sets]
    for step in range(steps):
        parts = mixture.draw(step, batch_size)
        assert sum(len(rows) for _, rows in parts) == batch_size
        for owner, rows in parts:
            np.add.at(counts[owner], rows, 1)
    return counts


def test_sets_are_dealt_by_weight_and_every_window_as_often():
    mixture = WindowMixture([latent_set(6, 6), latent_set(26)], 2, weights=(3, 1))
    first, second = drawn(mixture, steps=100, batch_size=100)
    assert first.sum() == 7500 and second.sum() == 2500
    assert set(first[[0, 1, 2, 3, 4, 6, 7, 8, 9, 10]]) == {750} and first[[5, 11]].sum() == 0
    assert set(second[:25]) == {100}


def test_without_weights_every_window_counts_the_same():
    first, second = drawn(WindowMixture([latent_set(11), latent_set(31)], 2), steps=100, batch_size=100)
    assert set(first[:10]) == set(second[:30]) == {250}


def test_half_of_the_windows_show_motion():
    moving = np.zeros(41, bool)
    moving[[7, 8, 20]] = True
    mixture = WindowMixture([latent_set(41)], 3, moving=[moving], weights=(1,))
    (counts,) = drawn(mixture, steps=100, batch_size=100)
    shows = moving[:-1] | moving[1:]
    assert counts[:39][shows[:39]].sum() == counts.sum() / 2


def test_a_step_is_known_from_its_number():
    def make():
        return WindowMixture([latent_set(30), latent_set(40, offset=100)], 4, seed=3)

    late = make().windows(50, 8, CPU)
    mixture = make()
    for step in range(50):
        mixture.draw(step, 8)
    assert all(torch.equal(a, b) for a, b in zip(late, mixture.windows(50, 8, CPU), strict=True))
    other = WindowMixture([latent_set(30), latent_set(40, offset=100)], 4, seed=4)
    assert not torch.equal(late[0], other.windows(50, 8, CPU)[0])


def test_shares_of_a_step_are_the_whole_step():
    mixture = WindowMixture([latent_set(30), latent_set(40, offset=100)], 4, seed=3)
    whole = mixture.windows(5, 12, CPU)
    for count in (1, 2, 3, 12):
        shares = [mixture.windows(5, 12, CPU, share=(which, count)) for which in range(count)]
        assert {len(share[0]) for share in shares} == {12 // count}
        assert all(torch.equal(torch.cat(parts), all_) for *parts, all_ in zip(*shares, whole, strict=True))


def test_spread_windows_cover_all_sets_in_order():
    mixture = WindowMixture([latent_set(11), latent_set(11)], 2)
    assert [(owner, rows.tolist()) for owner, rows in mixture.spread(4)] == [(0, [0, 6]), (1, [2, 9])]
    assert sum(len(rows) for _, rows in mixture.spread(100)) == 20


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match="no episode holds a window of 9 frames"):
        WindowMixture([latent_set(4)], 9)
    with pytest.raises(ValueError, match="weights must be one for each of 1 data sets"):
        WindowMixture([latent_set(4)], 2, weights=(1, 1))
    with pytest.raises(ValueError, match=r"must have actions of one shape, the first has \(2,\), number 2 has \(7,\)"):
        WindowMixture([latent_set(4), latent_set(4, action_dim=7)], 2)


def test_goals_come_later_in_the_same_episode():
    latents = latent_set(30, 50)
    rows = np.concatenate([np.arange(29), 30 + np.arange(49)]).repeat(200)
    goals = later_rows(latents, rows, end_share=0.5, max_ahead=None, generator=generator_for(0))
    ends = np.where(rows < 30, 29, 79)
    assert (goals > rows).all() and (goals <= ends).all()
    early = rows < 5
    at_end = (goals == ends)[early].mean()
    assert 0.47 < at_end < 0.57  # half, and the share of the others that hit it by chance
    others = (goals - rows)[early & (goals < ends)]
    assert np.ptp(others) == 27 and abs(others.mean() - 14) < 1


def test_goals_may_be_near():
    latents = latent_set(50)
    goals = later_rows(latents, np.zeros(500, int), end_share=0.0, max_ahead=4, generator=generator_for(0))
    assert sorted(set(goals)) == [1, 2, 3, 4]
    assert set(later_rows(latents, np.zeros(9, int), end_share=1.0, max_ahead=4, generator=generator_for(0))) == {49}


def test_who_waits_at_a_goal_has_arrived():
    latents = latent_set(6, 3)
    latents.z[:6] = np.array([0, 1, 2, 1, 1, 1], np.float16)[:, None, None]
    latents.z[6:] = np.array([5, 5, 9], np.float16)[:, None, None]
    assert first_arrivals(latents, near=0.1).tolist() == [0, 1, 2, 3, 3, 3, 6, 6, 8]
    assert first_arrivals(latents, near=1.5).tolist() == [0, 0, 1, 0, 0, 0, 6, 6, 8]
    assert first_arrivals(latents.part([1]), near=0.1).tolist() == [0, 1, 2, 3, 4, 5, 6, 6, 8]
