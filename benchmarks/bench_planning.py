"""Seconds per planned action of the released world model, and what number format and horizon cost.

All rows are measured in turn in one run, so their ratios hold on a busy machine too; the best of the rounds counts.
"""

from __future__ import annotations

import time

import numpy as np
import torch

from vjepa_wm.planners.cem import cpu
from vjepa_wm.stages.planner_options import PlannerOptions
from vjepa_wm.stages.planning import StandRecipe

ROUNDS = 5
ROWS = (("fp32", 1), ("auto", 1), ("fp32", 2), ("auto", 2))


def main() -> None:
    """Print a table."""
    image = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    agents = []
    for precision, horizon in ROWS:
        options = PlannerOptions(horizon=horizon)
        recipe = StandRecipe(task="reach", checkpoint=None, planner=options, precision=precision)
        agents.append(recipe.make_stand("world_model").agent)
        agents[-1].reset(image, seed=0)
    best = [float("inf")] * len(agents)
    for _ in range(ROUNDS):
        for index, agent in enumerate(agents):
            begin = time.perf_counter()
            agent.act(image, np.zeros(7, dtype=np.float32))
            best[index] = min(best[index], time.perf_counter() - begin)
    config = cpu()
    print(f"{config.num_samples} samples x {config.iterations} iterations, {torch.get_num_threads()} threads")
    print("format  computed in  horizon  s/action  ratio to fp32, horizon 1")
    for (precision, horizon), agent, seconds in zip(ROWS, agents, best, strict=True):
        dtype = str(next(agent.world_model.predictor.parameters()).dtype).removeprefix("torch.")
        print(f"{precision:6}  {dtype:11}  {horizon:7}  {seconds:8.3f}  {seconds / best[0]:.2f}")


if __name__ == "__main__":
    main()
