from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from point_world import SIDE, PointEnv, PointWorld, picture

from vjepa_wm.evaluation.agents import PlanningAgent, PlanningConfig, RandomAgent, TrueDynamicsAgent, ZeroAgent
from vjepa_wm.planners import CEM, CEMConfig, vjepa2_box

START = np.array([0.1, 0.1, 0.4, 0, 0, 0, 0])
GOAL = np.array([0.3, 0.12, 0.2, 0, 0, 0, 0])
PLANNER = CEM(CEMConfig(num_samples=100, num_elites=10, iterations=8))
FAST_PLANNER = CEM(CEMConfig(num_samples=40, num_elites=6, iterations=5))
CONFIG = PlanningConfig(horizon=1)


def planning_agent(config: PlanningConfig = CONFIG, seed: int = 0, planner=PLANNER) -> PlanningAgent:
    return PlanningAgent(PointWorld(), planner, vjepa2_box(), config, torch.Generator().manual_seed(seed))


def true_dynamics_agent(env: PointEnv, simulator: PointEnv, config: PlanningConfig = CONFIG) -> TrueDynamicsAgent:
    generator = torch.Generator().manual_seed(0)
    return TrueDynamicsAgent(PointWorld(), FAST_PLANNER, vjepa2_box(), config, generator, env=env, simulator=simulator)


def drive(agent, env: PointEnv, steps: int) -> list[float]:
    obs, info = env.reset(options={"start": START, "goal": GOAL})
    agent.reset(info["goal"]["image"])
    distances = [info["distance"]]
    for _ in range(steps):
        obs, _, _, _, info = env.step(agent.act(obs["image"], obs["state"]))
        distances.append(info["distance"])
    return distances


def test_zero_agent_stands_still():
    agent = ZeroAgent()
    agent.reset(picture(GOAL))
    action = agent.act(picture(START), START)
    assert action.dtype == np.float32
    assert action.tolist() == [0.0] * 7
    assert agent.last_energy is None
    assert agent.measure(picture(START)) is None


def test_random_agent_fills_its_box_and_repeats_with_its_generator():
    low, high = -np.arange(1.0, 8.0), np.arange(1.0, 8.0)
    high[4] = low[4]

    def draw(seed: int) -> np.ndarray:
        agent = RandomAgent(low, high, np.random.default_rng(seed))
        agent.reset(picture(GOAL))
        return np.stack([agent.act(picture(START), START) for _ in range(500)])

    actions = draw(0)
    assert actions.dtype == np.float32
    assert (actions >= low).all()
    assert (actions <= high).all()
    assert (actions.max(axis=0) > low + 0.95 * (high - low) - 1e-6).all()
    assert np.array_equal(actions, draw(0))
    assert not np.array_equal(actions, draw(1))


@pytest.mark.parametrize(
    ("low", "high", "message"),
    [
        (np.zeros(6), np.ones(6), r"low and high must be \(7,\), got \(6,\) and \(6,\)"),
        (np.ones(7), np.zeros(7), "low must not exceed high"),
    ],
)
def test_random_agent_refuses_a_wrong_box(low, high, message):
    with pytest.raises(ValueError, match=message):
        RandomAgent(low, high, np.random.default_rng(0))


def test_the_first_action_is_the_known_best_one():
    agent = planning_agent()
    agent.reset(picture(GOAL))
    action = agent.act(picture(START), START.astype(np.float32))
    assert action.dtype == np.float32
    np.testing.assert_allclose(action[:6], [0.075, 0.02, -0.075, 0, 0, 0], atol=4e-3)


@pytest.mark.parametrize("horizon", [1, 3])
@pytest.mark.parametrize("name", ["l1", "l2"])
def test_planning_reaches_the_goal(horizon, name):
    agent = planning_agent(replace(CONFIG, horizon=horizon, energy=name))
    distances = drive(agent, PointEnv(), steps=6)
    assert distances[0] > 0.25
    assert distances[-1] < 0.02


def test_summing_the_steps_arrives_where_the_last_step_alone_hovers():
    def final_distance(cost_steps: str) -> float:
        distances = []
        for seed in range(5):
            agent = planning_agent(PlanningConfig(horizon=3, cost_steps=cost_steps), seed=seed)
            distances.append(drive(agent, PointEnv(), steps=8)[-1])
        return float(np.mean(distances))

    assert final_distance("sum") < 0.5 * final_distance("last")


def test_no_plan_leaves_the_workspace():
    workspace = ((0.0, 0.0, 0.0), (0.12, 0.5, 0.5))
    agent = planning_agent(PlanningConfig(horizon=1, workspace=workspace))
    agent.reset(picture(GOAL))
    assert agent.act(picture(START), START)[0] == pytest.approx(0.02, abs=2e-3)
    outside = START + np.eye(7)[0] * 0.05
    assert agent.act(picture(outside), outside)[0] == pytest.approx(0.0, abs=1e-6)
    with pytest.raises(ValueError, match="workspace must be a lower and an upper corner"):
        PlanningConfig(workspace=(workspace[1], workspace[0]))


def test_last_energy_is_that_of_the_current_picture():
    agent = planning_agent(replace(CONFIG, energy="l1"))
    agent.reset(picture(GOAL))
    assert agent.last_energy is None
    agent.act(picture(START), START)
    expected = np.abs(START - GOAL)[:3].mean()
    assert agent.last_energy == pytest.approx(expected, abs=0.002)
    assert agent.measure(picture(START)) == pytest.approx(agent.last_energy, abs=1e-6)
    assert agent.measure(picture(GOAL)) == pytest.approx(0, abs=1e-6)
    assert agent.last_plan.cost < agent.last_energy


def test_goal_and_frame_are_encoded_once():
    agent = planning_agent()
    agent.reset(picture(GOAL))
    agent.act(picture(START), START)
    agent.act(picture(START), START)
    assert agent.world_model.encoded_batches == [1, 1, 1]


def test_the_world_model_gets_the_recent_frames():
    agent = planning_agent(replace(CONFIG, context_frames=2))
    agent.reset(picture(GOAL))
    for expected in (1, 2, 2):
        agent.world_model.contexts.clear()
        agent.act(picture(START), START)
        assert set(agent.world_model.contexts) == {(expected, expected)}
    agent.reset(picture(GOAL))
    agent.world_model.contexts.clear()
    agent.act(picture(START), START)
    assert set(agent.world_model.contexts) == {(1, 1)}


class RecordingPlanner:
    """Passes on to CEM and keeps the warm starts."""

    def __init__(self) -> None:
        self.warm_starts: list[torch.Tensor | None] = []

    def plan(self, cost, *, horizon, action_space, warm_start=None, generator):
        self.warm_starts.append(warm_start)
        return PLANNER.plan(
            cost, horizon=horizon, action_space=action_space, warm_start=warm_start, generator=generator
        )


def test_each_search_begins_at_the_rest_of_the_last_plan():
    planner = RecordingPlanner()
    agent = planning_agent(replace(CONFIG, horizon=3), planner=planner)
    agent.reset(picture(GOAL))
    agent.act(picture(START), START)
    first = agent.last_plan.actions
    agent.act(picture(START), START)
    agent.reset(picture(GOAL))
    agent.act(picture(START), START)
    assert planner.warm_starts[0] is None
    assert torch.equal(planner.warm_starts[1], torch.cat([first[1:], torch.zeros(1, 7)]))
    assert planner.warm_starts[2] is None


def test_a_warm_start_can_be_declined():
    planner = RecordingPlanner()
    agent = planning_agent(replace(CONFIG, warm_start=False), planner=planner)
    agent.reset(picture(GOAL))
    agent.act(picture(START), START)
    agent.act(picture(START), START)
    assert planner.warm_starts == [None, None]


def test_equal_seeds_give_equal_actions():
    assert drive(planning_agent(seed=3), PointEnv(), 4) == drive(planning_agent(seed=3), PointEnv(), 4)
    assert drive(planning_agent(seed=3), PointEnv(), 4) != drive(planning_agent(seed=4), PointEnv(), 4)


@pytest.mark.parametrize("cost_steps", ["last", "sum"])
def test_true_dynamics_reach_the_goal_and_leave_the_environment_alone(cost_steps):
    env, simulator = PointEnv(), PointEnv()
    agent = true_dynamics_agent(env, simulator, PlanningConfig(horizon=1, cost_steps=cost_steps))
    distances = drive(agent, env, steps=5)
    assert distances[-1] < 0.02
    before = env.get_state()
    agent.act(picture(before), before)
    np.testing.assert_array_equal(env.get_state(), before)


def test_true_dynamics_know_what_the_model_does_not():
    # at the wall of the cube the point stops, which PointWorld's rollout does not know
    env, simulator = PointEnv(), PointEnv()
    agent = true_dynamics_agent(env, simulator, PlanningConfig(horizon=2))
    env.reset(options={"start": START * 0, "goal": GOAL})
    agent.reset(picture(GOAL))
    agent.act(picture(env.state), env.state)
    through_the_wall = torch.full((1, 2, 7), -0.075)
    torch.testing.assert_close(agent._imagine(through_the_wall), torch.zeros(1, 2, 1, 3))
    assert planning_agent_imagines(through_the_wall).max() < -0.07


def planning_agent_imagines(actions: torch.Tensor) -> torch.Tensor:
    agent = planning_agent()
    agent.reset(picture(GOAL))
    agent.act(picture(START * 0), START * 0)
    return agent._imagine(actions)


@pytest.mark.parametrize(("cost_steps", "renders"), [("last", 1), ("sum", 3)])
def test_true_dynamics_render_only_the_frames_that_count_and_encode_them_at_once(cost_steps, renders):
    env, simulator = PointEnv(), PointEnv()
    agent = true_dynamics_agent(env, simulator, PlanningConfig(horizon=3, cost_steps=cost_steps))
    drive(agent, env, steps=1)
    samples, iterations = FAST_PLANNER.config.num_samples, FAST_PLANNER.config.iterations
    assert simulator.num_renders == renders * (samples * iterations + 1)  # and once for the plan itself
    assert agent.world_model.encoded_batches == [1, 1] + [samples] * iterations + [1]


def test_true_dynamics_need_a_second_environment():
    env = PointEnv()
    with pytest.raises(ValueError, match="simulator must be another instance than env"):
        true_dynamics_agent(env, env)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"horizon": 0}, "horizon must be at least 1, got 0"),
        ({"context_frames": 0}, "context_frames must be at least 1, got 0"),
        ({"energy": "cosine"}, "unknown energy 'cosine'; known energies: l1, l2"),
        ({"cost_steps": "first"}, "cost_steps must be one of last, sum, got 'first'"),
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
        planning_agent().reset(np.full((8, 8, 3), SIDE))
