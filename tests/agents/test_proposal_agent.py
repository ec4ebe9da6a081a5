"""Agents that act by a proposal: which action they take of it, what a search makes of it, and that pictures are all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from point_world import POINT, PointEnv
from tiny_world_model import tiny_world_model

from vjepa_wm.agents.planning_agent import PlanningAgent, PlanningConfig, states_after
from vjepa_wm.agents.policy_rollouts import Imagination, branched, decided, roll_policy
from vjepa_wm.agents.proposal_agent import ProposalAgent, ProposingConfig
from vjepa_wm.agents.recovery import Recovery
from vjepa_wm.models.action_mixture import ActionMixture
from vjepa_wm.models.proposal import Proposal, ProposalConfig
from vjepa_wm.planners import CEM, ActionBox, CEMConfig, vjepa2_box

SIZE = torch.tensor(POINT.limits.size)
BOX = ActionBox(-SIZE, SIZE)


def world_model(near_energy=0.0):
    model = tiny_world_model()
    torch.manual_seed(0)
    form = ProposalConfig(encoder_dim=24, num_tokens=4, action_dim=7, state_dim=7, hidden_dim=16, num_modes=3)
    model.attach_proposal(Proposal(replace(form, near_energy=near_energy)))
    return model.eval()


class Says(torch.nn.Module):
    """A proposal that says the same of everything: stay with a weight of 0.7, go with 0.2, go back with 0.1."""

    def __init__(self, near_energy):
        super().__init__()
        self.near_energy = near_energy

    def forward(self, z, state, z_goal):
        mean = torch.zeros(3, 7)
        mean[1, 0], mean[2, 0] = 0.05, -0.05
        parts = torch.tensor([0.7, 0.2, 0.1]).log(), mean, torch.full((3, 7), 1e-4)
        return ActionMixture(*(part.expand(len(z), *part.shape) for part in parts))


def first_action(choice, near_energy, seed=0):
    model = tiny_world_model()
    model.proposal = Says(near_energy)
    agent = ProposalAgent(model, BOX, ProposingConfig(choice=choice))
    obs, info = PointEnv().reset(seed=0)
    agent.reset(info["goal"]["image"], seed)
    return agent.act(obs["image"], obs["state"])[0], agent


def test_what_is_taken_of_a_mixture():
    assert first_action("heaviest", -1.0)[0] == pytest.approx(0.0, abs=1e-6)
    assert first_action("moving", -1.0)[0] == pytest.approx(0.05, abs=1e-6)
    assert first_action("moving", 1e9)[0] == pytest.approx(0.0, abs=1e-6)  # the goal is near
    drawn = {round(float(first_action("mode", -1.0, seed)[0]), 4) for seed in range(40)}
    assert drawn == {0.0, 0.05, -0.05}
    draws = [float(first_action("drawn", -1.0, seed)[0]) for seed in range(10)]
    assert len({round(draw, 7) for draw in draws}) == 10


def test_plans_stay_within_the_limits_of_the_state():
    model = tiny_world_model()
    model.proposal = Says(-1.0)
    agent = ProposalAgent(model, BOX, ProposingConfig(choice="moving", state_limits=((0.0,) * 3, (0.2,) * 3)))
    _, info = PointEnv().reset(seed=0)
    agent.reset(info["goal"]["image"], 0)
    state = np.array([0.19, 0.1, 0.1, 0, 0, 0, 0], np.float32)
    assert agent.act(info["goal"]["image"], state)[0] == pytest.approx(0.01, abs=1e-6)


def act_twice(agent, goal, image, state):
    agent.reset(goal, 3)
    return np.stack([agent.act(image, state), agent.act(image, state)])


@pytest.mark.parametrize("kind", ["proposal", "search"])
def test_equal_seeds_act_equally_and_energy_is_told(kind):
    model, planner = world_model(), CEM(CEMConfig(num_samples=12, num_elites=3, iterations=2))
    obs, info = PointEnv().reset(seed=1)
    seen = info["goal"]["image"], obs["image"], obs["state"]
    agents = [
        ProposalAgent(model, BOX, ProposingConfig(choice="drawn"), Recovery(POINT.limits))
        if kind == "proposal"
        else PlanningAgent(model, planner, BOX, PlanningConfig(horizon=3, num_proposed=6), Recovery(POINT.limits))
        for _ in range(2)
    ]
    first, second = (act_twice(agent, *seen) for agent in agents)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, act_twice(agents[0], *seen))
    assert agents[0].last_energy == pytest.approx(agents[0].measure(obs["image"]))
    assert (np.abs(first) <= SIZE.numpy() + 1e-7).all()


def test_a_search_begins_with_what_is_proposed():
    class Recorder:
        """Notes the candidates and takes the first."""

        candidates = None

        def plan(self, cost, *, candidates, **rest):
            self.candidates = candidates
            costs = cost(candidates)
            assert costs.shape == (5,)
            return CEM(CEMConfig(num_samples=8, num_elites=2, iterations=1)).plan(cost, candidates=candidates, **rest)

    model, planner = world_model(), Recorder()
    agent = PlanningAgent(model, planner, BOX, PlanningConfig(horizon=4, num_proposed=5))
    obs, info = PointEnv().reset(seed=1)
    agent.reset(info["goal"]["image"], 0)
    agent.act(obs["image"], obs["state"])
    seen = agent.perception
    with torch.no_grad():
        mixture = model.proposal(seen.z[None], seen.state[None], seen.z_goal[None])
    means = BOX.project(mixture.mean[0, mixture.log_weights[0].argsort(descending=True)].clone())
    assert planner.candidates.shape == (5, 4, 7)
    torch.testing.assert_close(planner.candidates[:3, 0], means)


def test_a_policy_is_asked_again_at_every_imagined_step():
    model = world_model()
    z, state, z_goal = torch.randn(4, 24), torch.zeros(7), torch.randn(4, 24)
    first = torch.full((2, 7), 0.01)
    generator = torch.Generator().manual_seed(0)
    sequences = roll_policy(
        model.proposal,
        first,
        z_goal,
        Imagination(model, z, state, 2),
        horizon=3,
        action_space=vjepa2_box(1.0, 1.0),
        generator=generator,
    )
    generator.manual_seed(0)
    with torch.no_grad():
        for k in range(2):
            imagined = model.rollout(z[None, None].expand(2, -1, -1, -1), torch.zeros(2, 1, 7), sequences[:, : k + 1])
            states = states_after(sequences[:, : k + 1], torch.zeros(7))[:, -1]
            mixture = model.proposal(imagined[:, -1], states, z_goal[None])
            expected = vjepa2_box(1.0, 1.0).project(mixture.take(mixture.draw_modes(generator)))
            torch.testing.assert_close(sequences[:, k + 1], expected, atol=1e-5, rtol=1e-5)


def test_branches_are_the_modes_then_draws():
    with torch.no_grad():
        mixture = Says(0.0)(torch.zeros(1, 4, 24), None, None)
    firsts = branched(mixture, 6, torch.Generator().manual_seed(0))
    assert firsts.shape == (6, 7) and firsts[:3, 0].tolist() == pytest.approx([0.0, 0.05, -0.05])
    assert branched(mixture, 2, torch.Generator())[:, 0].tolist() == pytest.approx([0.0, 0.05])


def test_without_a_proposal_it_says_how_to_get_one():
    for make in (
        lambda: ProposalAgent(tiny_world_model(), BOX, ProposingConfig()),
        lambda: PlanningAgent(tiny_world_model(), None, BOX, PlanningConfig(num_proposed=3)),
    ):
        with pytest.raises(ValueError, match="has no proposal; train one with: vjepa-wm train-proposal"):
            make()
    with pytest.raises(ValueError, match="choice must be one of heaviest, moving, mode, drawn, got 'best'"):
        ProposingConfig(choice="best")


def test_a_gripper_opens_as_soon_as_it_is_clearly_asked_to():
    box = ActionBox(torch.tensor([-0.1, -1.0]), torch.tensor([0.1, 1.0]), discrete=(1,))
    proposed = torch.tensor([[0.03, -0.3], [-0.2, 0.05], [0.0, -0.1], [0.0, 0.6]])
    allowed = decided(proposed, box)
    torch.testing.assert_close(allowed, torch.tensor([[0.03, -1.0], [-0.1, 0.0], [0.0, 0.0], [0.0, 1.0]]))
    assert proposed[0, 1] == torch.tensor(-0.3)
