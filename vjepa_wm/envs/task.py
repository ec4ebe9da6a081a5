"""What a task is to everything else: one record that says how to make it, how to play it and what a plan may do.

Whoever asks "which task" reads this record: collection, previews, evaluation, planning, tables. A task of
somebody's own is the same record in their own file. Needs no simulator: importing a task imports none, making its
environment does.

Letters: A numbers of an action, P of a state, L of the state that a plan keeps within limits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from vjepa_wm.checks import check_at_least, did_you_mean
from vjepa_wm.envs.goal_env import GoalEnv
from vjepa_wm.envs.policy import POLICY_NAMES, Policy, PolicyName, RandomPolicy

PolicyMaker = Callable[[np.random.Generator], Policy]
"""Makes the policy of one episode, which draws from the generator; must be a function that can be pickled."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ActionLimits:
    """Which numbers of an action a plan may move, and how far."""

    size: tuple[float, ...]
    """Largest size of each of the A numbers, in the units of the action; 0: plans leave it at 0."""
    discrete: tuple[int, ...] = ()
    """Numbers that are minus their size, 0 or their size and nothing in between, as a gripper that opens or closes."""
    state_low: tuple[float, ...] = ()
    """Least values of the first L numbers of the state, which the first L of an action move; plans keep within."""
    state_high: tuple[float, ...] = ()
    """Largest values of the same numbers."""
    away: tuple[float, ...] = ()
    """For each of the same numbers 1 if a random displacement that frees a stuck robot may only make it larger, as the
    height of a gripper over a table, else -1; empty: any direction frees."""

    def __post_init__(self) -> None:
        """Check that the parts fit each other."""
        if not self.size or not all(0 <= size < np.inf for size in self.size):
            raise ValueError(f"size must hold a finite number, at least 0, for each of an action, got {self.size}")
        if not any(self.size):
            raise ValueError("size must leave a plan at least one number to move, got zeros only")
        wrong = [k for k in self.discrete if not 0 <= k < len(self.size) or not self.size[k]]
        if wrong:
            raise ValueError(
                f"discrete must name numbers of an action that plans move, 0 to {len(self.size) - 1}, got {wrong}"
            )
        if len(self.state_low) != len(self.state_high) or not np.less(self.state_low, self.state_high).all():
            raise ValueError(
                f"state_low and state_high must be two ascending corners, got {self.state_low} and {self.state_high}"
            )
        if self.away and len(self.away) != len(self.state_low):
            raise ValueError(f"away must have {len(self.state_low)} numbers, as state_low, got {len(self.away)}")
        if len(self.state_low) > len(self.size):
            raise ValueError(
                f"state_low must have at most {len(self.size)} numbers, as an action, got {len(self.state_low)}"
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """All that others need to know of a task."""

    name: str
    """Its name on the command line, in data sets and in results."""
    aim: str
    """What is to be done, in a few words that begin with a verb."""
    success_rule: str
    """When the goal is reached, in words, with the numbers of the environment as it is made."""
    make_env: Callable[..., GoalEnv]
    """Makes the environment; takes the fields of `vjepa_wm.envs.goal_env.GoalEnvConfig` by name. Importing mujoco fixes
    the library it renders with, so the function, not its file, imports what needs mujoco."""
    limits: ActionLimits
    """What a plan may do."""
    usual_steps: int
    """Actions of an episode that leave an expert time to spare."""
    policies: Mapping[PolicyName, PolicyMaker] = field(default_factory=dict)
    """What makes its expert, noisy_expert and play, as far as it has them; random, where it is not just a draw from the
    action space."""
    ordered_goals: bool = False
    """Whether `info["goal"]["subgoals"]` has pictures of the way, in order, the goal last."""
    usual_variation: Mapping[str, str] = field(default_factory=dict)
    """What changes between the episodes that are collected unless something else is asked for: fields of
    `VariationConfig` and their values, of factors that nothing that was learned without them could generalise to."""

    def __post_init__(self) -> None:
        """Check what would fail late."""
        if not self.name.isidentifier():
            raise ValueError(f"name must be letters, digits and underscores, got {self.name!r}")
        check_at_least(1, usual_steps=self.usual_steps)
        unknown = sorted(set(self.policies) - set(POLICY_NAMES))
        if unknown:
            raise ValueError(f"policies must be some of {', '.join(POLICY_NAMES)}, got {unknown}")

    @property
    def policy_names(self) -> tuple[PolicyName, ...]:
        """The policies that it has, random always."""
        return tuple(name for name in POLICY_NAMES if name in self.policies or name == "random")

    def check_policy(self, name: str) -> None:
        """Raise a ValueError that names the policies it has unless this is one of them."""
        if name not in self.policy_names:
            raise ValueError(
                f"policy of {self.name} must be one of {', '.join(self.policy_names)}, got {name!r}"
                f"{did_you_mean(name, self.policy_names).rstrip(';')}"
            )

    def make_policy(self, name: PolicyName, env: GoalEnv, rng: np.random.Generator) -> Policy:
        """Make a policy for one episode.

        Args:
            name: which one.
            env: environment of the task, whose action space random actions come from.
            rng: generator to draw from.

        Returns:
            The policy.

        Raises:
            ValueError: if the task has no such policy.
        """
        self.check_policy(name)
        if name in self.policies:
            return self.policies[name](rng)
        return RandomPolicy(rng, env.action_space)
