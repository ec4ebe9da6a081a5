import pytest

from vjepa_wm.training.schedules import WarmupConstantDecay, linear_ramp


def test_published_run_of_the_action_conditioned_model():
    rate = WarmupConstantDecay(
        start=7.5e-5, peak=4.25e-4, end=0.0, warmup_steps=4500, decay_steps=4500, total_steps=94_500
    )
    assert rate(0) == pytest.approx(7.5e-5 + 3.5e-4 / 4500)
    assert rate(4499) == 4.25e-4
    assert rate(50_000) == 4.25e-4
    assert rate(94_500 - 2251) == pytest.approx(4.25e-4 * 2250 / 4500)
    assert rate(94_499) == 0.0


def test_parts_must_fit():
    with pytest.raises(ValueError, match="warmup_steps 6 and decay_steps 6 must fit into total_steps 10"):
        WarmupConstantDecay(start=0.0, peak=1.0, end=0.0, warmup_steps=6, decay_steps=6, total_steps=10)


def test_ramp_ends_where_it_should():
    assert [linear_ramp(step, 1.0, 3.0, 5) for step in (0, 2, 4, 9)] == [1.0, 2.0, 3.0, 3.0]
