from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from point_model import PointModel
from point_world import SIDE, PointEnv, picture

from vjepa_wm.agents.cost import CostConfig
from vjepa_wm.agents.planning_agent import PlanningAgent, PlanningConfig
from vjepa_wm.planners import CEM, ActionBox, CEMConfig, vjepa2_box
from vjepa_wm.stages.planner_options import PlannerOptions
from vjepa_wm.stages.planning import StandRecipe

START = np.array([0.1, 0.1, 0.4, 0, 0, 0, 0])
GOAL = np.array([0.3, 0.12, 0.2, 0, 0, 0, 0])
PLANNER = CEM(CEMConfig(num_samples=100, num_elites=10, iterations=8))
CONFIG = PlanningConfig(horizon=1)


def planning_agent(config: PlanningConfig = CONFIG, planner=PLANNER, box=None) -> PlanningAgent:
    return PlanningAgent(PointModel(), planner, box or vjepa2_box(), config)


def drive(agent, env, steps: int, seed: int = 0) -> list[float]:
    obs, info = env.reset(options={"start": START, "goal": GOAL})
    agent.reset(info["goal"]["image"], seed)
    distances = [info["distance"]]
    for _ in range(steps):
        obs, _, _, _, info = env.step(agent.act(obs["image"], obs["state"]))
        distances.append(info["distance"])
    return distances


def test_the_first_action_is_the_known_best_one():
    agent = planning_agent()
    agent.reset(picture(GOAL), 0)
    action = agent.act(picture(START), START.astype(np.float32))
    assert action.dtype == np.float32
    np.testing.assert_allclose(action[:6], [0.075, 0.02, -0.075, 0, 0, 0], atol=4e-3)


@pytest.mark.parametrize("horizon", [1, 3])
@pytest.mark.parametrize("name", ["l1", "l2"])
def test_planning_reaches_the_goal(horizon, name):
    agent = planning_agent(replace(CONFIG, horizon=horizon, cost=CostConfig(energy=name)))
    distances = drive(agent, PointEnv(), steps=6)
    assert distances[0] > 0.25
    assert distances[-1] < 0.02


def test_summing_the_steps_arrives_where_the_last_step_alone_hovers():
    def final_distance(cost_steps: str) -> float:
        agent = planning_agent(PlanningConfig(horizon=3, cost=CostConfig(steps=cost_steps)))
        return float(np.mean([drive(agent, PointEnv(), steps=8, seed=seed)[-1] for seed in range(5)]))

    assert final_distance("sum") < 0.5 * final_distance("last")


def test_no_plan_leaves_the_limits_of_the_state():
    limits = ((0.0, 0.0, 0.0), (0.12, 0.5, 0.5))
    agent = planning_agent(PlanningConfig(horizon=1, state_limits=limits))
    agent.reset(picture(GOAL), 0)
    assert agent.act(picture(START), START)[0] == pytest.approx(0.02, abs=2e-3)
    outside = START + np.eye(7)[0] * 0.05
    assert agent.act(picture(outside), outside)[0] == pytest.approx(0.0, abs=1e-6)
    with pytest.raises(ValueError, match="state_limits must be a lower and an upper corner"):
        PlanningConfig(state_limits=(limits[1], limits[0]))
    with pytest.raises(ValueError, match="state_limits must be a lower and an upper corner"):
        PlanningConfig(state_limits=(limits[0], limits[1][:2]))


@pytest.mark.parametrize("horizon", [1, 3])
def test_discrete_numbers_are_lowest_zero_or_highest_in_every_candidate(horizon):
    seen = []

    class Watched(PlanningAgent):
        def _cost(self, actions):
            seen.append(actions)
            return super()._cost(actions)

    high = torch.tensor([0.075, 0.075, 0.075, 0.0, 0.0, 0.2, 0.7])
    planner = CEM(CEMConfig(num_samples=40, num_elites=5, iterations=3, keep_mean=True))
    agent = Watched(PointModel(), planner, ActionBox(-high, high, discrete=(2, 6)), PlanningConfig(horizon=horizon))
    drive(agent, PointEnv(), steps=3)
    candidates = torch.cat([actions.flatten(0, 1) for actions in seen])
    assert set(candidates[:, 6].tolist()) == {-high[6].item(), 0.0, high[6].item()}
    assert set(candidates[:, 2].tolist()) <= {-high[2].item(), 0.0, high[2].item()}
    assert len(candidates[:, 0].unique()) > 100  # the others are not
    assert len(seen) == 3 * (3 + 1) and seen[-1].shape == (1, horizon, 7)  # the plan itself is scored last


def test_a_discrete_number_that_would_leave_the_limits_stays_0():
    limits = PlanningConfig(horizon=1, state_limits=((0.0,), (0.15,)))
    agent = planning_agent(limits, box=ActionBox(*torch.tensor([[-0.06] * 7, [0.06] * 7]), discrete=(0,)))
    agent.reset(picture(GOAL), 0)
    steps = [agent.act(picture(place), place)[0] for place in (START, START + 0.01 * np.eye(7)[0])]
    assert steps == [0.0, 0.0]  # 5 and 4 cm are left to the right
    agent.reset(picture(START * 0), 0)
    assert agent.act(picture(START), START)[0] == pytest.approx(-0.06)


def test_last_energy_is_that_of_the_current_picture():
    agent = planning_agent(replace(CONFIG, cost=CostConfig(energy="l1")))
    agent.reset(picture(GOAL), 0)
    assert agent.last_energy is None
    agent.act(picture(START), START)
    expected = np.abs(START - GOAL)[:3].mean()
    assert agent.last_energy == pytest.approx(expected, abs=0.002)
    assert agent.measure(picture(START)) == pytest.approx(agent.last_energy, abs=1e-6)
    assert agent.measure(picture(GOAL)) == pytest.approx(0, abs=1e-6)
    assert agent.last_plan.cost < agent.last_energy


def test_another_goal_is_aimed_at_from_then_on():
    agent = planning_agent()
    agent.reset(picture(GOAL), 0)
    assert agent.act(picture(START), START)[0] > 0.05
    agent.show_goal(picture(START * 0))
    assert agent.measure(picture(START * 0)) == pytest.approx(0, abs=1e-6)
    assert agent.act(picture(START), START)[0] < -0.05


def test_goal_and_frame_are_encoded_once():
    agent = planning_agent()
    agent.reset(picture(GOAL), 0)
    agent.act(picture(START), START)
    agent.act(picture(START), START)
    assert agent.world_model.encoded_batches == [1, 1, 1]


def test_the_world_model_gets_the_recent_frames():
    agent = planning_agent(replace(CONFIG, context_frames=2))
    agent.reset(picture(GOAL), 0)
    for expected in (1, 2, 2):
        agent.world_model.contexts.clear()
        agent.act(picture(START), START)
        assert set(agent.world_model.contexts) == {(expected, expected)}
    agent.reset(picture(GOAL), 0)
    agent.world_model.contexts.clear()
    agent.act(picture(START), START)
    assert set(agent.world_model.contexts) == {(1, 1)}


class RecordingPlanner:
    """Passes on to CEM and keeps the warm starts."""

    def __init__(self) -> None:
        self.warm_starts: list[torch.Tensor | None] = []

    def plan(self, cost, *, warm_start=None, **rest):
        self.warm_starts.append(warm_start)
        return PLANNER.plan(cost, warm_start=warm_start, **rest)


def test_each_search_begins_at_the_rest_of_the_last_plan():
    planner = RecordingPlanner()
    agent = planning_agent(replace(CONFIG, horizon=3), planner=planner)
    agent.reset(picture(GOAL), 0)
    agent.act(picture(START), START)
    first = agent.last_plan.actions
    agent.act(picture(START), START)
    agent.reset(picture(GOAL), 0)
    agent.act(picture(START), START)
    assert planner.warm_starts[0] is None
    assert torch.equal(planner.warm_starts[1], torch.cat([first[1:], torch.zeros(1, 7)]))
    assert planner.warm_starts[2] is None


def test_a_warm_start_can_be_declined():
    planner = RecordingPlanner()
    agent = planning_agent(replace(CONFIG, warm_start=False), planner=planner)
    agent.reset(picture(GOAL), 0)
    agent.act(picture(START), START)
    agent.act(picture(START), START)
    assert planner.warm_starts == [None, None]


def test_the_seed_of_an_episode_decides_and_episodes_before_it_do_not():
    agent = planning_agent()
    first = drive(agent, PointEnv(), 4, seed=3)
    assert drive(agent, PointEnv(), 4, seed=4) != first
    assert drive(agent, PointEnv(), 4, seed=3) == first == drive(planning_agent(), PointEnv(), 4, seed=3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"horizon": 0}, "horizon must be at least 1, got 0"),
        ({"context_frames": 0}, "context_frames must be at least 1, got 0"),
    ],
)
def test_wrong_settings_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, **change)


def test_acting_before_an_episode_is_an_error():
    with pytest.raises(RuntimeError, match="reset"):
        planning_agent().act(picture(START), START)


def test_pictures_of_another_kind_are_named():
    with pytest.raises(ValueError, match=r"pictures must be uint8 \(H, W, 3\), got float64 \(8, 8, 3\)"):
        planning_agent().reset(np.full((8, 8, 3), SIDE), 0)


@pytest.mark.parametrize("row", ["search", "proposal_recovery"])
def test_plans_do_not_depend_on_the_number_of_threads(row):
    recipe = StandRecipe(task="reach", checkpoint=None, planner=PlannerOptions(num_samples=32), precision="fp32")
    agent, env, _ = recipe.make_stand(row)
    obs, info = env.reset(seed=0)
    before, actions = torch.get_num_threads(), []
    for threads in (1, 2, 4):
        torch.set_num_threads(threads)
        agent.reset(info["goal"]["image"], seed=0)
        actions.append(agent.act(obs["image"], obs["state"]))
    torch.set_num_threads(before)
    env.close()
    np.testing.assert_array_equal(actions[0], actions[1])
    np.testing.assert_array_equal(actions[0], actions[2])
