"""Which part is said to limit a task, on banks made up so that one part alone does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vjepa_wm.evaluation.diagnosis.bank_report import BankNumbers, bank_energies, report_bank
from vjepa_wm.evaluation.diagnosis.diagnosis_content import Diagnosis, diagnosis_sections, section_text
from vjepa_wm.evaluation.diagnosis.failures import FAILURE_KINDS
from vjepa_wm.evaluation.diagnosis.open_loop import open_loop
from vjepa_wm.evaluation.diagnosis.verdict import Evidence, Thresholds, give_verdict, summary

SOURCES = np.array(["proposal", "proposal", "expert", "expert", "gaussian", "gaussian"])
# a state a row: the first candidate is all the proposal would do by itself
DISTANCES = np.array([[0.20, 0.03, 0.02, 0.25, 0.30, 0.31], [0.21, 0.02, 0.03, 0.26, 0.33, 0.32]])
GOOD = open_loop(np.full((12, 3), 0.1), np.full((12, 3), 0.5), np.arange(12) % 2 == 0)
BAD = open_loop(np.full((12, 3), 0.6), np.full((12, 3), 0.5), np.arange(12) % 2 == 0)


def bank(encoded=DISTANCES, predicted=DISTANCES, reached=DISTANCES < 0.04):
    energies = bank_energies(reading=True)
    costs = np.repeat(np.stack([encoded, predicted], axis=1)[:, :, None], len(energies), axis=2)
    starts = np.full(len(costs), 0.4)
    return BankNumbers(
        sources=SOURCES, energies=energies, costs=costs, starts=starts, distances=DISTANCES, reached=reached
    )


def evidence(numbers=None, errors=GOOD, **more):
    numbers = numbers or bank()
    return Evidence(rows=report_bank(numbers), numbers=numbers, open_loop=errors, **more)


def limiting(case):
    return [finding.part for finding in give_verdict(case) if finding.limits]


def failed(**counts):
    return {kind: list(range(counts.get(kind.replace(" ", "_"), 0))) for kind in FAILURE_KINDS}


NEARLY = DISTANCES.copy()  # ranks nearly rightly, and what reaches the goal last of the good ones
NEARLY[:, [1, 2]] = DISTANCES[:, :1] + 0.005
FIRST_ALONE = (DISTANCES < 0.04) & (SOURCES != "proposal")


@pytest.mark.parametrize(
    ("case", "parts"),
    [
        (evidence(), []),
        (evidence(bank(encoded=-DISTANCES, predicted=-DISTANCES)), ["encoder", "cost", "search"]),
        (evidence(bank(encoded=NEARLY)), ["cost"]),
        (evidence(errors=BAD), ["predictor"]),
        (evidence(bank(predicted=-DISTANCES)), ["predictor", "search"]),
        (evidence(bank(reached=FIRST_ALONE)), ["proposal"]),
        (evidence(success={"proposal_recovery": 0.6, "proposal_search": 0.4}), ["search"]),
        (evidence(success={"proposal": 0.3, "proposal_search": 0.4}), []),
        (evidence(success={"proposal_recovery": 0.6, "world_model": 0.6}), []),  # the same row, no search
        (evidence(failures={"proposal": failed(stuck=4, fell_short=2)}), ["recovery"]),
        (evidence(failures={"proposal": failed(stuck=1, fell_short=5)}), []),
    ],
)
def test_the_part_that_is_wrong_is_named(case, parts):
    if parts and parts[0] == "proposal":  # picks are of the expert's there
        case = replace(case, rows=report_bank(bank()))
    assert limiting(case) == parts


def test_what_nothing_tells_is_not_known():
    findings = {finding.part: finding for finding in give_verdict(evidence(bank(reached=np.zeros((2, 6), bool))))}
    assert findings["cost"].limits is findings["proposal"].limits is findings["recovery"].limits is None
    assert "--results" in findings["recovery"].words
    older = {kind: numbers for kind, numbers in failed(fell_short=3).items() if kind != "stuck"}
    (recovery,) = (found for found in give_verdict(evidence(failures={"proposal": older})) if found.part == "recovery")
    assert recovery.limits is None and "hold no states" in recovery.words
    line = summary("push", list(findings.values()))
    assert line == "what limits push: nothing that was measured; not known: cost, proposal, recovery"


def test_the_words_say_number_and_threshold():
    findings = give_verdict(evidence(bank(predicted=-DISTANCES)), Thresholds(ranks_well=0.7))
    words = {finding.part: finding.words for finding in findings}
    assert "correlation of 1.00" in words["encoder"] and "0.7 is enough" in words["encoder"]
    assert "where an object moved, its error is 0.20 of standing still's" in words["predictor"]
    assert "correlation of -1.00, 2.00 less" in words["predictor"]
    assert "in 100% of the states; of these the proposal has none in 0%" in words["proposal"]


def test_the_report_has_all_sections_and_json_no_nan():
    case = evidence(success={"proposal": 0.5}, failures={"proposal": failed(stuck=2)})
    diagnosis = Diagnosis(
        task="push",
        states=2,
        rows=case.rows,
        open_loop=case.open_loop,
        better_than_expert=float("nan"),
        findings=give_verdict(case),
        success=case.success,
        failures=case.failures,
    )
    sections = diagnosis_sections(diagnosis)
    assert len(sections) == 6 and sections[0].words.startswith("what limits push: recovery")
    for section in sections:
        assert len({len(line) for line in section.table}) <= 1
        assert section_text(section).startswith(section.title)
    assert "- predictor does not limit: after 3 steps" in section_text(sections[0])
    assert sections[-1].table[1] == ["proposal", "50%", "0", "0", "2", "0", "0"]
    content = diagnosis.to_json()
    assert content["better_than_expert"] is None and content["verdict"].startswith("what limits push: recovery")
    assert len(content["rows"]) == 4 * 24
