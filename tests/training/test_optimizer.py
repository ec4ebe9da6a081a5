import math

import pytest
import torch

from vjepa_wm.training.run.optimizer import make_optimizer, take_step


def make() -> tuple[torch.nn.Linear, torch.optim.AdamW]:
    model = torch.nn.Linear(2, 1)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[2.0, -1.0]]))
        model.bias.fill_(0.5)
    return model, make_optimizer([model], 0.1)


def step(model, optimizer, **changes) -> float:
    """Take a step whose gradient is (3, 0) for the weights and 4 for the bias."""
    losses = [3.0 * model.weight[0, 0] + 0.0 * model.weight[0, 1] + 4.0 * model.bias.sum()]
    options = {"learning_rate": 0.01, "weight_decay": 0.5, "clip_grad_norm": None} | changes
    return float(take_step(optimizer, losses, **options))


def test_a_step_by_hand():
    model, optimizer = make()
    assert step(model, optimizer) == pytest.approx(5.0)
    # Adam's first step is the learning rate; only the matrix decays, by learning rate times weight decay.
    assert model.weight[0].tolist() == pytest.approx([2.0 * (1 - 0.005) - 0.01, -1.0 * (1 - 0.005)])
    assert model.bias.item() == pytest.approx(0.5 - 0.01)


def test_gradients_are_clipped_where_asked_and_the_norm_is_that_before():
    for limit, share in ((None, 1.0), (10.0, 1.0), (2.5, 0.5)):
        model, optimizer = make()
        assert step(model, optimizer, clip_grad_norm=limit) == pytest.approx(5.0)
        assert model.bias.grad.item() == pytest.approx(4.0 * share, rel=1e-5)


def test_a_loss_that_is_not_finite_changes_nothing():
    model, optimizer = make()
    options = {"learning_rate": 0.1, "weight_decay": 0.0, "clip_grad_norm": None}
    for cause in ("what it began with, or the data, is not finite", "lower learning_rate"):
        before = model.bias.item()
        with pytest.raises(FloatingPointError, match=f"the loss is nan; {cause}"):
            take_step(optimizer, [model.bias.sum() * math.nan], **options)
        assert model.bias.item() == before
        step(model, optimizer)  # after which it may be the learning rate's fault


def test_equal_runs_are_equal_bit_for_bit_and_a_saved_state_goes_on():
    results = []
    for stop in (None, 2):
        model, optimizer = make()
        for index in range(4):
            if index == stop:
                saved = optimizer.state_dict()
                optimizer = make_optimizer([model], 0.1)
                optimizer.load_state_dict(saved)
            step(model, optimizer)
        results.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert torch.equal(*results)
