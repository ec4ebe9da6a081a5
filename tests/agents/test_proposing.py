"""A proposal of the user's own: what it is asked, and that what is no mixture of actions is named."""

from dataclasses import replace

import pytest
import torch
from tiny_world_model import tiny_world_model

from vjepa_wm.agents.proposing import OwnProposal, proposal_of
from vjepa_wm.models.action_mixture import ActionMixture

GOOD = ActionMixture(
    log_weights=torch.tensor([[0.25, 0.75]] * 3).log(), mean=torch.zeros(3, 2, 7), std=torch.ones(3, 2, 7)
)
Z, STATE, Z_GOAL = torch.zeros(3, 4, 24), torch.zeros(3, 7), torch.ones(1, 4, 24)


def ask(answer):
    return OwnProposal(lambda z, state, z_goal: answer, "mine:f", 7)(Z, STATE, Z_GOAL)


def test_it_is_given_one_goal_for_each_state_and_its_mixture_is_returned():
    shapes = []

    def propose(z, state, z_goal):
        shapes.append((z.shape, state.shape, z_goal.shape))
        assert torch.equal(z_goal, Z_GOAL.expand(3, 4, 24))
        return GOOD

    own = OwnProposal(propose, "mine:f", 7)
    assert own(Z, STATE, Z_GOAL) is GOOD and own.near_energy == 0.0
    assert shapes == [((3, 4, 24), (3, 7), (3, 4, 24))]
    propose.near_energy = 0.5
    assert OwnProposal(propose, "mine:f", 7).near_energy == 0.5


def test_a_mode_may_have_no_weight():
    none = replace(GOOD, log_weights=torch.tensor([[0.0, -torch.inf]] * 3))
    assert ask(none) is none


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (torch.zeros(3, 7), "proposal mine:f must return a vjepa_wm.models.action_mixture.ActionMixture, got Tensor"),
        (
            replace(GOOD, mean=torch.zeros(3, 2, 6)),
            r"must return mean \(3, 2, 7\), for 3 states, 2 modes and 7 numbers of an action, got \(3, 2, 6\)",
        ),
        (replace(GOOD, std=torch.ones(2, 7)), r"must return std \(3, 2, 7\), .* got \(2, 7\)"),
        (replace(GOOD, log_weights=torch.zeros(3)), r"must return log_weights \(3, 1\), .* got \(3,\)"),
        (replace(GOOD, mean=GOOD.mean / 0), "must return finite mean, got NaN or infinity"),
        (replace(GOOD, std=torch.zeros(3, 2, 7)), "must return positive std, got 0"),
        (
            replace(GOOD, log_weights=torch.zeros(3, 2)),
            "must return log_weights whose exponentials add up to 1, got 2; torch.log_softmax makes such",
        ),
        (replace(GOOD, log_weights=GOOD.log_weights * torch.nan), "exponentials add up to 1, got nan"),
    ],
)
def test_what_is_no_mixture_is_named(answer, message):
    with pytest.raises(ValueError, match=message):
        ask(answer)


def test_ones_own_takes_the_place_of_the_world_models():
    own = OwnProposal(lambda *_: GOOD, "mine:f", 7)
    assert proposal_of(tiny_world_model(), own) is own
    with pytest.raises(ValueError, match="has no proposal; train one with: vjepa-wm train-proposal"):
        proposal_of(tiny_world_model())
