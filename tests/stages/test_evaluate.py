"""The stage that evaluates: which protocol, what is refused before anything is played, and what results depend on."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace

import numpy as np
import pytest
from small_trajectories import contents
from tiny_world_model import tiny_world_model

from vjepa_wm.cli import main
from vjepa_wm.data.trajectories.dataset import TrajectoryDataset
from vjepa_wm.envs import VariationConfig
from vjepa_wm.evaluation.protocol_files import load_protocol, save_protocol
from vjepa_wm.evaluation.results_folder import ResultsFolder
from vjepa_wm.models.proposal import Proposal, ProposalConfig
from vjepa_wm.models.world_model import save_world_model
from vjepa_wm.stages.evaluate import EvaluateConfig, choose_protocol, run_evaluate
from vjepa_wm.stages.planner_options import METHODS, PlannerOptions

MINE = """
from dataclasses import replace

from point_world import POINT

LEVER = replace(POINT, name="lever")
REACH = replace(POINT, name="reach")
AIMLESS = replace(POINT, name="aimless", policies={})
"""
SEARCH = PlannerOptions(num_samples=16, iterations=1)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world_models")
    for seed in (0, 1):
        save_world_model(tiny_world_model(seed=seed), folder / str(seed))
    return [str(folder / str(seed)) for seed in (0, 1)]


@pytest.fixture
def lever(tmp_path, monkeypatch):
    """A file of somebody's own in the working directory, which an installed command does not look into."""
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    (tmp_path / "my_lever.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    yield "my_lever:LEVER"
    sys.modules.pop("my_lever", None)


def config(out, checkpoint=None, **changes):
    settings = {"env": "two_room", "episodes": 2, "steps": 2, "policies": ("random", "zero"), "precision": "fp32"}
    return EvaluateConfig(out=out, checkpoint=checkpoint, planner=SEARCH, **settings | changes)


def without_seconds(content):
    return [{name: value for name, value in row.items() if name != "seconds_per_action"} for row in content["rows"]]


def test_the_protocol_is_the_tasks_own_or_the_one_that_is_named(tmp_path):
    shipped = load_protocol("push")
    assert choose_protocol(config("x", env="push", steps=None)) == shipped.first(2)
    assert choose_protocol(config("x", env="push", steps=None, protocol="push_ahead")).name == "push_ahead"
    assert choose_protocol(config("x", env="push", steps=7)) == shipped.first(2).with_steps(7)
    save_protocol(replace(shipped, name="mine"), tmp_path / "mine.json")
    assert choose_protocol(config("x", env="push", protocol=str(tmp_path / "mine.json"))).name == "mine, 2 steps"
    with pytest.raises(ValueError, match="protocol push_ahead is of task 'push', not of 'reach'"):
        choose_protocol(config("x", env="reach", protocol="push_ahead"))
    with pytest.raises(ValueError, match="episodes must be at most the 100 of protocol push, got 101"):
        choose_protocol(config("x", env="push", episodes=101))
    with pytest.raises(
        FileNotFoundError, match=r"no protocol at push_behind, did you mean 'push_ahead'\? shipped are drawer"
    ):
        choose_protocol(config("x", env="push", protocol="push_behind"))


def test_what_varies_is_the_protocols_unless_something_is_asked_for():
    shipped = choose_protocol(config("x", steps=None))
    assert shipped.name == "two_room" and shipped.variation == {"layout": "sampled"}
    other = choose_protocol(config("x", steps=None, variation=VariationConfig(layout="held_out")))
    assert other.name == "two_room, layout held_out" and other.episodes == shipped.episodes
    assert choose_protocol(config("x", env="push", steps=None)).variation == {}
    with pytest.raises(ValueError, match="variation has no factor 'layouts'; known are all, table"):
        replace(shipped, variation={"layouts": "sampled"})


ROWS = ("search", "proposal", "proposal_recovery", "proposal_search", "world_model", "true_dynamics")


def test_a_world_model_with_a_proposal_has_its_rows(tmp_path, capsys):
    model = tiny_world_model(2, 2)
    size = {"encoder_dim": 24, "num_tokens": 4, "action_dim": 2, "state_dim": 2, "hidden_dim": 16, "num_modes": 3}
    model.attach_proposal(Proposal(ProposalConfig(**size)))
    save_world_model(model, tmp_path / "wm")
    small = replace(SEARCH, num_proposed=4, horizon=2)
    asked = replace(config(tmp_path / "out", str(tmp_path / "wm"), policies=ROWS), planner=small)
    rows = {result.policy: result.episodes for result in run_evaluate(asked)}
    assert set(rows) == set(ROWS) and all(len(episodes) == 2 for episodes in rows.values())
    ends = {name: [episode.distances for episode in episodes] for name, episodes in rows.items()}
    assert ends["world_model"] == ends["proposal_recovery"] != ends["search"]
    out = capsys.readouterr().out
    assert all(name in out for name in ROWS)
    save_world_model(tiny_world_model(2, 2), tmp_path / "plain")
    with pytest.raises(ValueError, match="has no proposal; train one with: vjepa-wm train-proposal"):
        run_evaluate(config(tmp_path / "other", str(tmp_path / "plain"), policies=("zero", "proposal")))


MINE_TOO = """
import torch
from vjepa_wm.models.action_mixture import ActionMixture
from vjepa_wm.planners import CEM, CEMConfig


class Mine:
    def plan(self, cost, **rest):
        return CEM(CEMConfig(num_samples=6, num_elites=2, iterations=1)).plan(cost, **rest)


def along_x(imagined):
    return -imagined.actions[..., 0].sum(dim=1)


def wrong(imagined):
    return torch.zeros(3)


def unknown(imagined):
    return torch.full((len(imagined.z),), float("nan"))


def flat(z, state, z_goal):
    one = torch.ones(len(z), 2)
    return ActionMixture(log_weights=torch.zeros(len(z), 1), mean=one, std=one)


class Rightward:
    near_energy = -1.0

    def __call__(self, z, state, z_goal):
        assert z.shape == z_goal.shape == (len(state), 4, 24)
        mean = torch.tensor([0.02, 0.0]).expand(len(z), 1, 2)
        return ActionMixture(log_weights=torch.zeros(len(z), 1), mean=mean, std=torch.full_like(mean, 1e-6))


LIST = [1]
"""


def test_a_planner_a_cost_and_a_proposal_of_ones_own_are_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine_too.py").write_text(MINE_TOO)
    (tmp_path / "broken.py").write_text("import nothing_of_that_name")
    (tmp_path / "spelled.py").write_text("def (")
    (tmp_path / "failing.py").write_text("f = nothing")
    save_world_model(tiny_world_model(2, 2), tmp_path / "wm")

    def play(**planner):
        options = replace(SEARCH, **planner)
        asked = config(tmp_path / "-".join(["out", *map(str, planner.values())]), str(tmp_path / "wm"))
        return run_evaluate(replace(asked, policies=("world_model",), planner=options))

    assert len(play(method="mine_too:Mine", cost="mine_too:along_x")[0].episodes) == 2
    for wrong, message in (
        ({"cost": "mine_too:wrong"}, r"one number for each candidate, shape \(16,\); wrong returned \(3,\)"),
        ({"cost": "mine_too:unknown"}, "cost unknown returned NaN for 16 of 16 candidates"),
        ({"cost": "mine_too:along_y"}, "cost mine_too:along_y is not there: .* 'along_y', did you mean 'along_x'"),
        ({"cost": "failing:f"}, "cost failing:f cannot be imported: NameError: name 'nothing' is not defined"),
        ({"cost": "mine_too:LIST"}, "cost mine_too:LIST must be a function, got list"),
        ({"cost": "nowhere:f"}, "cost nowhere:f needs the module 'nowhere', which cannot be imported"),
        ({"cost": "broken:f"}, "cost broken:f needs the module 'nothing_of_that_name'"),
        ({"cost": "spelled:f"}, "cost spelled:f cannot be imported: SyntaxError"),
        ({"method": "mine_too:LIST"}, "planner mine_too:LIST must be a class or function that makes one, got list"),
        ({"method": "mine_too:print"}, "planner mine_too:print is not there: mine_too has no 'print'"),
        ({"proposal": "mine_too:LIST"}, "proposal mine_too:LIST must be a function, got list"),
        ({"proposal": "nowhere:f"}, "proposal nowhere:f needs the module 'nowhere', which cannot be imported"),
        ({"proposal": "mine_too:flat"}, r"proposal mine_too:flat must return mean \(1, 1, 2\), .* got \(1, 2\)"),
    ):
        with pytest.raises(ValueError, match=message):
            play(**wrong)
    with pytest.raises(ValueError, match=r"method must be one of cem, icem, .* or module:name, got 'cemm'"):
        replace(SEARCH, method="cemm")
    sys.modules.pop("mine_too", None)


def test_a_proposal_of_ones_own_plays_every_row_that_proposes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine_three.py").write_text(MINE_TOO)
    save_world_model(tiny_world_model(2, 2), tmp_path / "wm")
    rows = ("search", "proposal", "proposal_recovery", "proposal_search", "world_model", "true_dynamics")
    planner = replace(SEARCH, proposal="mine_three:Rightward", num_proposed=4, horizon=2)
    asked = config(tmp_path / "out", str(tmp_path / "wm"), policies=rows)
    played = {result.policy: result.episodes for result in run_evaluate(replace(asked, planner=planner))}
    (path,) = (np.array(played["proposal"][0].states),)
    np.testing.assert_allclose(np.diff(path[:, :2], axis=0), [[0.02, 0.0]] * 2, atol=2e-3)
    ends = {name: episodes[0].states for name, episodes in played.items()}
    assert ends["world_model"] == ends["proposal_recovery"] != ends["search"]
    sys.modules.pop("mine_three", None)


@pytest.mark.parametrize("method", METHODS)
def test_every_planner_plays(method, tmp_path):
    save_world_model(tiny_world_model(2, 2), tmp_path / "wm")
    asked = config(tmp_path / "out", str(tmp_path / "wm"), episodes=1, policies=("world_model",))
    (result,) = run_evaluate(replace(asked, planner=replace(SEARCH, method=method, iterations=2)))
    assert len(result.episodes[0].distances) == 3


def test_for_a_task_of_ones_own_it_is_made_from_the_seed_and_grows_at_its_end(lever):
    few, many = (choose_protocol(config("x", env=lever, steps=None, episodes=n)) for n in (2, 5))
    assert (few.name, few.task, few.steps) == ("lever, seed 0", "lever", 8)
    assert many.episodes[:2] == few.episodes and len(many.episodes) == 5
    assert choose_protocol(config("x", env=lever, seed=1)).episodes != few.episodes
    namesake = choose_protocol(config("x", env="my_lever:REACH", steps=None))
    assert (namesake.name, namesake.steps, namesake.episodes) == ("reach, seed 0", 8, few.episodes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"episodes": 0}, "episodes must be at least 1"),
        ({"steps": 0}, "steps must be"),
        ({"workers": -1}, "workers must"),
    ],
)
def test_wrong_numbers_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        config("x", **change)


def test_an_expert_that_a_task_lacks_is_refused_before_anything_is_played(lever, tmp_path):
    with pytest.raises(ValueError, match="policy of aimless must be one of random, got 'expert'"):
        run_evaluate(config(tmp_path / "out", env="my_lever:AIMLESS", policies=("zero", "expert")))
    assert not (tmp_path / "out").exists()


def test_a_world_model_that_does_not_fit_is_refused_before_anything_is_played(checkpoints, tmp_path):
    with pytest.raises(ValueError, match="does not fit task two_room"):
        run_evaluate(config(tmp_path / "out", checkpoints[0], policies=("zero", "world_model")))
    with pytest.raises(ValueError, match="no released world model for 'lever'"):
        run_evaluate(config(tmp_path / "out", env="lever", policies=("zero", "true_dynamics")))
    assert not (tmp_path / "out").exists()


def test_results_do_not_depend_on_workers_also_for_a_task_of_ones_own(lever, checkpoints, tmp_path):
    rows = ("world_model", "true_dynamics", "random")
    for workers in (0, 2):
        run_evaluate(config(tmp_path / str(workers), checkpoints[0], env=lever, policies=rows, workers=workers))
    alone, together = (contents(tmp_path / str(workers)) for workers in (0, 2))
    assert alone.keys() == together.keys()
    assert sum(name.startswith("videos/") for name in alone) == 2 * len(rows)
    timed = [name for name in alone if name.startswith("episodes/") or name == "results.json"]
    pages = [re.sub(rb"<td>\d+\.\d{3}</td>", b"", files.pop("report.html")) for files in (alone, together)]
    assert pages[0] == pages[1]  # but for the seconds in its table
    assert [name for name in alone if name not in timed and alone[name] != together[name]] == []
    for name in timed:
        there, here = json.loads(alone[name]), json.loads(together[name])
        assert {**there, "rows": 0, "seconds_per_action": 0} == {**here, "rows": 0, "seconds_per_action": 0}
    there, here = (json.loads(files["results.json"]) for files in (alone, together))
    assert without_seconds(there) == without_seconds(here) and [row["policy"] for row in there["rows"]] == list(rows)


def test_a_task_of_ones_own_is_collected_by_workers(lever, tmp_path):
    size = ["--env", lever, "--episodes", "3", "--steps", "2", "--image-size", "32", "--policy", "expert"]
    assert main(["collect", "--out", str(tmp_path / "set"), *size, "--workers", "2"]) == 0
    assert main(["collect", "--out", str(tmp_path / "alone"), *size, "--workers", "0"]) == 0
    dataset = TrajectoryDataset(tmp_path / "set")
    assert list(dataset.lengths) == [3, 3, 3] and dataset.episode(2).task == "lever, expert"
    assert contents(tmp_path / "set") == contents(tmp_path / "alone")


def test_the_same_command_plays_nothing_again_and_writes_the_same_report(checkpoints, lever, tmp_path):
    out = tmp_path / "out"
    asked = config(out, checkpoints[0], env=lever, policies=("world_model", "zero"))
    first = run_evaluate(asked)
    before = contents(out)
    again = run_evaluate(asked)
    assert contents(out) == before and [result.episodes for result in again] == [result.episodes for result in first]
    run_evaluate(replace(asked, policies=("random", "zero")))  # another table of the same evaluation
    assert [row["policy"] for row in json.loads((out / "results.json").read_text())["rows"]] == ["random", "zero"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1}, "protocol name lever, seed 0, asked for lever, seed 1; seed 0, asked for 1; other episodes"),
        ({"checkpoint": 1}, "weights [0-9a-f]{8}, asked for [0-9a-f]{8}; choose another or delete it"),
        ({"planner": replace(SEARCH, horizon=2)}, "planner .*'horizon': None.* asked for .*'horizon': 2"),
        ({"steps": 3}, "protocol steps 2, asked for 3"),
        ({"env": "my_lever:AIMLESS"}, "env my_lever:LEVER, asked for my_lever:AIMLESS"),
    ],
)
def test_another_evaluation_in_the_same_folder_is_refused_and_told_apart(checkpoints, lever, tmp_path, change, message):
    asked = config(tmp_path / "out", checkpoints[0], env=lever, policies=("world_model",), episodes=1)
    run_evaluate(asked)
    before = contents(tmp_path / "out")
    if "checkpoint" in change:
        change = {"checkpoint": checkpoints[1]}
    with pytest.raises(ValueError, match=message):
        run_evaluate(replace(asked, **change))
    assert contents(tmp_path / "out") == before


def test_a_second_evaluation_is_one_message_while_one_runs(tmp_path, capsys):
    asked = config(tmp_path, env="two_room")
    with ResultsFolder(tmp_path, choose_protocol(asked), {}):
        command = ["evaluate", "--out", str(tmp_path), "--env", "two_room", "--episodes", "2", "--policies", "zero"]
        assert main(command) == 1
    error = capsys.readouterr().err
    assert "vjepa-wm: process " in error and "is writing into" in error and "Traceback" not in error


def test_ordered_goals_and_the_rule_of_success_are_told(tmp_path, capsys):
    run_evaluate(config(tmp_path, env="pick_place", policies=("zero",), episodes=1, steps=4))
    out = capsys.readouterr().out
    assert "success: brick let go within 4 cm of its place in the goal, after the last of 4 steps" in out
    assert "protocol pick_place, 4 steps, version 1" in out
    content = json.loads((tmp_path / "results.json").read_text())
    assert content["protocol"]["goal_steps"] == [1, 1] and np.isfinite(content["rows"][0]["mean_final_distance"])
