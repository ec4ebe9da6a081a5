"""A bank of candidates: from held-out states many action sequences, each played in the simulator and imagined.

Why this file exists: an episode that fails does not say why. Where the true end of every candidate is known, one can
ask whether a good one was among them, whether the energy finds it in what really happened, and whether it finds it in
what was imagined.

Letters: K candidates, H horizon, N tokens per frame, D width, M modes, E numbers of the objects, A action, P state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vjepa_wm.agents.allowed_actions import StateLimits
from vjepa_wm.agents.perception import Perception
from vjepa_wm.agents.proposing import Proposes
from vjepa_wm.checks import check_at_least
from vjepa_wm.envs.goal_env import GoalEnv
from vjepa_wm.envs.play import Moment, play
from vjepa_wm.envs.policy import PolicyName
from vjepa_wm.envs.task import Task
from vjepa_wm.evaluation.diagnosis.candidate_sources import (
    CandidateSource,
    ExpertSource,
    GaussianSource,
    ProposalSource,
    SourceName,
    counts,
)
from vjepa_wm.evaluation.protocol import HELD_OUT, Episode
from vjepa_wm.models.world_model import WorldModel
from vjepa_wm.planners import ActionBox

STATES_STREAM, CANDIDATES_STREAM = 101, 102
"""Words that keep the random streams of states and candidates apart from those of protocols."""


@dataclass(frozen=True, kw_only=True)
class BankConfig:
    """Size of a bank."""

    candidates: int = 36
    """Action sequences of each state: a third each of the proposal, the expert with noise, and chance; of those that
    there are."""
    steps: int = 6
    """Actions of each."""
    noise: float = 0.5
    """Largest deviation of the noise on the expert's actions, as a share of the largest action of plans; the first of
    its candidates has none, the last this."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_at_least(6, candidates=self.candidates)
        check_at_least(1, steps=self.steps)
        check_at_least(0, noise=self.noise)


@dataclass(frozen=True, kw_only=True, eq=False)
class StateBank:
    """The candidates of one state: what they did, what was seen, what was imagined."""

    sources: np.ndarray
    """Whose each candidate is, (K,) text; those of one source stand together."""
    actions: np.ndarray
    """(K, H, A) float32."""
    distances: np.ndarray
    """True distance to the goal at the start and after each action, (K, H + 1), in the environment's units."""
    reached: np.ndarray
    """Whether each of these moments is a success, (K, H + 1) bool."""
    objects: np.ndarray
    """Numbers of the objects at these moments, (K, H + 1, E) float32; E = 0 in a task without."""
    state: np.ndarray
    """State of the robot at the start, (P,) float32."""
    z_start: np.ndarray
    """Latent of what is seen at the start, (N, D) float16."""
    z_goal: np.ndarray
    """Latent of the goal picture, (N, D) float16."""
    z_true: np.ndarray
    """Latents of what was seen after each action, (K, H, N, D) float16."""
    z_imagined: np.ndarray
    """Latents that the world model imagines of the same actions, (K, H, N, D) float16."""
    expert_action: np.ndarray
    """What the expert does at the start, (A,) float32; not a number in a task without."""
    mode_means: np.ndarray
    """What the proposal says at the start, (M, A) float32; M = 0 without one."""
    mode_weights: np.ndarray
    """Weights of these modes, (M,) float32."""


class Start(NamedTuple):
    """A state that candidates begin in."""

    snapshot: np.ndarray
    """Of the environment, as `GoalEnv.get_state` gives it."""
    seen: Moment
    """What is seen there."""


class Played(NamedTuple):
    """What candidates came to."""

    moments: list[list[Moment]]
    """H + 1 moments of each of K candidates."""
    z: Tensor
    """Latents of their pictures after each action, (K, H, N, D)."""


class BankBuilder:
    """Makes the candidates of states, one state at a time; each depends on nothing but its episode and the seed."""

    def __init__(
        self,
        task: Task,
        env: GoalEnv,
        world_model: WorldModel,
        box: ActionBox,
        config: BankConfig,
        seed: int,
        own_proposal: Proposes | None = None,
    ) -> None:
        """Put the parts together.

        Args:
            task: whose expert plays and whose limits hold.
            env: environment of the task, without a limit of steps.
            world_model: encodes, imagines, and proposes if it can.
            box: actions of plans.
            config: size of the bank.
            seed: with the number of a state it decides all that is drawn.
            own_proposal: a proposal of the user's own, in place of the world model's; None: the world model's, if any.
        """
        self._task, self._env, self._config, self._seed = task, env, config, seed
        self._world_model, self._proposal = world_model, own_proposal or world_model.proposal
        self._perception = Perception(world_model)
        self._box = box.to(self._perception.device)
        self._limits: StateLimits = (task.limits.state_low, task.limits.state_high)

    def source_names(self) -> tuple[SourceName, ...]:
        """Return which sources there are."""
        names: list[SourceName] = [] if self._proposal is None else ["proposal"]
        names += ["expert"] if "expert" in self._task.policies else []
        return (*names, "gaussian")

    @torch.no_grad()
    def build(self, k: int, episode: Episode) -> StateBank:
        """Reach a state of an episode and play its candidates.

        Args:
            k: number of the state.
            episode: held-out, unsolved at its start.

        Returns:
            The bank of this state.
        """
        start = reach_state(
            self._env, self._task, episode, np.random.default_rng((HELD_OUT, STATES_STREAM, self._seed, k))
        )
        self._perception.begin(np.array(start.seen.info["goal"]["image"]))
        self._perception.see(start.seen.obs["image"], start.seen.obs["state"])
        shares = counts(self._config.candidates, self.source_names())
        played = self._play(start, self._sources(shares, k), shares)
        actions = np.array([[moment.action for moment in moments[1:]] for moments in played.moments], dtype=np.float32)
        means, weights = self._modes()
        return StateBank(
            sources=np.repeat(list(shares), list(shares.values())),
            actions=actions,
            distances=_of_moments(played.moments, "distance").astype(np.float64),
            reached=_of_moments(played.moments, "is_success").astype(bool),
            objects=_objects(played.moments),
            state=start.seen.obs["state"].astype(np.float32),
            z_start=_half(self._perception.z),
            z_goal=_half(self._perception.z_goal),
            z_true=_half(played.z),
            z_imagined=_half(self._imagine(actions)),
            expert_action=self._expert_action(start),
            mode_means=means,
            mode_weights=weights,
        )

    def _sources(self, shares: Mapping[SourceName, int], k: int) -> dict[SourceName, CandidateSource]:
        """Make the sources of a state, each with a stream of its own, so that none depends on the others' counts."""
        words = np.random.SeedSequence((HELD_OUT, CANDIDATES_STREAM, self._seed, k)).generate_state(3)
        made: dict[SourceName, CandidateSource] = {}
        if self._proposal is not None:
            generator = torch.Generator().manual_seed(int(words[0]))
            made["proposal"] = ProposalSource(
                self._proposal, self._perception.z_goal, self._box, self._limits, generator
            )
        if "expert" in shares:
            noise = np.linspace(0.0, self._config.noise, shares["expert"])
            made["expert"] = ExpertSource(self._task, self._env, noise, np.random.default_rng(int(words[1])))
        made["gaussian"] = GaussianSource(self._box, self._limits, torch.Generator().manual_seed(int(words[2])))
        return made

    def _play(
        self, start: Start, sources: Mapping[SourceName, CandidateSource], shares: Mapping[SourceName, int]
    ) -> Played:
        """Play all candidates step by step, so that their pictures are encoded together."""
        num = sum(shares.values())
        moments, snapshots = [[start.seen] for _ in range(num)], [start.snapshot] * num
        z, latents = self._perception.z.expand(num, -1, -1), []
        for _ in range(self._config.steps):
            chosen, begin = [], 0
            for name, source in sources.items():
                part = slice(begin, begin := begin + shares[name])
                chosen.append(source.act([past[-1] for past in moments[part]], z[part]))
            for k, action in enumerate(np.concatenate(chosen)):
                moments[k].append(self._step(snapshots[k], action))
                snapshots[k] = self._env.get_state()
            z = self._perception.encode(np.stack([past[-1].obs["image"] for past in moments])[:, None])[:, 0]
            latents.append(z)
        return Played(moments, torch.stack(latents, dim=1))

    def _step(self, snapshot: np.ndarray, wanted: np.ndarray) -> Moment:
        """Play one action from an exact state."""
        space = self._env.action_space
        action = np.clip(np.asarray(wanted, dtype=space.dtype), space.low, space.high)
        self._env.set_state(snapshot)
        obs, _, _, _, info = self._env.step(action)
        return Moment(obs={name: np.array(value) for name, value in obs.items()}, info=info, action=action)

    def _imagine(self, actions: np.ndarray) -> Tensor:
        """Imagine the latents that candidates (K, H, A) lead to, (K, H, N, D)."""
        z, states = (part.expand(len(actions), *part.shape) for part in self._perception.context())
        return self._world_model.rollout(z, states, torch.from_numpy(actions).to(z.device))

    def _expert_action(self, start: Start) -> np.ndarray:
        if "expert" not in self._task.policies:
            return np.full(self._box.dim, np.nan, dtype=np.float32)
        policy = self._task.make_policy("expert", self._env, np.random.default_rng(0))
        return policy(start.seen.obs, start.seen.info).astype(np.float32)

    def _modes(self) -> tuple[np.ndarray, np.ndarray]:
        """Return means (M, A) and weights (M,) of what the proposal says of the state."""
        if self._proposal is None:
            return np.zeros((0, self._box.dim), dtype=np.float32), np.zeros(0, dtype=np.float32)
        seen = self._perception
        mixture = self._proposal(seen.z[None], seen.state[None], seen.z_goal[None])
        return mixture.mean[0].cpu().numpy(), mixture.log_weights[0].exp().cpu().numpy()


def reach_state(env: GoalEnv, task: Task, episode: Episode, rng: np.random.Generator) -> Start:
    """Play an episode until it is solved, and take one of its unsolved moments.

    Args:
        env: environment of the task.
        task: whose noisy expert plays; its expert or random actions where there is none.
        episode: unsolved at its start.
        rng: draws for the policy, then which moment.
    """
    wanted: tuple[PolicyName, ...] = ("noisy_expert", "expert", "random")
    name = next(name for name in wanted if name in task.policy_names)
    policy, seen = task.make_policy(name, env, rng), []
    for moment in play(env, policy, num_steps=task.usual_steps, seed=episode.seed, options=episode.reset_options()):
        if moment.info["is_success"]:
            break
        seen.append(Start(env.get_state(), moment))
    if not seen:
        raise ValueError(f"the episode with seed {episode.seed} is solved before the first action")
    return seen[rng.integers(len(seen))]


def _of_moments(moments: list[list[Moment]], name: str) -> np.ndarray:
    """Return a number of every moment's info, (K, H + 1)."""
    return np.array([[moment.info[name] for moment in past] for past in moments])


def _objects(moments: list[list[Moment]]) -> np.ndarray:
    if "object" not in moments[0][0].info:
        return np.zeros((len(moments), len(moments[0]), 0), dtype=np.float32)
    return _of_moments(moments, "object").astype(np.float32)


def _half(z: Tensor) -> np.ndarray:
    return z.to(torch.float16).cpu().numpy()
