from dataclasses import replace

import pytest
import torch

from vjepa_wm.agents.cost import ActionPrior, CostConfig, GoalDistance, Imagined, StateDistance
from vjepa_wm.agents.sum_of_parts import make_cost
from vjepa_wm.models.proposal import Proposal, ProposalConfig

GENERATOR = torch.Generator().manual_seed(0)
IMAGINED = Imagined(
    z=torch.randn(5, 3, 4, 6, generator=GENERATOR),
    actions=torch.randn(5, 3, 2, generator=GENERATOR),
    z_start=torch.randn(4, 6, generator=GENERATOR),
    z_goal=torch.randn(4, 6, generator=GENERATOR),
    state=torch.zeros(2),
)
PROPOSAL = Proposal(ProposalConfig(encoder_dim=6, num_tokens=4, action_dim=2, state_dim=2, hidden_dim=8))
GAP = IMAGINED.z - IMAGINED.z_goal
L2 = GAP.square().mean(dim=(-1, -2))


def test_which_frames_count():
    expected = {
        "last": L2[:, 2],
        "sum": L2.sum(dim=1),
        "least": L2.min(dim=1).values,
        "discounted": L2[:, 0] + 0.5 * L2[:, 1] + 0.25 * L2[:, 2],
    }
    for steps, costs in expected.items():
        torch.testing.assert_close(GoalDistance(CostConfig(steps=steps, discount=0.5))(IMAGINED), costs)


def test_every_energy_is_its_formula():
    cosines = torch.cosine_similarity(IMAGINED.z, IMAGINED.z_goal.expand_as(IMAGINED.z), dim=-1)
    expected = {"l1": GAP.abs().mean(dim=(-1, -2)), "l2": L2, "cosine": 1 - cosines.mean(dim=-1)}
    for name, energies in expected.items():
        torch.testing.assert_close(GoalDistance(CostConfig(energy=name))(IMAGINED), energies.sum(dim=1))


def test_readings_are_compared_token_by_token():
    config = CostConfig(energy="reading", steps="last")
    with torch.no_grad():
        read, goal = PROPOSAL.read_tokens(IMAGINED.z[:, -1]), PROPOSAL.read_tokens(IMAGINED.z_goal)
        costs = make_cost(config, (), proposal=PROPOSAL)(IMAGINED)
    torch.testing.assert_close(costs, (read - goal).square().mean(dim=(-1, -2)))
    assert config.latent_energy == "l2"  # of what is seen, which the reader's radius is not known for
    with pytest.raises(ValueError, match="energy must be l1, l2 or cosine for a world model without a proposal"):
        make_cost(config, ())


def test_scenes_are_compared_without_the_robot():
    config = CostConfig(energy="scene", steps="last")
    seeing = Proposal(replace(PROPOSAL.config, scene_dim=3))
    seeing.scene_unit.fill_(2.0)
    with torch.no_grad():
        codes, goal = seeing.scene_code(IMAGINED.z[:, -1]), seeing.scene_code(IMAGINED.z_goal[None])
        costs = make_cost(config, (), proposal=seeing)(IMAGINED)
    torch.testing.assert_close(costs, (codes - goal).square().sum(dim=-1) / 2.0)
    assert config.latent_energy == "l2"
    with pytest.raises(ValueError, match="the proposal has no code of the scene; train-proposal makes one unless"):
        make_cost(config, (), proposal=PROPOSAL)
    with pytest.raises(ValueError, match="energy must be l1, l2 or cosine for a world model without a proposal, got s"):
        make_cost(config, ())
    with pytest.raises(ValueError, match="patch_weights must be none for scene, which is no energy of patches"):
        CostConfig(energy="scene", patch_weights="change")


def test_patches_that_must_change_count_more():
    z_goal = IMAGINED.z_start.clone()
    z_goal[2] += 1.0
    goal = replace(IMAGINED, z_goal=z_goal)
    weighted = GoalDistance(CostConfig(patch_weights="change", steps="last"))(goal)
    torch.testing.assert_close(weighted, (goal.z[:, -1, 2] - z_goal[2]).square().mean(dim=-1))


def test_actions_are_free_up_to_twice_their_deviation():
    actions = torch.tensor([[[0.1, 0.0]], [[0.3, -0.5]]])
    costs = ActionPrior((0.1, 0.2), 3.0)(replace(IMAGINED, actions=actions))
    torch.testing.assert_close(costs, torch.tensor([0.0, 3.0 * (1.0**2 + 0.5**2)]))


def test_steps_that_are_left_are_the_proposals():
    config = CostConfig(distance_weight=0.5, steps="last")
    with torch.no_grad():
        left = PROPOSAL.steps_left(IMAGINED.z[:, -1], IMAGINED.z_goal[None])
        costs = make_cost(config, (), proposal=PROPOSAL)(IMAGINED)
    torch.testing.assert_close(costs, GoalDistance(config)(IMAGINED) + 0.5 * left)
    with pytest.raises(ValueError, match="must be 0 for a world model without a proposal"):
        make_cost(config, ())


def test_a_prior_is_what_the_proposal_says_of_the_first_action():
    config = CostConfig(prior_weight=0.5)
    with torch.no_grad():
        rest = GoalDistance(config)(IMAGINED)
        one = (IMAGINED.z_start[None], IMAGINED.state[None], IMAGINED.z_goal[None])
        densities = torch.stack([PROPOSAL(*one).log_prob(action[None])[0] for action in IMAGINED.actions[:, 0]])
        costs = make_cost(config, (), proposal=PROPOSAL)(IMAGINED)
        own = make_cost(config, (), proposes=lambda *given: PROPOSAL(*given))(IMAGINED)
    torch.testing.assert_close(costs, rest - 0.5 * densities)
    torch.testing.assert_close(own, costs)
    with pytest.raises(ValueError, match="prior_weight must be 0 without a proposal"):
        make_cost(config, ())


def test_states_count_in_units_of_their_deviation():
    states = torch.randn(5, 3, 2, generator=GENERATOR)
    imagined = replace(IMAGINED, states=states, state_goal=torch.tensor([0.1, -0.2]))
    config = CostConfig(state_weight=3.0, steps="sum")
    off = ((states - torch.tensor([0.1, -0.2])) / torch.tensor([0.5, 2.0])).square().mean(dim=-1)
    torch.testing.assert_close(StateDistance(torch.tensor([0.5, 2.0]), config)(imagined), 3 * off.sum(dim=1))


def test_parts_add_up_and_the_users_is_one():
    config = CostConfig(action_weight=1.0)
    alone = make_cost(config, (1.0, 1.0))(IMAGINED)
    torch.testing.assert_close(alone, GoalDistance(config)(IMAGINED) + ActionPrior((1.0, 1.0), 1.0)(IMAGINED))
    mine = make_cost(config, (1.0, 1.0), lambda one: one.z[:, 0, 0, 0])
    torch.testing.assert_close(mine(IMAGINED), alone + IMAGINED.z[:, 0, 0, 0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"energy": "l3"}, "energy must be one of l1, l2, cosine, reading, scene, got 'l3'"),
        ({"steps": "first"}, "steps must be one of last, sum, discounted, least, got 'first'"),
        ({"patch_weights": "all"}, "patch_weights must be one of none, change, got 'all'"),
        ({"discount": 0.0}, "discount must be above 0 and at most 1, got 0.0"),
        ({"action_weight": -1.0}, "action_weight must be at least 0, got -1.0"),
        ({"distance_weight": float("inf")}, "distance_weight must be at least 0 and finite, got inf"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        CostConfig(**options)


def test_actions_of_unknown_scale_cannot_be_weighed():
    with pytest.raises(ValueError, match="action_weight must be 0 for a world model that was trained on raw actions"):
        make_cost(CostConfig(action_weight=1.0), ())
