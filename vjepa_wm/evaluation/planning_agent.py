"""The agent that plans in the latent space of a world model.

Letters: T context frames, K candidates, H horizon, N tokens per frame, D width, A numbers of an action, P of a state.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from vjepa_wm.checks import check_at_least
from vjepa_wm.models.energy import EnergyName, energy
from vjepa_wm.models.world_model import WorldModel
from vjepa_wm.planners import ActionBox, Plan, Planner, shift

CostSteps = Literal["last", "sum"]


@dataclass(frozen=True, kw_only=True)
class PlanningConfig:
    """How a `PlanningAgent` turns a world model into a cost."""

    horizon: int = 2
    """Actions per plan, of which the first is executed."""
    energy: EnergyName = "l2"
    """Distance of latents, "l1" (V-JEPA 2-AC) or "l2"."""
    cost_steps: CostSteps = "sum"
    """"last" judges a plan by its last frame (V-JEPA 2-AC), "sum" by all its frames. With a horizon above 1, "last" may
    put off the arrival at every step and hover beside a goal within reach; "sum" wants it soon."""
    context_frames: int = 1
    """Most recent frames, and the states they were taken at, that the world model is given."""
    warm_start: bool = True
    """Begin each search at the rest of the last plan."""
    state_limits: tuple[tuple[float, ...], tuple[float, ...]] = ((), ())
    """Lowest and highest values of the first numbers of the state. Actions whose first numbers would lead outside from
    the present state are not searched, because the training data hold none. Empty: no limit."""

    def __post_init__(self) -> None:
        """Check counts, names and limits."""
        low, high = self.state_limits
        if len(low) != len(high) or not np.less(low, high).all():
            raise ValueError(f"state_limits must be a lower and an upper corner, got {self.state_limits}")
        energy(self.energy)
        if self.cost_steps not in get_args(CostSteps):
            raise ValueError(f"cost_steps must be one of {', '.join(get_args(CostSteps))}, got {self.cost_steps!r}")
        check_at_least(1, horizon=self.horizon, context_frames=self.context_frames)


class PlanningAgent:
    """Plans in the latent space of a world model, executes the first action, and plans again.

    The goal is encoded once and the current frame once per action; candidates share both.

    Attributes:
        last_energy: energy of the picture given to the last `act` against the goal.
        last_plan: the plan whose first action was given last; None at the start of an episode.

    Source: V-JEPA 2 (arXiv 2506.09985), section 3.2.
    """

    def __init__(
        self,
        world_model: WorldModel,
        planner: Planner,
        action_space: ActionBox,
        config: PlanningConfig,
    ) -> None:
        """Put the parts together.

        Args:
            world_model: gives latents of pictures and imagines what actions lead to.
            planner: minimises the energy of imagined frames against the goal.
            action_space: allowed actions.
            config: how the cost is made.
        """
        self.world_model, self.planner, self.config = world_model, planner, config
        self.generator = torch.Generator()
        self.device = next(world_model.parameters()).device
        self.action_space = action_space.to(self.device)
        self.last_energy: float | None = None
        self.last_plan: Plan | None = None
        self._energy = energy(config.energy)
        self._z_goal: Tensor | None = None
        self._context: deque[tuple[Tensor, Tensor]] = deque(maxlen=config.context_frames)

    def reset(self, goal_image: np.ndarray, seed: int) -> None:
        """Begin an episode: encode the goal picture, forget frames and plan of the last one.

        Args:
            goal_image: picture to reach, (H, W, 3) uint8.
            seed: decides the candidates of all plans of the episode.
        """
        self.show_goal(goal_image)
        self._context.clear()
        self.last_energy = self.last_plan = None
        self.generator.manual_seed(seed)

    def show_goal(self, goal_image: np.ndarray) -> None:
        """Aim at another picture from now on, (H, W, 3) uint8."""
        self._z_goal = self._encode_image(goal_image)

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
        z = self._encode_image(image)
        self.last_energy = self._goal_energy(z.unsqueeze(0)).item()
        self._context.append((z, torch.tensor(state, dtype=torch.float32, device=self.device)))
        last = self.last_plan if self.config.warm_start else None
        self.last_plan = self.planner.plan(
            self._cost,
            horizon=self.config.horizon,
            action_space=self._reachable(state),
            warm_start=None if last is None else shift(last.actions),
            generator=self.generator,
        )
        return self.last_plan.actions[0].float().cpu().numpy()

    def measure(self, image: np.ndarray) -> float | None:
        """Give the energy of a picture (H, W, 3) uint8 against the goal of the episode."""
        return self._goal_energy(self._encode_image(image).unsqueeze(0)).item()

    def _reachable(self, state: np.ndarray) -> ActionBox:
        """Cut the action box to what stays within the limits from a state (P,); standing still is always allowed."""
        limits = np.array(self.config.state_limits)
        num_limited = limits.shape[1]
        low, high = self.action_space.low.clone(), self.action_space.high.clone()
        room = torch.tensor(limits - state[:num_limited], dtype=low.dtype, device=low.device)
        low[:num_limited] = low[:num_limited].maximum(room[0].clamp_max(0.0))
        high[:num_limited] = high[:num_limited].minimum(room[1].clamp_min(0.0))
        for k in self.action_space.discrete:  # which cannot go half as far
            low[k] = low[k] if low[k] == self.action_space.low[k] else 0.0
            high[k] = high[k] if high[k] == self.action_space.high[k] else 0.0
        return ActionBox(low, high, self.action_space.std, self.action_space.discrete)

    def _cost(self, actions: Tensor) -> Tensor:
        """Score candidates (K, H, A) with (K,)."""
        z = self._imagine(actions)
        return self._goal_energy(z.flatten(0, 1)).unflatten(0, z.shape[:2]).sum(dim=1)

    def _imagine(self, actions: Tensor) -> Tensor:
        """Give the latents of the frames that count, (K, H, N, D), or (K, 1, N, D) if only the last does."""
        z, states = (torch.stack(parts).unsqueeze(0) for parts in zip(*self._context, strict=True))
        return self.world_model.rollout(z, states, actions, last_only=self.config.cost_steps == "last")

    def _goal_energy(self, z: Tensor) -> Tensor:
        """Give the energies (B,) of latents (B, N, D) against the goal."""
        if self._z_goal is None:
            raise RuntimeError("reset(goal_image, seed) must be called before the first action")
        return self._energy(z, self._z_goal)

    def _encode_image(self, image: np.ndarray) -> Tensor:
        """Encode one picture to (N, D)."""
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3:
            raise ValueError(f"pictures must be uint8 (H, W, 3), got {image.dtype} {image.shape}")
        return self._encode(image[None, None])[0, 0]

    def _encode(self, frames: np.ndarray) -> Tensor:
        """Encode frames (B, T, H, W, 3) uint8 to (B, T, N, D)."""
        with _one_thread():
            # a copy, since frames may be read-only views of a renderer's buffer
            return self.world_model.encode(torch.tensor(frames, device=self.device))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute with one thread meanwhile.

    With more, the patch embedding's long sums are added up in another order, and plans, which amplify the last digits,
    would depend on how many processes share a machine. What is imagined does not change with the threads.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
