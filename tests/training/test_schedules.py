import pytest

from vjepa_wm.training.run.run_config import RunConfig
from vjepa_wm.training.run.schedules import WarmupConstantDecay, WarmupCosine, cosine_ramp, linear_ramp


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


def test_cosine_rises_falls_and_ends():
    rate = WarmupCosine(start=0.0, peak=1.0, end=0.1, warmup_steps=10, total_steps=110)
    assert [rate(0), rate(4), rate(9)] == pytest.approx([0.1, 0.5, 1.0])
    assert rate(59) == pytest.approx(0.55)
    assert rate(109) == pytest.approx(0.1)
    assert all(rate(step) > rate(step + 1) for step in range(9, 109))
    with pytest.raises(ValueError, match="warmup_steps 6 must fit into total_steps 5"):
        WarmupCosine(start=0.0, peak=1.0, end=0.0, warmup_steps=6, total_steps=5)
    assert [cosine_ramp(step, 1.0, 3.0, 5) for step in (0, 2, 4, 9)] == pytest.approx([1.0, 2.0, 3.0, 3.0])


def test_options_of_a_run_choose_the_schedules(tmp_path):
    run = RunConfig(out=tmp_path, steps=100, batch_size=1, schedule="cosine", weight_decay=0.04, weight_decay_end=0.4)
    assert isinstance(run.rate_schedule(), WarmupCosine)
    assert run.rate_schedule()(99) == pytest.approx(1e-6)
    assert [run.decay_at(0), run.decay_at(99)] == pytest.approx([0.04, 0.4])
    assert RunConfig(out=tmp_path, steps=100, batch_size=1).decay_at(99) == 0.04
