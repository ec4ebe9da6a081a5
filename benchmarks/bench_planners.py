"""How close each planner comes to a known optimum with the same number of evaluations of the cost.

    python benchmarks/bench_planners.py [--evaluations 800 96] [--proposals 0] [--seeds 20]

One table: a row per planner and number of evaluations, a column per cost of `known_optima.py`, each over 20 numbers.
What is printed is the mean over the seeds of how much dearer the plan is than the optimum, where 0 is the optimum and 1
where the search begins. A gradient counts as one more evaluation. With --proposals, as many sequences around the
optimum are given as candidates; the first row is then the best of them.
"""

from __future__ import annotations

import argparse
import statistics

import torch
from known_optima import PROBLEMS, Problem
from torch import Tensor

from vjepa_wm.planners import (
    CEM,
    ICEM,
    MPPI,
    CEMConfig,
    GradientConfig,
    GradientPlanner,
    ICEMConfig,
    MPPIConfig,
    Planner,
    Polish,
    RandomShooting,
    RandomShootingConfig,
)


def make_planners(evaluations: int, num_proposals: int) -> dict[str, Planner]:
    """Make every planner, none of which counts more than so many evaluations."""
    rounds = 8 if evaluations >= 400 else 3
    num_samples = (evaluations - 1) // rounds
    num_elites = max(2, num_samples // 8)
    fewest, most = num_proposals + 1, max(4, num_proposals + 1)
    cem = CEMConfig(num_samples=num_samples, num_elites=num_elites, iterations=rounds, keep_mean=True, return_best=True)
    mppi = MPPIConfig(num_samples=num_samples, num_elites=max(2, num_samples // 5), iterations=rounds, return_best=True)
    to_polish = CEMConfig(
        num_samples=num_samples, num_elites=num_elites, iterations=rounds * 3 // 4, keep_mean=True, return_best=True
    )
    left = evaluations - to_polish.num_evaluations
    return {
        "random shooting": RandomShooting(RandomShootingConfig(num_samples=evaluations)),
        "CEM": CEM(cem),
        "iCEM, white noise": ICEM(_icem(evaluations, rounds, num_elites, noise_beta=0.0)),
        "iCEM": ICEM(_icem(evaluations, rounds, num_elites, noise_beta=2.0)),
        "MPPI": MPPI(mppi),
        **{
            f"gradient, {num} start{'s' * (num > 1)}": GradientPlanner(
                GradientConfig(num_starts=num, steps=(evaluations // num - 1) // 2)
            )
            for num in sorted({fewest, most})
        },
        "CEM, then gradient": Polish(
            CEM(to_polish), GradientPlanner(GradientConfig(num_starts=1, steps=(left - 1) // 2))
        ),
    }


def _icem(evaluations: int, rounds: int, num_elites: int, noise_beta: float) -> ICEMConfig:
    """Give the largest search that counts at most so many evaluations."""
    configs = (
        ICEMConfig(num_samples=num_samples, num_elites=num_elites, iterations=rounds, noise_beta=noise_beta)
        for num_samples in range(evaluations, 2 * num_elites - 1, -1)
    )
    return next(config for config in configs if config.num_evaluations <= evaluations)


def propose(problem: Problem, num: int, seed: int) -> Tensor | None:
    """Draw sequences around the optimum, half as widely as a search from nothing does, (C, H, A)."""
    generator = torch.Generator().manual_seed(1000 + seed)
    noise = torch.randn((num, *problem.optimum.shape), generator=generator)
    return problem.box.project(problem.optimum + 0.5 * problem.box.spread * noise) if num else None


def _row(gaps: list[float]) -> str:
    return "  ".join(f"{round(gap, 4) + 0.0:15.4f}" for gap in gaps)  # no -0


def measure(planner: Planner, problem: Problem, num_proposals: int, seed: int) -> tuple[float, int]:
    """Plan once; give how much dearer the plan is than the optimum, and what it counted."""
    plan = planner.plan(
        problem.cost,
        horizon=problem.horizon,
        action_space=problem.box,
        candidates=propose(problem, num_proposals, seed),
        generator=torch.Generator().manual_seed(seed),
    )
    return problem.gap(plan.actions), plan.num_evaluations


def best_proposal(problem: Problem, num: int, seed: int) -> float:
    """Give how much dearer the best proposal is than the optimum."""
    proposals = propose(problem, num, seed)
    assert proposals is not None
    return problem.gap(proposals[problem.cost(proposals).argmin()])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--evaluations", type=int, nargs="+", default=[800, 96], help="at most, per plan")
    parser.add_argument("--proposals", type=int, default=0, help="candidates given to each planner")
    parser.add_argument("--seeds", type=int, default=20)
    args = parser.parse_args()

    print("planner              counted  " + "  ".join(f"{name:>15}" for name in PROBLEMS))
    problems, seeds = [make() for make in PROBLEMS.values()], range(args.seeds)
    if args.proposals:
        gaps = [statistics.mean(best_proposal(each, args.proposals, seed) for seed in seeds) for each in problems]
        print(f"{'best proposal':21}{args.proposals:7}  {_row(gaps)}", flush=True)
    for evaluations in args.evaluations:
        for name, planner in make_planners(evaluations, args.proposals).items():
            plans = [[measure(planner, problem, args.proposals, seed) for seed in seeds] for problem in problems]
            gaps = [statistics.mean(gap for gap, _ in found) for found in plans]
            print(f"{name:21}{plans[0][0][1]:7}  {_row(gaps)}", flush=True)


if __name__ == "__main__":
    main()
