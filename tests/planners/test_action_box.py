from __future__ import annotations

import pytest
import torch

from vjepa_wm.planners import ActionBox

BALL = {"norm_dims": (0, 1), "max_norm": 0.5}


def box(**changes) -> ActionBox:
    limits = {"low": torch.tensor([-1.0, -1.0, -2.0]), "high": torch.tensor([1.0, 1.0, 2.0])}
    return ActionBox(**{**limits, **BALL, **changes})


def test_what_is_too_long_becomes_shorter_in_its_direction_and_the_rest_stays():
    actions = torch.tensor([[0.6, 0.8, 1.5], [0.3, 0.4, 1.5], [-0.1, 0.2, -9.0], [9.0, 0.0, 0.0]])
    expected = torch.tensor([[0.3, 0.4, 1.5], [0.3, 0.4, 1.5], [-0.1, 0.2, -2.0], [0.5, 0.0, 0.0]])
    torch.testing.assert_close(box().project(actions), expected)
    assert actions[0, 0] == 0.6  # the caller's are left alone


def test_allowed_actions_stay_what_they_are_to_the_last_bit():
    drawn = 3 * torch.randn(5000, 4, 3, generator=torch.Generator().manual_seed(0))
    allowed = box().project(drawn)
    assert allowed[..., :2].norm(dim=-1).max() <= 0.5
    assert torch.equal(box().project(allowed), allowed)


def test_the_norm_goes_to_a_device_with_the_box():
    moved = box().to("cpu")
    assert (moved.norm_dims, moved.max_norm) == ((0, 1), 0.5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_norm": None}, r"norm_dims and a positive max_norm belong together, got \(0, 1\) and None"),
        ({"norm_dims": ()}, r"norm_dims and a positive max_norm belong together, got \(\) and 0.5"),
        ({"max_norm": 0.0}, r"norm_dims and a positive max_norm belong together, got \(0, 1\) and 0.0"),
        ({"norm_dims": (0, 3)}, r"norm_dims must name dimensions of 0 to 2 .*, got \[3\]"),
        ({"discrete": (1,)}, r"norm_dims must name .* not discrete, got \[1\]"),
        ({"low": torch.tensor([0.1, -1.0, -2.0])}, r"norm_dims must name .* that allow 0 .*, got \[0\]"),
    ],
)
def test_wrong_norms_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        box(**changes)
