"""What agents and environments are made from: the limits of a task reach its plans, and what does not fit is told."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
import torch
from point_world import POINT
from tiny_world_model import tiny_world_model

from vjepa_wm.agents.planning_agent import PlanningAgent
from vjepa_wm.agents.proposal_agent import ProposalAgent
from vjepa_wm.agents.true_dynamics_agent import TrueDynamicsAgent
from vjepa_wm.envs import TASKS, ActionLimits, find_task, make
from vjepa_wm.evaluation.evaluated_episode import play_episode
from vjepa_wm.evaluation.protocol import make_protocol
from vjepa_wm.models.checkpoint import CheckpointError
from vjepa_wm.models.world_model import save_world_model
from vjepa_wm.planners import CEM, vjepa2_box
from vjepa_wm.stages.planner_options import PlannerOptions
from vjepa_wm.stages.planning import (
    StandRecipe,
    check_fit,
    check_rows,
    fingerprint,
    released,
)

ARM = (0.075, 0.075, 0.075)
SMALL = PlannerOptions(num_samples=16, iterations=1)


def limits(size=(*ARM, 0.0, 0.0, 0.2, 1.0), **changes):
    return ActionLimits(**{"size": size, "discrete": (6,), "state_low": (0.0,) * 3, "state_high": (1.0,) * 3} | changes)


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory):
    """Folders of world models of random weights, by the sizes of action and state."""
    folder = tmp_path_factory.mktemp("world_models")
    for size in (7, 2):
        save_world_model(tiny_world_model(size, size), folder / str(size))
    return {size: str(folder / str(size)) for size in (7, 2)}


def recipe(task, checkpoints, planner=SMALL):
    size = len(find_task(task).limits.size)
    return StandRecipe(task=task, checkpoint=checkpoints[size], planner=planner, precision="fp32")


def test_the_box_is_what_the_task_lets_plans_do():
    box = PlannerOptions().box(limits())
    assert box.high.tolist() == pytest.approx([*ARM, 0, 0, 0.2, 1]) and torch.equal(box.low, -box.high)
    assert box.discrete == (6,)
    assert PlannerOptions().planning(limits()).state_limits == ((0.0,) * 3, (1.0,) * 3)


def test_max_displacement_shortens_what_moves_the_state_and_nothing_else():
    short = PlannerOptions(max_displacement=0.05).box(limits())
    assert short.high.tolist() == pytest.approx([0.05] * 3 + [0, 0, 0.2, 1])
    assert torch.equal(short.low, -short.high)
    uneven = PlannerOptions(max_displacement=0.05).box(limits((0.075, 0.02, 0.0, 0, 0, 0, 1.0)))
    assert uneven.high.tolist() == pytest.approx([0.05, 0.02, 0, 0, 0, 0, 1])  # never further than the task's
    with pytest.raises(ValueError, match=r"max_displacement must be at most that of the task, 0.075 m, got 0.3"):
        PlannerOptions(max_displacement=0.3).box(limits((0.075, 0.02, 0.0, 0, 0, 0, 1.0)))
    with pytest.raises(ValueError, match="max_displacement must be positive and finite, got 0"):
        PlannerOptions(max_displacement=0.0)


def test_the_preset_of_vjepa2_is_its_own_box_for_droid_actions_and_the_tasks_for_others():
    options = PlannerOptions(preset="vjepa2", max_displacement=0.05)
    assert torch.equal(options.box(limits()).high, vjepa2_box(0.05).high)
    plane = find_task("two_room").limits
    assert options.box(plane).high.tolist() == pytest.approx([0.05, 0.05])
    assert (
        options.make_planner(7).config.num_samples,
        options.make_planner(7).config.deadzone[-1],
        options.make_planner(2).config.deadzone,
    ) == (800, 0.25, 0.0)
    assert (options.planning(plane).cost.energy, options.planning(plane).cost.steps) == ("l1", "last")


def test_what_is_asked_for_goes_before_the_preset():
    options = PlannerOptions(num_samples=20, iterations=2, horizon=3, energy="l1")
    cem, planning = options.make_planner(7).config, options.planning(limits())
    assert (cem.num_samples, cem.iterations) == (20, 2)
    assert (planning.horizon, planning.cost.energy, planning.cost.steps) == (3, "l1", "sum")
    with pytest.raises(ValueError, match="horizon must be at least 1, got 0"):
        PlannerOptions(horizon=0)


@pytest.mark.parametrize("horizon", [1, 2])
@pytest.mark.parametrize("task", TASKS)
def test_a_world_model_of_random_weights_plans_in_every_task_within_its_limits(task, horizon, checkpoints):
    found, scored = find_task(task), []
    stand = recipe(task, checkpoints, replace(SMALL, horizon=horizon)).make_stand("world_model")
    score = stand.agent._cost
    stand.agent._cost = lambda actions: scored.append(actions) or score(actions)
    protocol = make_protocol(stand.env, name="two steps", task=task, num_episodes=1, steps=2, seed=0)
    played = play_episode(stand.agent, stand.env, protocol, protocol.episodes[0], seed=0)
    stand.close()
    size, low, high = (np.array(part) for part in (found.limits.size, found.limits.state_low, found.limits.state_high))
    candidates = torch.cat([actions.flatten(0, 1) for actions in scored]).double().numpy()
    assert len(candidates) == 2 * 17 * horizon
    assert (np.abs(candidates) <= size + 1e-7).all()
    assert (np.abs(candidates).max(axis=0) > 0).tolist() == (size > 0).tolist()
    for k in found.limits.discrete:
        assert set(candidates[:, k].tolist()) == {-size[k], 0.0, size[k]}
        assert set(played.rollout.actions[:, k].tolist()) <= {-size[k], 0.0, size[k]}
    ends = played.rollout.states[:-1, : len(low)] + played.rollout.actions[:, : len(low)]
    assert (ends >= low - 1e-6).all() and (ends <= high + 1e-6).all()
    assert len(played.result.energies) == 3 and all(np.isfinite(played.result.energies))


@pytest.mark.parametrize("task", ["reach", "two_room"])
def test_no_candidate_leaves_the_limits_of_the_state_near_their_corner(task, checkpoints):
    stand, found, scored = recipe(task, checkpoints).make_stand("world_model"), find_task(task), []
    score = stand.agent._cost
    stand.agent._cost = lambda actions: scored.append(actions) or score(actions)
    obs, info = stand.env.reset(seed=0)
    stand.agent.reset(info["goal"]["image"], 0)
    state, num_limited = obs["state"].copy(), len(found.limits.state_high)
    state[:num_limited] = np.array(found.limits.state_high) - 0.01
    stand.agent.act(obs["image"], state)
    stand.close()
    moves = torch.cat(scored)[:, 0, :num_limited]
    assert moves.max() == pytest.approx(0.01, abs=1e-6) and moves.min() < -0.03


@pytest.mark.parametrize("task", ["push", "two_room"])
def test_true_dynamics_plan_with_an_arm_and_in_the_plane(task, checkpoints):
    stand = recipe(task, checkpoints).make_stand("true_dynamics")
    assert isinstance(stand.agent, TrueDynamicsAgent) and stand.agent.simulator is stand.simulator is not stand.env
    protocol = make_protocol(stand.env, name="a step", task=task, num_episodes=1, steps=1, seed=0)
    foreseen = play_episode(stand.agent, stand.env, protocol, protocol.episodes[0], seed=0).result.energies[-1]
    assert foreseen == pytest.approx(stand.agent.last_plan.cost, rel=1e-4)
    stand.close()


def test_rows_without_a_plan_need_no_world_model():
    bare = StandRecipe(task="two_room", checkpoint="/nowhere", planner=SMALL, precision="fp32")
    for row in ("expert", "random", "zero"):
        stand = bare.make_stand(row)
        obs, info = stand.env.reset(seed=0)
        stand.agent.reset(info["goal"]["image"], 0)
        action = stand.agent.act_on_info(obs, info)
        assert action.shape == (2,) and action.any() == (row != "zero") and stand.simulator is None
        stand.close()
    with pytest.raises(CheckpointError, match="no checkpoint at /nowhere"):
        bare.make_stand("world_model")


def test_without_a_checkpoint_the_released_one_is_taken_where_there_is_one():
    recipe = StandRecipe(task="reach", checkpoint=None, planner=SMALL, precision="fp32")
    assert isinstance(recipe.make_stand("world_model").agent, ProposalAgent)
    stand = recipe.make_stand("search")
    assert isinstance(stand.agent, PlanningAgent) and isinstance(stand.agent.planner, CEM)
    assert stand.agent.world_model.config.encoder.image_size == 96
    stand.close()
    assert released("push") == released("reach") != released("two_room") == released("point_maze")
    with pytest.raises(ValueError, match="no released world model for 'lever', only for reach, push"):
        released("lever")


@pytest.mark.parametrize(
    ("task", "model", "message"),
    [
        (
            "two_room",
            {},
            r"does not fit task two_room: it acts with 7 numbers, the task with 2 \(dx, dy\) and reads states of 7 "
            r"numbers, the task has 2 \(x, y\); it fits tasks like reach, push, .*lever; train one for two_room with",
        ),
        (
            "reach",
            {"action_dim": 2, "state_dim": 2},
            r"acts with 2 numbers, the task with 7 \(dx, dy, .*; it fits tasks like point_maze, two_room; train one",
        ),
        (
            "reach",
            {"state_dim": 5},
            "does not fit task reach: it reads states of 5 numbers, the task has 7 .*; it fits none of ours; train one",
        ),
        (
            "point_world:POINT",
            {"action_dim": 2, "use_state": False},
            "task point_world:POINT: it acts with 2 .* like point_maze, two_room; .*--env point_world:POINT records",
        ),
        ("reach", {"action_dim": 3, "use_state": False}, "it acts with 3 numbers, .*; it fits none of ours"),
        (
            "reach",
            {"in_channels": 2},
            "it sees pictures of 2 channels, the task shows red, green and blue; it fits none of ours",
        ),
    ],
)
def test_a_world_model_that_does_not_fit_is_refused_with_what_would(task, model, message):
    with closing(make(task, image_size=32)) as env, pytest.raises(ValueError, match=message):
        check_fit(tiny_world_model(**model), task, env)


def test_a_world_model_that_reads_no_state_fits_whatever_its_states_would_be():
    with closing(make("two_room", image_size=32)) as env:
        check_fit(tiny_world_model(2, 7, use_state=False), "two_room", env)


def test_rows_must_differ_and_the_task_must_have_them():
    check_rows(POINT, ("expert", "random", "zero", "world_model", "true_dynamics"))
    with pytest.raises(ValueError, match="policy of point must be one of random, got 'expert'"):
        check_rows(replace(POINT, policies={}), ("zero", "expert"))
    for rows in ((), ("zero", "zero")):
        with pytest.raises(ValueError, match="policies must be different and at least one"):
            check_rows(POINT, rows)


def test_a_fingerprint_tells_weights_apart_and_nothing_else():
    model, same = tiny_world_model(), tiny_world_model()
    assert fingerprint(model) == fingerprint(same)
    with torch.no_grad():
        same.predictor.predictor_norm.weight[0] += 1e-6
    assert fingerprint(model) != fingerprint(same)
    assert fingerprint(model.bfloat16()) != fingerprint(tiny_world_model())


def test_where_the_world_model_proposes_its_reader_and_its_word_judge():
    cost = PlannerOptions().planning(limits(), proposed=True, reads=True).cost
    assert (cost.energy, cost.steps, cost.prior_weight) == ("reading", "last", 0.001)
    cost = PlannerOptions().planning(limits(), proposed=True).cost  # the user's own proposal has no reader
    assert (cost.energy, cost.steps, cost.prior_weight) == ("l2", "last", 0.0)
    cost = PlannerOptions(energy="l1", cost_steps="sum").planning(limits(), proposed=True, reads=True).cost
    assert (cost.energy, cost.steps, cost.prior_weight) == ("l1", "sum", 0.0)
    assert PlannerOptions().planning(limits(), reads=True).cost.energy == "l2"


def test_no_more_is_proposed_than_an_iteration_has_candidates():
    few = PlannerOptions(num_samples=16, num_proposed=24)
    assert few.planning(limits(), proposed=True).num_proposed == 15  # one is the mean
    assert replace(few, method="icem").planning(limits(), proposed=True).num_proposed == 16
    assert PlannerOptions().planning(limits(), proposed=True).num_proposed == 24
    assert PlannerOptions().planning(limits()).num_proposed == 0


@pytest.mark.parametrize("method", ["gradient", "polish"])
def test_what_needs_a_gradient_says_so_of_the_simulator(method, checkpoints):
    made = recipe("two_room", checkpoints, replace(SMALL, method=method)).make_stand("true_dynamics")
    with closing(made):
        obs, info = made.env.reset(seed=0)
        made.agent.reset(info["goal"]["image"], 0)
        with pytest.raises(ValueError, match="gradient"):
            made.agent.act(obs["image"], obs["state"])
