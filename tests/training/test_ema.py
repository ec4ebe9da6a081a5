import torch

from vjepa_wm.training.pretrain.ema import make_target, update_target


def test_target_follows_the_algebra_and_never_trains():
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)
    target = make_target(model)
    start = target.weight.clone()
    history = []
    for _ in range(4):
        with torch.no_grad():
            model.weight.add_(torch.randn(2, 3))
        history.append(model.weight.detach().clone())
        update_target(target, model, 0.75)
    expected = 0.75**4 * start + sum(0.25 * 0.75 ** (3 - i) * weight for i, weight in enumerate(history))
    torch.testing.assert_close(target.weight, expected)
    assert not target.weight.requires_grad
