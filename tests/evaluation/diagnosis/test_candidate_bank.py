"""The bank of candidates on a task where all ends are known: what is played, what is kept, and what it depends on."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from point_model import PointModel
from point_world import POINT, SIDE, PointEnv
from tiny_world_model import tiny_world_model

from vjepa_wm.evaluation.diagnosis.bank_folder import BankFolder
from vjepa_wm.evaluation.diagnosis.bank_numbers import measure
from vjepa_wm.evaluation.diagnosis.bank_report import FUTURES, report_bank
from vjepa_wm.evaluation.diagnosis.candidate_bank import BankBuilder, BankConfig, reach_state
from vjepa_wm.evaluation.diagnosis.candidate_sources import counts
from vjepa_wm.evaluation.protocol import make_protocol
from vjepa_wm.models.proposal import Proposal, ProposalConfig
from vjepa_wm.planners import ActionBox
from vjepa_wm.safe_files import FolderInUseError

SIZE = torch.tensor(POINT.limits.size)
BOX = ActionBox(-SIZE, SIZE)
CONFIG = BankConfig(candidates=9, steps=3)
EPISODES = make_protocol(PointEnv(), name="p", task="point", num_episodes=4, steps=8, seed=1).episodes


class PointModelWithoutProposal(PointModel):
    proposal = None


def with_proposal():
    model = tiny_world_model()
    torch.manual_seed(0)
    form = ProposalConfig(encoder_dim=24, num_tokens=4, action_dim=7, state_dim=7, hidden_dim=16, num_modes=2)
    model.attach_proposal(Proposal(form))
    return model.eval()


def builder(model, task=POINT, config=CONFIG, seed=0):
    return BankBuilder(task, PointEnv(), model, BOX, config, seed)


def test_candidates_are_shared_out_evenly():
    assert counts(8, ["proposal", "expert", "gaussian"]) == {"proposal": 3, "expert": 3, "gaussian": 2}
    assert counts(7, ["gaussian"]) == {"gaussian": 7}


def test_a_model_that_knows_the_world_ranks_all_candidates_rightly():
    made = builder(PointModelWithoutProposal())
    assert made.source_names() == ("expert", "gaussian")
    banks = [made.build(k, episode) for k, episode in enumerate(EPISODES)]
    measured = measure(banks)
    assert measured.bank.costs.shape == (4, 2, 9, 9) and measured.moved is None
    rows = [row for row in report_bank(measured.bank) if (row.source, row.steps) == ("all", "last")]
    l2 = {row.future: row.ranking for row in rows if row.energy == "l2"}
    for future in FUTURES:  # but for what rounding to grey levels and half precision hides
        assert l2[future].rank_correlation > 0.9 and l2[future].regret < 0.005
    assert measured.imagined_errors.mean() < 0.02 * measured.still_errors.mean()
    gaussian = np.tile(measured.bank.sources == "gaussian", 4)
    assert measured.imagined_errors[gaussian].max() < 1e-5  # these never press against a wall


def test_what_is_kept_is_what_happened():
    bank = builder(PointModelWithoutProposal()).build(0, EPISODES[0])
    assert bank.sources.tolist() == ["expert"] * 5 + ["gaussian"] * 4
    assert (bank.distances.shape, bank.reached.shape, bank.objects.shape) == ((9, 4), (9, 4), (9, 4, 0))
    assert not bank.reached[:, 0].any() and np.ptp(bank.distances[:, 0]) == 0
    goal = bank.z_goal[0].astype(float)
    ends = np.clip(bank.state[:3] + bank.actions[..., :3].cumsum(axis=1), 0, SIDE)
    np.testing.assert_allclose(bank.distances[:, 1:], np.linalg.norm(ends - goal, axis=-1), atol=5e-3)
    np.testing.assert_allclose(bank.z_true[:, :, 0], ends, atol=3e-3)
    assert bank.distances[0, -1] < bank.distances[0, 0]  # the expert without noise comes nearer
    assert bank.mode_means.shape == (0, 7) and np.isfinite(bank.expert_action).all()
    limits = SIZE.numpy() + 1e-6
    assert (np.abs(bank.actions[5:]) <= limits).all() and (bank.actions[5:, :, 3:] == 0).all()


def test_a_proposal_is_a_source_of_its_own_and_its_modes_come_first():
    bank = builder(with_proposal()).build(1, EPISODES[1])
    assert bank.sources.tolist() == ["proposal"] * 3 + ["expert"] * 3 + ["gaussian"] * 3
    by_weight = bank.mode_means[np.argsort(-bank.mode_weights)]
    low, high = np.maximum(-SIZE.numpy()[:3], -bank.state[:3]), np.minimum(SIZE.numpy()[:3], SIDE - bank.state[:3])
    np.testing.assert_allclose(bank.actions[:2, 0, :3], np.clip(by_weight[:, :3], low, high), atol=1e-6)
    assert bank.z_imagined.shape == bank.z_true.shape == (9, 3, 4, 24) and bank.z_true.dtype == np.float16


def test_a_task_without_an_expert_has_chance_alone():
    bank = builder(PointModelWithoutProposal(), replace(POINT, policies={})).build(0, EPISODES[0])
    assert set(bank.sources.tolist()) == {"gaussian"} and np.isnan(bank.expert_action).all()


def same(first, second):
    return all(np.array_equal(getattr(first, part.name), getattr(second, part.name)) for part in fields(first))


def test_a_state_depends_on_its_number_and_the_seed_alone():
    model = with_proposal()
    busy = builder(model)
    busy.build(0, EPISODES[0])
    assert same(busy.build(2, EPISODES[2]), builder(model).build(2, EPISODES[2]))
    assert not same(builder(model, seed=1).build(2, EPISODES[2]), builder(model).build(2, EPISODES[2]))


def test_states_are_unsolved_and_lie_along_the_way():
    places = []
    for seed in range(20):
        start = reach_state(PointEnv(), POINT, EPISODES[0], np.random.default_rng(seed))
        assert not start.seen.info["is_success"]
        places.append(start.seen.info["distance"])
    assert np.ptp(places) > 0.05


def test_a_bank_is_read_as_it_was_written(tmp_path):
    bank = builder(with_proposal()).build(0, EPISODES[0])
    with BankFolder(tmp_path / "out", {"seed": 0}) as folder:
        assert not folder.has(0)
        folder.save(0, bank)
    with BankFolder(tmp_path / "out", {"seed": 0}) as folder:
        assert folder.has(0) and same(folder.load(0), bank)
        (tmp_path / "out/bank/000.npz").write_bytes(b"PK broken")
        with pytest.raises(ValueError, match=r"000\.npz is damaged"):
            folder.load(0)


def test_another_diagnosis_and_a_second_writer_are_refused(tmp_path):
    with BankFolder(tmp_path, {"seed": 0, "candidates": 6}), pytest.raises(FolderInUseError, match="is writing into"):
        BankFolder(tmp_path, {"seed": 0, "candidates": 6})
    with pytest.raises(ValueError, match="holds another diagnosis: candidates 6, asked for 9"):
        BankFolder(tmp_path, {"seed": 0, "candidates": 9})
    BankFolder(tmp_path, {"seed": 0, "candidates": 6}).__exit__()


def test_bad_sizes_are_named():
    with pytest.raises(ValueError, match="candidates must be at least 6, got 2"):
        BankConfig(candidates=2)
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        BankConfig(steps=0)
