from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch
from point_world import PointEnv, PointWorld, picture

import vjepa_wm.envs as envs
from vjepa_wm.evaluation.agents import PlanningAgent, PlanningConfig, TrueDynamicsAgent, ZeroAgent
from vjepa_wm.evaluation.evaluate import evaluate
from vjepa_wm.evaluation.protocol import make_protocol
from vjepa_wm.planners import CEM, CEMConfig, vjepa2_box
from vjepa_wm.planners.cem import cpu

PROTOCOL = make_protocol(PointEnv(), task="point", num_episodes=5, steps=8, seed=0)


class PassThrough(ZeroAgent):
    """Flies straight through the goal and on; keeps what it was given."""

    def __init__(self) -> None:
        self.given: list[tuple] = []

    def reset(self, goal_image):
        self.goal_image = goal_image

    def act(self, image, state):
        self.given.append((image, state))
        return np.concatenate([[0.06, 0, 0], np.zeros(4)]).astype(np.float32)


def fly_by_protocol():
    # the goal lies 0.18 ahead, and eight steps of 0.06 lead far beyond
    start, goal = (0.02, 0.1, 0.1, 0, 0, 0, 0), (0.2, 0.1, 0.1, 0, 0, 0, 0)
    episode = type(PROTOCOL.episodes[0])(seed=0, start=start, goal=goal)
    return type(PROTOCOL)(task="point", episodes=(episode,), steps=8, seed=0)


def test_a_planner_that_knows_the_world_solves_every_episode():
    agent = PlanningAgent(PointWorld(), CEM(cpu()), vjepa2_box(), PlanningConfig(), torch.Generator().manual_seed(0))
    result = evaluate(agent, PointEnv(), PROTOCOL, policy="world_model", progress=False)
    assert result.policy == "world_model"
    assert result.num_success_last == 5
    assert result.mean_final_distance < 0.03
    assert result.seconds_per_action > 0
    for episode, planned in zip(result.episodes, PROTOCOL.episodes, strict=True):
        assert episode.frames.shape == (9, 32, 32, 3)
        assert episode.distances.shape == episode.energies.shape == (9,)
        assert episode.distances[0] == pytest.approx(planned.distance, abs=1e-6)
        # the energy of the point world is the mean square of the distance along three axes
        np.testing.assert_allclose(episode.energies, episode.distances**2 / 3, atol=5e-4)
        np.testing.assert_array_equal(episode.goal_image, picture(np.array(planned.goal)))


def test_standing_still_solves_nothing():
    result = evaluate(ZeroAgent(), PointEnv(), PROTOCOL, policy="zero", progress=False)
    assert result.num_success_last == result.num_success_ever == 0
    assert all(episode.energies is None for episode in result.episodes)
    assert all(np.ptp(episode.distances) == 0 for episode in result.episodes)


def test_passing_the_goal_counts_as_ever_but_not_as_last():
    agent = PassThrough()
    result = evaluate(agent, PointEnv(), fly_by_protocol(), policy="fly", progress=False)
    assert (result.num_success_last, result.num_success_ever) == (0, 1)
    episode = result.episodes[0]
    expected = [0.18, 0.12, 0.06, 0.0, 0.06, 0.12, 0.18, 0.24, 0.30]
    np.testing.assert_allclose(episode.distances, expected, atol=1e-6)
    np.testing.assert_array_equal(agent.goal_image, episode.goal_image)
    for (image, state), frame in zip(agent.given, episode.frames[:-1], strict=True):
        np.testing.assert_array_equal(image, frame)
        assert state.shape == (7,)


def test_frames_are_kept_even_if_the_environment_reuses_its_buffer():
    class OneBuffer(PointEnv):
        def __init__(self):
            super().__init__()
            self.buffer = np.zeros((32, 32, 3), dtype=np.uint8)

        def observe(self):
            obs, info = super().observe()
            self.buffer[:] = obs["image"]
            return {**obs, "image": self.buffer}, info

    result = evaluate(PassThrough(), OneBuffer(), fly_by_protocol(), policy="fly", progress=False)
    assert len(np.unique(result.episodes[0].frames[:, 0, 0, 0])) == 9


def test_an_environment_that_ends_too_early_is_named():
    env = gymnasium.wrappers.TimeLimit(PointEnv(), max_episode_steps=3)
    with pytest.raises(ValueError, match="ended after 3 of 8 steps"):
        evaluate(ZeroAgent(), env, PROTOCOL, policy="zero", progress=False)


def test_an_environment_that_calls_the_start_solved_is_named():
    with pytest.raises(ValueError, match="is solved before the first action"):
        evaluate(ZeroAgent(), PointEnv(success_radius=1.0), PROTOCOL, policy="zero", progress=False)


def test_in_the_reach_task_true_dynamics_foresee_exactly_what_then_happens():
    env, simulator = envs.make("reach", image_size=32), envs.make("reach", image_size=32)
    protocol = make_protocol(env, task="reach", num_episodes=1, steps=2, seed=0)
    foreseen = []

    class Foreseeing(TrueDynamicsAgent):
        def act(self, image, state):
            action = super().act(image, state)
            foreseen.append(self.last_plan.cost)
            return action

    planner = CEM(CEMConfig(num_samples=8, num_elites=2, iterations=2))
    agent = Foreseeing(
        PointWorld(),  # of a rendered picture its latent is the mean colour
        planner,
        vjepa2_box(),
        PlanningConfig(horizon=1),
        torch.Generator().manual_seed(0),
        env=env,
        simulator=simulator,
    )
    episode = evaluate(agent, env, protocol, policy="true_dynamics", progress=False).episodes[0]
    assert episode.distances[0] == pytest.approx(protocol.episodes[0].distance, abs=1e-4)
    assert (np.diff(episode.distances) != 0).all()
    np.testing.assert_allclose(episode.energies[1:], foreseen, rtol=1e-5)
    env.close()
    simulator.close()
