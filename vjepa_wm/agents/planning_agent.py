"""The agent that plans in the latent space of a world model.

Letters: T context frames, K candidates, H horizon, N tokens per frame, D width, A numbers of an action, P of a state.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from vjepa_wm.agents.allowed_actions import StateLimits, allowed_from, check_state_limits
from vjepa_wm.agents.cost import CostConfig, CostPart, Imagined
from vjepa_wm.agents.perception import Perception, one_thread
from vjepa_wm.agents.policy_rollouts import Advance, Imagination, branched, roll_policy
from vjepa_wm.agents.proposing import Proposes, proposal_of, trained_proposal
from vjepa_wm.agents.recovery import Recovery
from vjepa_wm.agents.sum_of_parts import make_cost
from vjepa_wm.checks import check_at_least
from vjepa_wm.models.energy import energy
from vjepa_wm.models.pose import integrate_pose
from vjepa_wm.models.world_model import WorldModel
from vjepa_wm.planners import ActionBox, Plan, Planner, shift

GoalState = Literal["read", "given"]
"""The robot's state at the goal is read off the goal picture by the proposal, or given beside it."""


@dataclass(frozen=True, kw_only=True)
class PlanningConfig:
    """How a `PlanningAgent` turns a world model into a cost."""

    horizon: int = 2
    """Actions per plan, of which the first is executed."""
    cost: CostConfig = field(default_factory=CostConfig)
    """What the cost of a plan is made of."""
    context_frames: int = 1
    """Most recent frames, and the states they were taken at, that the world model is given."""
    warm_start: bool = True
    """Begin each search at the rest of the last plan."""
    state_limits: StateLimits = ((), ())
    """Lowest and highest values of the first numbers of the state. Actions whose first numbers would lead outside from
    the present state are not searched, because the training data hold none. Empty: no limit."""
    goal_state: GoalState = "read"
    """Where the robot's state at the goal comes from, if the cost weighs it."""
    num_proposed: int = 0
    """Candidates that the proposal rolls out, its modes first; 0: none."""

    def __post_init__(self) -> None:
        """Check counts, names and limits."""
        check_state_limits(self.state_limits)
        check_at_least(1, horizon=self.horizon, context_frames=self.context_frames)
        check_at_least(0, num_proposed=self.num_proposed)
        if self.goal_state not in get_args(GoalState):
            raise ValueError(f"goal_state must be read or given, got {self.goal_state!r}")


class PlanningAgent:
    """Plans in the latent space of a world model, executes the first action, and plans again.

    The goal is encoded once and the current frame once per action; candidates share both.

    Attributes:
        last_energy: energy of the picture given to the last `act` against the goal.
        last_plan: the plan whose first action was given last; None at the start of an episode.
        needs_all_frames: whether the cost looks at other imagined frames than the last.
        wants_goal_state: whether the cost weighs the robot's state against one that is given.

    Source: V-JEPA 2 (arXiv 2506.09985), section 3.2.
    """

    def __init__(
        self,
        world_model: WorldModel,
        planner: Planner,
        action_space: ActionBox,
        config: PlanningConfig,
        recovery: Recovery | None = None,
        own_cost: CostPart | None = None,
        own_proposal: Proposes | None = None,
    ) -> None:
        """Put the parts together.

        Args:
            world_model: gives latents of pictures and imagines what actions lead to.
            planner: minimises the energy of imagined frames against the goal.
            action_space: allowed actions.
            config: how the cost is made.
            recovery: what leaves fixed points, where there is a proposal; None: nothing does.
            own_cost: a part of the cost of the user's own, added to the others; None: none.
            own_proposal: a proposal of the user's own, in place of the world model's; None: the world model's.

        Raises:
            ValueError: if candidates are to be proposed and there is no proposal, or actions are to be weighed and
                the world model does not know their scale.
        """
        self._proposal = None
        if config.num_proposed or recovery is not None:
            self._proposal = proposal_of(world_model, own_proposal)
        self.world_model, self.planner, self.config, self.recovery = world_model, planner, config, recovery
        self.generator = torch.Generator()
        self.perception = Perception(world_model, config.context_frames)
        self.action_space = action_space.to(self.perception.device)
        self.last_energy: float | None = None
        self.last_plan: Plan | None = None
        self._energy = energy(config.cost.latent_energy)
        scale = world_model.config.predictor.action_scale if config.cost.action_weight else ()
        self._sum_of_parts = make_cost(
            config.cost, scale, own_cost, proposal=world_model.proposal, proposes=own_proposal
        )
        self._state_goal: Tensor | None = None
        self._foreseen: tuple[Tensor, Tensor] | None = None
        self.wants_goal_state = config.cost.state_weight > 0 and config.goal_state == "given"
        self.needs_all_frames = config.cost.steps != "last" or own_cost is not None

    def reset(self, goal_image: np.ndarray, seed: int) -> None:
        """Begin an episode: encode the goal picture, forget frames and plan of the last one.

        Args:
            goal_image: picture to reach, (H, W, 3) uint8.
            seed: decides the candidates of all plans of the episode.
        """
        self.perception.begin(goal_image)
        self.last_energy = self.last_plan = self._state_goal = None
        self.generator.manual_seed(seed)
        if self.recovery is not None:
            self.recovery.reset()

    def show_goal(self, goal_image: np.ndarray) -> None:
        """Aim at another picture from now on, (H, W, 3) uint8."""
        self.perception.show_goal(goal_image)
        self._state_goal = None

    def show_goal_state(self, state: np.ndarray) -> None:
        """Take the robot's state at the goal, (P,), for the cost; without it, it is read off the goal picture."""
        self._state_goal = torch.tensor(state, dtype=torch.float32, device=self.perception.device)

    @torch.no_grad()
    def act(self, image: np.ndarray, state: np.ndarray) -> np.ndarray:
        """Plan from the current frame and give the first action.

        Args:
            image: what the camera sees, (H, W, 3) uint8.
            state: state of the robot, (P,).

        Returns:
            The action, (A,) float32.

        Raises:
            RuntimeError: if no episode was begun.
            ValueError: if the picture is not uint8 (H, W, 3), or the world model's energies are not numbers.
        """
        self.perception.see(image, state)
        self.last_energy = self._goal_energy(self.perception.z.unsqueeze(0)).item()
        last, self._foreseen = self.last_plan if self.config.warm_start else None, None
        box = allowed_from(self.action_space, state, self.config.state_limits)
        self.last_plan = self.planner.plan(
            self._cost,
            horizon=self.config.horizon,
            action_space=box,
            warm_start=None if last is None else shift(last.actions),
            candidates=self._propose(box),
            generator=self.generator,
        )
        action = self.last_plan.actions[0].float().cpu().numpy()
        if self.recovery is None or self._proposal is None:
            return action
        is_far = self.last_energy > self._proposal.near_energy
        action = self.recovery(action, state, goal_is_far=is_far, generator=self.generator)
        return box.project(torch.from_numpy(action).to(box.low)).float().cpu().numpy()

    def measure(self, image: np.ndarray) -> float | None:
        """Give the energy of a picture (H, W, 3) uint8 against the goal of the episode."""
        return self._goal_energy(self.perception.encode_image(image).unsqueeze(0)).item()

    def _propose(self, box: ActionBox) -> Tensor | None:
        """Roll the proposal forward, (K, H, A); None if nothing is to be proposed."""
        seen, proposal = self.perception, self._proposal
        if proposal is None or not self.config.num_proposed:
            return None
        with one_thread():
            mixture = proposal(seen.z.unsqueeze(0), seen.state.unsqueeze(0), seen.z_goal.unsqueeze(0))
        first = branched(mixture, self.config.num_proposed, self.generator)
        advance, frames = self._advance(len(first)), []

        def seen_after(actions: Tensor) -> tuple[Tensor, Tensor]:
            z, states = advance(actions)
            frames.append(z)
            return z, states

        candidates = roll_policy(
            proposal,
            first,
            seen.z_goal,
            seen_after,
            horizon=self.config.horizon,
            action_space=box,
            generator=self.generator,
        )
        if self.config.context_frames == 1:  # a longer context would show the world model more than it was shown here
            seen_after(candidates[:, -1])
            counting = frames if self.needs_all_frames else frames[-1:]
            self._foreseen = candidates, torch.stack(counting, dim=1)
        return candidates

    def _advance(self, num_candidates: int) -> Advance:
        """Return what does the actions of candidates one by one, from now on."""
        return Imagination(self.world_model, self.perception.z, self.perception.state, num_candidates)

    def _cost(self, actions: Tensor) -> Tensor:
        """Score candidates (K, H, A) with (K,)."""
        seen = self.perception
        imagined = Imagined(
            z=self._foresee(actions), actions=actions, z_start=seen.z, z_goal=seen.z_goal, state=seen.state
        )
        if self.config.cost.state_weight:
            imagined = replace(imagined, states=states_after(actions, seen.state), state_goal=self._goal_state())
        return self._sum_of_parts(imagined)

    def _goal_state(self) -> Tensor:
        """Return the robot's state at the goal, (P,)."""
        if self._state_goal is None:
            self._state_goal = trained_proposal(self.world_model).read_state(self.perception.z_goal.unsqueeze(0))[0]
        return self._state_goal

    def _foresee(self, actions: Tensor) -> Tensor:
        """Imagine candidates (K, H, A) as `_imagine`, but those that end in all that was proposed only once."""
        if self._foreseen is None or actions.requires_grad:
            return self._imagine(actions)
        proposed, z = self._foreseen
        num_others = len(actions) - len(proposed)
        if num_others < 0 or not torch.equal(actions[num_others:], proposed):
            return self._imagine(actions)
        return torch.cat((self._imagine(actions[:num_others]), z)) if num_others else z

    def _imagine(self, actions: Tensor) -> Tensor:
        """Give the latents of the frames that count, (K, H, N, D), or (K, 1, N, D) if only the last does."""
        z, states = (part.unsqueeze(0) for part in self.perception.context())
        return self.world_model.rollout(z, states, actions, last_only=not self.needs_all_frames)

    def _goal_energy(self, z: Tensor) -> Tensor:
        """Give the energies (B,) of latents (B, N, D) against the goal."""
        return self._energy(z, self.perception.z_goal)


def states_after(actions: Tensor, state: Tensor) -> Tensor:
    """Return the states (K, H, P) after actions (K, H, A) from a state (P,), which stays if they do not displace it."""
    now = state.expand(len(actions), -1)
    if actions.shape[-1] != state.shape[-1]:
        return now.unsqueeze(1).expand(-1, actions.shape[1], -1)
    states = []
    for action in actions.unbind(dim=1):
        now = integrate_pose(now, action)
        states.append(now)
    return torch.stack(states, dim=1)
