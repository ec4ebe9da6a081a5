"""What the proposal reaches where nothing must be seen: the same network on true states in place of latents.

The gap between this row and the one on pictures is what lies between tokens and action; where it is small, more
episodes or a better choice among modes is what helps, not another encoder. Needs a dataset that records objects.

    python benchmarks/bench_true_states.py --env push --data runs/push/data --steps 4000 --episodes 50
"""

from __future__ import annotations

import argparse
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from vjepa_wm.agents.agent import ScriptedAgent
from vjepa_wm.agents.policy_rollouts import decided
from vjepa_wm.agents.recovery import Recovery
from vjepa_wm.data.latents.latent_set import LatentSet
from vjepa_wm.data.latents.latent_store import encode_dataset
from vjepa_wm.data.latents.window_mixture import WindowMixture
from vjepa_wm.data.trajectories.dataset import TrajectoryDataset
from vjepa_wm.envs import find_task, make
from vjepa_wm.evaluation.evaluated_episode import play_episode
from vjepa_wm.evaluation.protocol_files import load_protocol
from vjepa_wm.evaluation.success_rate import wilson_interval
from vjepa_wm.models.load import load_world_model
from vjepa_wm.models.precision import pick_dtype
from vjepa_wm.stages.planner_options import PlannerOptions
from vjepa_wm.training.proposal_config import TrainProposalConfig, proposal_form
from vjepa_wm.training.proposal_losses import object_code
from vjepa_wm.training.proposal_training import ProposalTrainer
from vjepa_wm.training.run.latent_training import Windows

CPU = torch.device("cpu")


def tokens(states, objects) -> torch.Tensor:
    """Return robot and objects (B, P), (B, O) as latents of one token, (B, 1, D)."""
    states, objects = (torch.as_tensor(np.asarray(one), dtype=torch.float32) for one in (states, objects))
    return torch.cat((states, object_code(objects)), dim=1).unsqueeze(1)


def read(paths, world_model) -> list[LatentSet]:
    """Return datasets with true states as latents."""
    encoder = load_world_model(world_model).encoder  # its latents are not looked at, but the store has all the rest
    sets = [encode_dataset(encoder, TrajectoryDataset(path), dtype=pick_dtype("auto", CPU)) for path in paths]
    return [replace(one, z=tokens(one.states, one.objects).numpy()) for one in sets]


class TrueStatePolicy:
    """Acts by the proposal on what the simulator says."""

    def __init__(self, proposal, task, protocol, choice: str, recovers: bool, rng) -> None:
        self.proposal, self.choice = proposal, choice
        self.box = PlannerOptions().box(task.limits)
        self.recovery = Recovery(task.limits) if recovers else None
        self.generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
        self.switches = np.cumsum(protocol.goal_steps)
        self.step = 0

    @torch.no_grad()
    def __call__(self, obs, info):
        """Return the next action."""
        goals = info["goal"].get("subgoals") if len(self.switches) else None
        goal = goals[int((self.step >= self.switches).sum())] if goals else info["goal"]
        self.step += 1
        state = torch.as_tensor(obs["state"], dtype=torch.float32)[None]
        here, there = (tokens(one["state"][None], one["object"][None]) for one in (obs | info, goal))
        mixture = self.proposal(here, state, there)
        drawn = {"heaviest": mixture.heaviest, "drawn": lambda: mixture.draw(self.generator)}[self.choice]()
        action = drawn[0].numpy()
        if self.recovery is not None:
            action = self.recovery(action, obs["state"], goal_is_far=True, generator=self.generator)
        return decided(torch.from_numpy(action), self.box).numpy()


def main() -> None:
    """Train on true states, and play with each choice, with and without recovery."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--env", required=True)
    parser.add_argument("--data", nargs="+", type=Path, required=True)
    parser.add_argument("--world-model", default="vjepa_wm/weights/arm", help="whose latents the datasets have already")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--episodes", type=int, default=50)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO)
    sets = read(options.data, options.world_model)
    config = TrainProposalConfig(
        data=tuple(options.data),
        world_model=Path(),
        out=Path(),
        steps=options.steps,
        reader_dim=128,
        scene_weight=0.0,  # nothing must be seen
        precision="fp32",
    )
    parts = [one.split(0.05, 0) for one in sets]
    train, val = (WindowMixture([part[k] for part in parts], 2, seed=0) for k in (0, 1))
    model = load_world_model(options.world_model)
    trainer = ProposalTrainer(config, proposal_form(config, train.sets), model, Windows(train, val))
    for step in range(options.steps):
        trainer.step(step, train)
    print({name: round(value, 3) for name, value in trainer.validate(val).items()})
    proposal = trainer.proposal.eval()
    task, protocol = find_task(options.env), load_protocol(options.env).first(options.episodes)
    env = make(options.env).unwrapped
    for choice in ("heaviest", "drawn"):
        for recovers in (False, True):
            agent = ScriptedAgent(
                lambda rng, c=choice, r=recovers: TrueStatePolicy(proposal, task, protocol, c, r, rng)
            )
            won = sum(
                play_episode(agent, env, protocol, one, seed=k).result.success_last
                for k, one in enumerate(protocol.episodes)
            )
            low, high = wilson_interval(won, options.episodes)
            words = f"{choice}{', with recovery' if recovers else ''}"
            print(f"{options.env}: {words}: {won} of {options.episodes} ({low:.0%} to {high:.0%})", flush=True)


if __name__ == "__main__":
    main()
