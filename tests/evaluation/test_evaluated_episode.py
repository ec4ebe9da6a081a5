from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from point_model import PointModel, PointProposal
from point_world import PointEnv, picture, seen

from vjepa_wm.agents.agent import ScriptedAgent, StandStill
from vjepa_wm.agents.cost import CostConfig
from vjepa_wm.agents.ordered_goals import OrderedGoals
from vjepa_wm.agents.planning_agent import PlanningAgent, PlanningConfig
from vjepa_wm.agents.proposal_agent import ProposalAgent, ProposingConfig
from vjepa_wm.evaluation.evaluated_episode import EpisodeResult, play_episode
from vjepa_wm.evaluation.protocol import Episode, EvaluationProtocol, make_protocol
from vjepa_wm.planners import CEM, vjepa2_box
from vjepa_wm.planners.cem import cpu

PROTOCOL = make_protocol(PointEnv(), name="point", task="point", num_episodes=5, steps=8, seed=0)
# The goal lies 0.18 ahead, and eight steps of 0.06 lead far beyond.
FLY_BY = Episode(seed=0, options={"start": [0.02, 0.1, 0.1], "goal": [0.2, 0.1, 0.1]})
ZERO = ScriptedAgent(lambda rng: StandStill(7))


class PassThrough:
    """Flies straight through the goal and on; keeps what it was given."""

    last_energy = None
    wants_goal_state = False

    def __init__(self) -> None:
        self.given, self.goals, self.seeds = [], [], []

    def reset(self, goal_image, seed):
        self.goals.append((len(self.given), goal_image))
        self.seeds.append(seed)

    def show_goal(self, goal_image):
        self.goals.append((len(self.given), goal_image))

    def act(self, image, state):
        self.given.append((image, state))
        return np.concatenate([[0.06, 0, 0], np.zeros(4)]).astype(np.float32)

    def measure(self, image):
        return None


def protocol(**changes):
    settings = {"name": "p", "task": "point", "steps": 8, "episodes": (FLY_BY,)} | changes
    return EvaluationProtocol(**settings)


def test_a_planner_that_knows_the_world_solves_every_episode():
    agent = PlanningAgent(PointModel(), CEM(cpu()), vjepa2_box(), PlanningConfig())
    env = PointEnv()
    for episode in PROTOCOL.episodes:
        played = play_episode(agent, env, PROTOCOL, episode, seed=0)
        result, frames = played.result, played.rollout.frames
        assert result.success_last and result.success_ever and result.distances[-1] < 0.04
        assert result.seconds_per_action > 0 and result.seed == episode.seed
        assert frames.shape == (9, 32, 32, 3)
        assert len(result.distances) == len(result.energies) == len(result.reached) == 9
        obs, info = env.reset(seed=episode.seed)
        assert result.distances[0] == info["distance"]
        np.testing.assert_array_equal(frames[0], obs["image"])
        # the energy of the point world is the mean square of the distance along three axes
        np.testing.assert_allclose(result.energies, np.square(result.distances) / 3, atol=5e-4)
        assert list(played.goal_pictures) == [0]
        np.testing.assert_array_equal(played.goal_pictures[0], info["goal"]["image"])


def test_standing_still_solves_nothing():
    for episode in PROTOCOL.episodes:
        result = play_episode(ZERO, PointEnv(), PROTOCOL, episode, seed=0).result
        assert not result.success_last and not result.success_ever
        assert result.energies is None and np.ptp(result.distances) == 0


def test_passing_the_goal_counts_as_ever_but_not_as_last():
    agent = PassThrough()
    played = play_episode(agent, PointEnv(), protocol(), FLY_BY, seed=5)
    assert (played.result.success_last, played.result.success_ever) == (False, True)
    assert played.result.reached == (False, False, False, True, False, False, False, False, False)
    expected = [0.18, 0.12, 0.06, 0.0, 0.06, 0.12, 0.18, 0.24, 0.30]
    np.testing.assert_allclose(played.result.distances, expected, atol=1e-6)
    ((_, goal_image),) = agent.goals
    np.testing.assert_array_equal(goal_image, picture(np.array([0.2, 0.1, 0.1])))
    assert agent.seeds == [5] and len(agent.given) == 8
    for (image, state), frame in zip(agent.given, played.rollout.frames[:-1], strict=True):
        np.testing.assert_array_equal(image, frame)
        assert state.shape == (7,)


def test_ordered_goals_are_shown_in_order_at_the_right_steps():
    agent, ordered = PassThrough(), protocol(goal_steps=(2, 3))
    episode = Episode(seed=0, options={"start": [0.1, 0.1, 0.1], "goal": [0.3, 0.4, 0.5]})
    played = play_episode(agent, PointEnv(has_parts=True), ordered, episode, seed=0)
    places = ([0.3, 0.1, 0.1], [0.3, 0.4, 0.1], [0.3, 0.4, 0.5])
    assert [num_actions for num_actions, _ in agent.goals] == [0, 2, 5] == list(played.goal_pictures)
    for place, (_, image), shown in zip(places, agent.goals, played.goal_pictures.values(), strict=True):
        np.testing.assert_array_equal(image, picture(np.array(place)))
        np.testing.assert_array_equal(shown, image)


def test_who_goes_on_by_himself_is_shown_the_next_picture_at_his_arrival():
    episode = Episode(seed=0, options={"start": [0.1, 0.1, 0.1], "goal": [0.3, 0.13, 0.4]})
    model, box = PointModel(PointProposal()), vjepa2_box()
    inner = ProposalAgent(model, box, ProposingConfig(choice="heaviest"))
    ordered = protocol(goal_steps=(4, 2), steps=12)
    played = play_episode(OrderedGoals(inner, model), PointEnv(has_parts=True), ordered, episode, seed=0)
    # 0.2 m are three actions, 0.03 m one, 0.3 m four
    assert list(played.goal_pictures) == [0, 3, 4] and played.result.first_reached == 8 and played.result.success_last
    by_the_clock = play_episode(inner, PointEnv(has_parts=True), ordered, episode, seed=0)
    assert list(by_the_clock.goal_pictures) == [0, 4, 6] and by_the_clock.result.first_reached == 10
    never = PointModel(PointProposal(arrival_radius=-1.0))
    late = OrderedGoals(ProposalAgent(never, box, ProposingConfig(choice="heaviest")), never)
    played = play_episode(late, PointEnv(has_parts=True), replace(ordered, steps=16), episode, seed=0)
    assert list(played.goal_pictures) == [0, 8, 12]  # twice the clock's time


def test_goals_in_order_must_be_some():
    model = PointModel(PointProposal())
    agent = OrderedGoals(ProposalAgent(model, vjepa2_box(), ProposingConfig()), model)
    for pictures, steps in (([], []), ([picture(np.zeros(3))], [3])):
        with pytest.raises(ValueError, match="goal_images must be at least one, with most_steps for each but the last"):
            agent.show_goals(pictures, steps)


def test_a_state_that_does_not_come_with_a_picture_is_missed():
    cost = CostConfig(state_weight=1.0)
    agent = PlanningAgent(
        PointModel(PointProposal()), CEM(cpu()), vjepa2_box(), PlanningConfig(horizon=1, cost=cost, goal_state="given")
    )
    with pytest.raises(ValueError, match="goal_state must be read where a goal picture comes without"):
        play_episode(agent, PointEnv(), protocol(), FLY_BY, seed=0, goal_image=picture(np.zeros(3)))
    assert play_episode(agent, PointEnv(), protocol(), FLY_BY, seed=0).result.success_last


def test_energies_are_against_the_picture_that_is_shown_then():
    start, goal = np.array([0.1, 0.1, 0.1]), np.array([0.25, 0.3, 0.1])
    episode = Episode(seed=0, options={"start": start.tolist(), "goal": goal.tolist()})
    agent = PlanningAgent(PointModel(), CEM(cpu()), vjepa2_box(), PlanningConfig(horizon=1))
    played = play_episode(agent, PointEnv(has_parts=True), protocol(goal_steps=(2, 2)), episode, seed=0)
    parts = [np.where(np.arange(3) < known, goal, start) for known in (1, 2, 3)]
    shown = [parts[0]] * 2 + [parts[1]] * 2 + [parts[2]] * 5
    way = played.rollout.states[:, :3] - np.array(shown)
    np.testing.assert_allclose(played.result.energies, np.square(way).mean(axis=1), atol=5e-4)
    assert played.result.energies[2] > played.result.energies[1]  # another part, further off


def test_a_picture_of_ones_own_replaces_all_goals():
    agent, own = PassThrough(), picture(np.array([0.4, 0.4, 0.4]))
    played = play_episode(agent, PointEnv(has_parts=True), protocol(goal_steps=(2, 3)), FLY_BY, seed=0, goal_image=own)
    ((num_actions, image),) = agent.goals
    assert num_actions == 0 and (image == own).all() and (played.goal_pictures[0] == own).all()
    assert played.result.reached[3]  # the goal of the episode stays


def test_frames_are_kept_even_if_the_environment_reuses_its_buffer():
    buffer = np.zeros((32, 32, 3), dtype=np.uint8)

    class OneBuffer(PointEnv):
        def _observe(self):
            buffer[:] = picture(self._scene.place)
            return {**seen(self._scene.place), "image": buffer}

    played = play_episode(PassThrough(), OneBuffer(), protocol(), FLY_BY, seed=0)
    assert len(np.unique(played.rollout.frames[:, 0, 0, 0])) == 9


def test_an_environment_that_ends_too_early_is_named():
    with pytest.raises(ValueError, match="ended after 3 of 8 steps"):
        play_episode(ZERO, PointEnv(ends_after=3), PROTOCOL, PROTOCOL.episodes[0], seed=0)
    assert len(play_episode(ZERO, PointEnv(ends_after=8), PROTOCOL, PROTOCOL.episodes[0], seed=0).result.reached) == 9


def test_an_environment_that_calls_the_start_solved_is_named():
    with pytest.raises(ValueError, match=f"seed {PROTOCOL.episodes[0].seed} is solved before the first action"):
        play_episode(ZERO, PointEnv(success_radius=1.0), PROTOCOL, PROTOCOL.episodes[0], seed=0)


def test_an_environment_without_ordered_pictures_is_named():
    with pytest.raises(ValueError, match="protocol p shows 3 goal pictures in order, but the environment gives 1"):
        play_episode(ZERO, PointEnv(), protocol(goal_steps=(2, 3)), FLY_BY, seed=0)


RECORD = EpisodeResult(
    seed=1, distances=(0.1 + 0.2, 0.1), reached=(False, True), energies=None, seconds_per_action=1 / 3
)


def test_a_record_is_read_as_it_was_written():
    assert EpisodeResult.from_json(RECORD.to_json()) == RECORD
    with_energies = EpisodeResult(**vars(RECORD) | {"energies": (1e-9, 2.5)})
    assert EpisodeResult.from_json(with_energies.to_json()) == with_energies
    moving = EpisodeResult(**vars(RECORD) | {"states": ((0.1, 0.2), (0.3, 0.4)), "objects": ((1.0,), (2.0,))})
    assert EpisodeResult.from_json(moving.to_json()) == moving


def test_an_older_record_has_no_states_and_no_objects():
    content = json.loads(RECORD.to_json())
    older = json.dumps({name: value for name, value in content.items() if name not in ("states", "objects")})
    assert EpisodeResult.from_json(older) == RECORD


def test_states_of_every_moment_are_recorded():
    played = play_episode(PassThrough(), PointEnv(), protocol(), FLY_BY, seed=0)
    np.testing.assert_allclose(played.result.states, played.rollout.states, atol=1e-5)
    assert played.result.objects is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[1]",
        '{"seed": 1}',
        RECORD.to_json().replace('"seed"', '"speed"'),
        RECORD.to_json().replace("[false, true]", "[]"),
        RECORD.to_json().replace("null", "[0.5]"),
    ],
)
def test_what_is_no_record_is_refused(text):
    with pytest.raises(ValueError):
        EpisodeResult.from_json(text)


@pytest.mark.parametrize(
    ("reached", "first"), [((True, False, False), None), ((True, False, True), 2), ((False, True, True), 1)]
)
def test_when_it_was_solved_first_counts_actions(reached, first):
    result = EpisodeResult(seed=1, distances=(0.3, 0.2, 0.1), reached=reached, energies=None, seconds_per_action=0.5)
    assert result.first_reached == first
