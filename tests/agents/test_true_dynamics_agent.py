from __future__ import annotations

import numpy as np
import pytest
import torch
from point_model import PointModel, PointProposal
from point_world import PointEnv, picture

import vjepa_wm.envs as envs
from vjepa_wm.agents.cost import CostConfig
from vjepa_wm.agents.planning_agent import PlanningAgent, PlanningConfig
from vjepa_wm.agents.true_dynamics_agent import TrueDynamicsAgent
from vjepa_wm.evaluation.evaluated_episode import play_episode
from vjepa_wm.evaluation.protocol import make_protocol
from vjepa_wm.planners import CEM, ActionBox, CEMConfig, vjepa2_box

START = np.array([0.1, 0.1, 0.4, 0, 0, 0, 0])
GOAL = np.array([0.3, 0.12, 0.2, 0, 0, 0, 0])
PLANNER = CEM(CEMConfig(num_samples=40, num_elites=6, iterations=5))


def true_dynamics_agent(env: PointEnv, simulator: PointEnv, **config) -> TrueDynamicsAgent:
    planning = PlanningConfig(**{"horizon": 1} | config)
    return TrueDynamicsAgent(PointModel(), PLANNER, vjepa2_box(), planning, env=env, simulator=simulator)


def drive(agent, env: PointEnv, steps: int) -> float:
    obs, info = env.reset(options={"start": START, "goal": GOAL})
    agent.reset(info["goal"]["image"], 0)
    for _ in range(steps):
        obs, _, _, _, info = env.step(agent.act(obs["image"], obs["state"]))
    return info["distance"]


@pytest.mark.parametrize("cost_steps", ["last", "sum"])
def test_true_dynamics_reach_the_goal_and_leave_the_environment_alone(cost_steps):
    env = PointEnv()
    agent = true_dynamics_agent(env, PointEnv(), cost=CostConfig(steps=cost_steps))
    assert drive(agent, env, steps=5) < 0.02
    before = env.get_state()
    agent.act(env.render(), before[:3])
    np.testing.assert_array_equal(env.get_state(), before)


def test_true_dynamics_know_what_the_model_does_not():
    # at the wall of the cube the point stops, which the model's rollout does not know
    env = PointEnv()
    agent = true_dynamics_agent(env, PointEnv(), horizon=2)
    env.reset(options={"start": START * 0, "goal": GOAL})
    agent.reset(picture(GOAL), 0)
    agent.act(env.render(), START * 0)
    through_the_wall = torch.full((1, 2, 7), -0.075)
    torch.testing.assert_close(agent._imagine(through_the_wall), torch.zeros(1, 2, 1, 3))
    assert PlanningAgent._imagine(agent, through_the_wall).max() < -0.07


@pytest.mark.parametrize(("cost_steps", "renders"), [("last", 1), ("sum", 3)])
def test_true_dynamics_render_only_the_frames_that_count_and_encode_them_at_once(cost_steps, renders):
    env, simulator = PointEnv(), PointEnv()
    agent = true_dynamics_agent(env, simulator, horizon=3, cost=CostConfig(steps=cost_steps))
    drive(agent, env, steps=1)
    samples, iterations = PLANNER.config.num_samples, PLANNER.config.iterations
    assert simulator._scene.num_pictures == renders * (samples * iterations + 1)  # and once for the plan itself
    assert agent.world_model.encoded_batches == [1, 1] + [samples] * iterations + [1]


def test_what_is_proposed_is_played_too():
    # the world model does not know that the wall of the cube stops the point
    env, simulator = PointEnv(), PointEnv()
    agent = TrueDynamicsAgent(
        PointModel(PointProposal()),
        PLANNER,
        vjepa2_box(),
        PlanningConfig(horizon=3, num_proposed=2),
        env=env,
        simulator=simulator,
    )
    env.reset(options={"start": START * 0, "goal": GOAL})
    agent.reset(picture(GOAL), 0)
    agent.act(env.render(), START * 0)
    before = env.get_state()
    outward = torch.zeros(1, 7)
    outward[:, 0] = -0.075
    z, states = agent._advance(1)(outward)
    assert z.abs().max() < 1e-6 and states.abs().max() < 1e-6
    sequence = agent._propose(vjepa2_box())[0, :, 1]  # toward 0.12 m
    torch.testing.assert_close(sequence, torch.tensor([0.075, 0.045, 0.0]), atol=3e-3, rtol=0)
    np.testing.assert_array_equal(env.get_state(), before)


@pytest.mark.parametrize("cost_steps", ["last", "sum"])
def test_what_was_proposed_is_not_played_again(cost_steps, monkeypatch):
    env, simulator = PointEnv(), PointEnv()
    config = PlanningConfig(horizon=3, num_proposed=2, cost=CostConfig(steps=cost_steps))
    agent = TrueDynamicsAgent(PointModel(PointProposal()), PLANNER, vjepa2_box(), config, env=env, simulator=simulator)
    env.reset(options={"start": START, "goal": GOAL})
    agent.reset(picture(GOAL), 0)
    agent.act(env.render(), START)
    candidates = torch.cat((torch.zeros(3, 3, 7), agent._propose(vjepa2_box())))
    whole, imagine, played = agent._imagine(candidates), agent._imagine, []
    monkeypatch.setattr(agent, "_imagine", lambda actions: played.append(len(actions)) or imagine(actions))
    torch.testing.assert_close(agent._foresee(candidates), whole)
    assert played == [3]
    torch.testing.assert_close(agent._foresee(candidates.flip(0)), whole.flip(0))  # others are
    assert played == [3, 5]


def test_true_dynamics_need_a_second_environment():
    env = PointEnv()
    with pytest.raises(ValueError, match="simulator must be another instance than env"):
        true_dynamics_agent(env, env)


@pytest.mark.parametrize("task", ["reach", "two_room"])
def test_true_dynamics_foresee_exactly_what_then_happens(task):
    env, simulator = envs.make(task, image_size=32), envs.make(task, image_size=32)
    protocol = make_protocol(env, name="two steps", task=task, num_episodes=1, steps=2, seed=0)
    limits = envs.find_task(task).limits
    high, foreseen = torch.tensor(limits.size), []

    class Foreseeing(TrueDynamicsAgent):
        def act(self, image, state):
            action = super().act(image, state)
            foreseen.append(self.last_plan.cost)
            return action

    planner = CEM(CEMConfig(num_samples=8, num_elites=2, iterations=2))
    agent = Foreseeing(
        PointModel(),  # of a rendered picture its latent is the mean colour
        planner,
        ActionBox(-high, high),
        PlanningConfig(horizon=1),
        env=env,
        simulator=simulator,
    )
    result = play_episode(agent, env, protocol, protocol.episodes[0], seed=0).result
    assert (np.diff(result.distances) != 0).all()
    np.testing.assert_allclose(result.energies[1:], foreseen, rtol=1e-5)
    env.close()
    simulator.close()
