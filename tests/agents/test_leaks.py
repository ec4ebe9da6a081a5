"""Nothing but pictures and the robot's state leads an agent: one that cannot see does no better than chance."""

from __future__ import annotations

import numpy as np
import torch
from point_model import PointModel, PointProposal
from point_world import PointEnv

from vjepa_wm.agents.agent import ScriptedAgent
from vjepa_wm.agents.cost import CostConfig
from vjepa_wm.agents.planning_agent import PlanningAgent, PlanningConfig
from vjepa_wm.envs.policy import RandomPolicy
from vjepa_wm.evaluation.evaluated_episode import play_episode
from vjepa_wm.evaluation.protocol import make_protocol
from vjepa_wm.planners import CEM, CEMConfig, vjepa2_box

PROTOCOL = make_protocol(PointEnv(), name="point", task="point", num_episodes=30, steps=6, seed=0)


class Blind(PointModel):
    """Sees the same whatever is shown to it."""

    def encode(self, frames):
        return torch.zeros_like(super().encode(frames)) + 0.5


class Handed:
    """Counts what it is handed."""

    last_energy = None

    def __init__(self, wants_goal_state=False):
        self.kinds, self.wants_goal_state = set(), wants_goal_state

    def reset(self, *given):
        self.note("reset", given)

    def show_goal(self, *given):
        self.note("show_goal", given)

    def show_goal_state(self, *given):
        self.note("show_goal_state", given)

    def act(self, *given):
        self.note("act", given)
        return np.zeros(7, np.float32)

    def measure(self, *given):
        self.note("measure", given)

    def note(self, call, given):
        self.kinds.add((call, *(value.shape if isinstance(value, np.ndarray) else type(value) for value in given)))


def solved(agent, env):
    played = [play_episode(agent, env, PROTOCOL, episode, seed=k) for k, episode in enumerate(PROTOCOL.episodes)]
    return sum(one.result.reached[-1] for one in played)


def test_a_world_model_that_ignores_its_input_is_no_better_than_chance():
    planner = CEM(CEMConfig(num_samples=40, num_elites=6, iterations=4, keep_mean=True))
    sees, blind = (
        PlanningAgent(model(), planner, vjepa2_box(), PlanningConfig(horizon=1)) for model in (PointModel, Blind)
    )
    env = PointEnv()
    chance = solved(ScriptedAgent(lambda rng: RandomPolicy(rng, env.action_space)), env)
    assert solved(blind, env) <= chance + 2 < 15 < solved(sees, env)


def test_an_agent_is_handed_pictures_and_the_state_and_nothing_else():
    agent = Handed()
    play_episode(agent, PointEnv(), PROTOCOL, PROTOCOL.episodes[0], seed=0)
    picture = (32, 32, 3)
    assert agent.kinds == {("reset", picture, int), ("act", picture, (7,)), ("measure", picture)}


def test_only_who_asks_is_told_the_robots_state_at_the_goal():
    agent = Handed(wants_goal_state=True)
    play_episode(agent, PointEnv(), PROTOCOL, PROTOCOL.episodes[0], seed=0)
    assert ("show_goal_state", (7,)) in agent.kinds and len(agent.kinds) == 4
    for weight, source, wants in ((1.0, "given", True), (1.0, "read", False), (0.0, "given", False)):
        config = PlanningConfig(cost=CostConfig(state_weight=weight), goal_state=source)
        assert PlanningAgent(PointModel(PointProposal()), None, vjepa2_box(), config).wants_goal_state == wants
