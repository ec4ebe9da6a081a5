"""The stage that tells what limits a task: what it writes, that it goes on, and what it refuses."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from point_world import PointEnv
from tiny_world_model import tiny_world_model

from vjepa_wm.cli import parse
from vjepa_wm.evaluation.evaluated_episode import EpisodeResult
from vjepa_wm.evaluation.protocol import make_protocol
from vjepa_wm.evaluation.results_folder import ResultsFolder, save_episode
from vjepa_wm.models.proposal import Proposal, ProposalConfig
from vjepa_wm.models.world_model import save_world_model
from vjepa_wm.stages.diagnose import DiagnoseConfig, run_diagnose

POINT = "point_world:POINT"
PARTS = ["encoder", "cost", "predictor", "proposal", "search", "recovery"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    model = tiny_world_model()
    torch.manual_seed(0)
    form = ProposalConfig(encoder_dim=24, num_tokens=4, action_dim=7, state_dim=7, hidden_dim=16, num_modes=2)
    model.attach_proposal(Proposal(form))
    folder = tmp_path_factory.mktemp("world_model")
    save_world_model(model, folder)
    return str(folder)


def config(out, checkpoint, **changes):
    settings = {"env": POINT, "states": 2, "candidates": 6, "steps": 2, "precision": "fp32"}
    return DiagnoseConfig(out=out, checkpoint=checkpoint, **settings | changes)


@pytest.fixture(scope="module")
def first(tmp_path_factory, checkpoint):
    out = tmp_path_factory.mktemp("diagnosis") / "out"
    run_diagnose(config(out, checkpoint))
    return out


def test_it_leaves_numbers_figures_and_the_bank(first):
    assert {path.name for path in first.iterdir()} - {".lock"} == {
        "bank",
        "diagnosis.json",
        "diagnosis.npz",
        "diagnosis_settings.json",
        "energy_landscape.png",
        "open_loop.png",
        "report.html",
    }
    page = (first / "report.html").read_text()
    assert page.count("<img") == 2 and "Verdict" in page and "What energies make of the candidates" in page
    content = json.loads((first / "diagnosis.json").read_text())
    assert [finding["part"] for finding in content["findings"]] == PARTS
    assert {row["source"] for row in content["rows"]} == {"all", "proposal", "expert", "gaussian"}
    with np.load(first / "diagnosis.npz", allow_pickle=False) as arrays:
        assert arrays["costs"].shape == (2, 2, 12, 6) and arrays["imagined_errors"].shape == (12, 2)


def test_it_goes_on_with_what_is_missing_and_sorts_the_failures_of_an_evaluation(
    first, checkpoint, tmp_path, capsys, monkeypatch
):
    for name in ("draw_landscapes", "draw_open_loop"):  # which take longer than all the rest and were drawn before
        monkeypatch.setattr(f"vjepa_wm.stages.diagnose.{name}", lambda *arguments: Figure(figsize=(1, 1)))
    before, kept = (first / "diagnosis.npz").read_bytes(), (first / "bank/000.npz").stat().st_mtime_ns
    (first / "bank/001.npz").unlink()
    protocol = make_protocol(PointEnv(), name="p", task="point", num_episodes=2, steps=2, seed=0)
    ResultsFolder(tmp_path / "eval", protocol, {"seed": 0}).__exit__()
    for k, steps in enumerate([(0.0, 0.0, 0.0), (0.0, 0.1, 0.2)]):
        record = EpisodeResult(
            seed=k,
            distances=(0.3, 0.2, 0.2),
            reached=(False,) * 3,
            energies=None,
            seconds_per_action=0.1,
            states=tuple((step,) for step in steps),
        )
        save_episode(tmp_path / "eval", "zero", k, record, b"video")
    diagnosis = run_diagnose(config(first, checkpoint, results=tmp_path / "eval"))
    assert (first / "diagnosis.npz").read_bytes() == before
    assert (first / "bank/000.npz").stat().st_mtime_ns == kept
    assert diagnosis.success == {"zero": 0.0}
    assert diagnosis.failures["zero"] == {"came back": [], "stuck": [0], "wrong heading": [], "fell short": [1]}
    assert "How episodes of the evaluation failed" in capsys.readouterr().out


def test_a_folder_of_another_diagnosis_is_refused(first, checkpoint):
    with pytest.raises(ValueError, match=r"holds another diagnosis: bank .*'steps': 2.*asked for .*'steps': 3"):
        run_diagnose(config(first, checkpoint, steps=3))
    with pytest.raises(ValueError, match="holds another diagnosis: seed 1, asked for 2"):
        run_diagnose(config(first, checkpoint, seed=2))


MINE = """
import torch
from vjepa_wm.models.action_mixture import ActionMixture


def upward(z, state, z_goal):
    mean = torch.zeros(len(z), 1, 7)
    mean[..., 2] = 0.03
    return ActionMixture(log_weights=torch.zeros(len(z), 1), mean=mean, std=torch.full_like(mean, 1e-6))
"""


def test_a_proposal_of_ones_own_takes_the_place_of_the_world_models(checkpoint, tmp_path, monkeypatch):
    for name in ("draw_landscapes", "draw_open_loop"):
        monkeypatch.setattr(f"vjepa_wm.stages.diagnose.{name}", lambda *arguments: Figure(figsize=(1, 1)))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine_upward.py").write_text(MINE)
    asked = config(tmp_path / "out", checkpoint, states=1, proposal="mine_upward:upward")
    run_diagnose(asked)
    with np.load(tmp_path / "out/bank/000.npz", allow_pickle=False) as bank:
        np.testing.assert_allclose(bank["mode_means"], [[0, 0, 0.03, 0, 0, 0, 0]], atol=1e-6)
        proposed = bank["actions"][bank["sources"] == "proposal"]
    np.testing.assert_allclose(proposed[..., 2], 0.03, atol=1e-4)
    with pytest.raises(ValueError, match=r"holds another diagnosis: .*proposal"):
        run_diagnose(config(tmp_path / "out", checkpoint, states=1))
    sys.modules.pop("mine_upward", None)


def test_results_of_another_task_or_of_nothing_are_refused(checkpoint, tmp_path):
    protocol = make_protocol(PointEnv(), name="p", task="push", num_episodes=1, steps=3, seed=0)
    ResultsFolder(tmp_path, protocol, {}).__exit__()
    with pytest.raises(ValueError, match=r"results must be of task point and weights .*, got task push"):
        run_diagnose(config(tmp_path / "out", checkpoint, results=tmp_path))
    with pytest.raises(FileNotFoundError, match="holds no evaluation"):
        run_diagnose(config(tmp_path / "out", checkpoint, results=tmp_path / "nothing"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"candidates": 3}, "candidates must be at least 6, got 3"),
        ({"states": 0}, "states must be at least 1, got 0"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"noise": -1.0}, "noise must be at least 0, got -1"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
    ],
)
def test_bad_numbers_are_named(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        config(tmp_path, None, **change)


def test_the_command_line_names_it():
    run, parsed = parse(
        ["diagnose", "--env", "push", "--out", "x", "--states", "3", "--candidates", "7", "--steps", "2"]
    )
    assert run is run_diagnose and parsed.bank().candidates == 7 and parsed.states == 3
