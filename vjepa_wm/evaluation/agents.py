"""The policies that are compared: they get pictures and poses, and answer with actions.

The rows of a results table differ only here. Zero and random actions say what a task is worth; the same planner with
the simulator as its dynamics says what a perfect world model would reach with this encoder and this energy, so the gap
to it is the world model's and the rest is not.

Letters: T context frames, K candidates, H horizon, N tokens per frame, D width, A action dimensions.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

import gymnasium
import numpy as np
import torch
from torch import Tensor

from vjepa_wm.models.energy import EnergyName, energy
from vjepa_wm.models.pose import POSE_DIM
from vjepa_wm.models.world_model import WorldModel
from vjepa_wm.planners import ActionBox, Plan, Planner, shift

CostSteps = Literal["last", "sum"]


class Agent(Protocol):
    """What an evaluation needs of a policy.

    Attributes:
        last_energy: energy of the picture given to the last `act` against the goal; None for agents without energy.
    """

    last_energy: float | None

    def reset(self, goal_image: np.ndarray) -> None:
        """Begin an episode.

        Args:
            goal_image: picture to reach, (H, W, 3) uint8.
        """
        ...

    def act(self, image: np.ndarray, state: np.ndarray) -> np.ndarray:
        """Choose the next action.

        Args:
            image: what the camera sees, (H, W, 3) uint8.
            state: pose of the gripper, (7,).

        Returns:
            Displacement, (7,) float32 [m, rad, gripper].
        """
        ...

    def measure(self, image: np.ndarray) -> float | None:
        """Give the energy of a picture against the goal; None for agents without energy."""
        ...


class ZeroAgent:
    """Stands still: the floor of every task."""

    last_energy = None

    def reset(self, goal_image: np.ndarray) -> None:
        """Begin an episode; the goal does not matter."""

    def act(self, image: np.ndarray, state: np.ndarray) -> np.ndarray:
        """Give the zero action, (7,) float32."""
        return np.zeros(POSE_DIM, dtype=np.float32)

    def measure(self, image: np.ndarray) -> float | None:
        """Give None: there is no energy."""
        return None


class RandomAgent:
    """Draws every action uniformly from a box.

    Args:
        low: lowest action, (7,).
        high: highest action, (7,).
        generator: source of all randomness.

    Raises:
        ValueError: if the shapes are not (7,) or low exceeds high.
    """

    last_energy = None

    def __init__(self, low: np.ndarray, high: np.ndarray, generator: np.random.Generator) -> None:
        if np.shape(low) != (POSE_DIM,) or np.shape(high) != (POSE_DIM,):
            raise ValueError(f"low and high must be ({POSE_DIM},), got {np.shape(low)} and {np.shape(high)}")
        if np.any(np.greater(low, high)):
            raise ValueError(f"low must not exceed high, got {np.asarray(low)} and {np.asarray(high)}")
        self.low, self.high, self.generator = low, high, generator

    def reset(self, goal_image: np.ndarray) -> None:
        """Begin an episode; the goal does not matter."""

    def act(self, image: np.ndarray, state: np.ndarray) -> np.ndarray:
        """Draw an action, (7,) float32."""
        return self.generator.uniform(self.low, self.high).astype(np.float32)

    def measure(self, image: np.ndarray) -> float | None:
        """Give None: there is no energy."""
        return None


@dataclass(frozen=True, kw_only=True)
class PlanningConfig:
    """How a `PlanningAgent` turns a world model into a cost.

    Attributes:
        horizon: actions per plan, of which the first is executed.
        energy: distance of latents, "l1" (V-JEPA 2-AC) or "l2".
        cost_steps: "last" judges a plan by its last frame (V-JEPA 2-AC), "sum" by all its frames. With a horizon above
            1, "last" may put off the arrival at every step and hover beside a goal within reach; "sum" wants it soon.
        context_frames: most recent frames, and the poses they were taken at, that the world model is given.
        warm_start: begin each search at the rest of the last plan.
        workspace: lowest and highest x, y, z of the gripper [m]; actions of a plan that would leave it from the present
            pose are not searched, because the training data hold none. None: no limit.

    Raises:
        ValueError: if a count is below 1, a name is unknown or the workspace is not two ascending corners.
    """

    horizon: int = 2
    energy: EnergyName = "l2"
    cost_steps: CostSteps = "sum"
    context_frames: int = 1
    warm_start: bool = True
    workspace: tuple[tuple[float, float, float], tuple[float, float, float]] | None = None

    def __post_init__(self) -> None:
        if self.workspace is not None and not np.less(*self.workspace).all():
            raise ValueError(f"workspace must be a lower and an upper corner [m], got {self.workspace}")
        energy(self.energy)
        if self.cost_steps not in get_args(CostSteps):
            raise ValueError(f"cost_steps must be one of {', '.join(get_args(CostSteps))}, got {self.cost_steps!r}")
        for name in ("horizon", "context_frames"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


class PlanningAgent:
    """Plans in the latent space of a world model, executes the first action, and plans again.

    The goal is encoded once per episode and the current frame once per action; candidates share both.

    Args:
        world_model: gives latents of pictures and imagines what actions lead to.
        planner: minimises the energy of imagined frames against the goal.
        action_space: allowed actions.
        config: how the cost is made.
        generator: source of all randomness.

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
        generator: torch.Generator,
    ) -> None:
        self.world_model, self.planner, self.config, self.generator = world_model, planner, config, generator
        self.device = next(world_model.parameters()).device
        self.action_space = action_space.to(self.device)
        self.last_energy: float | None = None
        self.last_plan: Plan | None = None
        self._energy = energy(config.energy)
        self._z_goal: Tensor | None = None
        self._context: deque[tuple[Tensor, Tensor]] = deque(maxlen=config.context_frames)

    def reset(self, goal_image: np.ndarray) -> None:
        """Begin an episode: encode the goal picture (H, W, 3) uint8, forget frames and plan of the last one."""
        self._z_goal = self._encode_image(goal_image)
        self._context.clear()
        self.last_energy = self.last_plan = None

    @torch.no_grad()
    def act(self, image: np.ndarray, state: np.ndarray) -> np.ndarray:
        """Plan from the current frame and give the first action.

        Args:
            image: what the camera sees, (H, W, 3) uint8.
            state: pose of the gripper, (7,).

        Returns:
            Displacement, (7,) float32 [m, rad, gripper].

        Raises:
            RuntimeError: if no episode was begun.
            ValueError: if the picture is not uint8 (H, W, 3), or the world model's energies are not numbers.
        """
        z = self._encode_image(image)
        self.last_energy = self._goal_energy(z.unsqueeze(0)).item()
        self._context.append((z, torch.tensor(state, dtype=torch.float32, device=self.device)))
        warm = self.last_plan is not None and self.config.warm_start
        self.last_plan = self.planner.plan(
            self._cost,
            horizon=self.config.horizon,
            action_space=self._reachable(state),
            warm_start=shift(self.last_plan.actions) if warm else None,
            generator=self.generator,
        )
        return self.last_plan.actions[0].float().cpu().numpy()

    def measure(self, image: np.ndarray) -> float | None:
        """Give the energy of a picture (H, W, 3) uint8 against the goal of the episode."""
        return self._goal_energy(self._encode_image(image).unsqueeze(0)).item()

    def _reachable(self, state: np.ndarray) -> ActionBox:
        """Cut the action box to what stays in the workspace from a pose (7,); standing still is always within it."""
        if self.config.workspace is None:
            return self.action_space
        low, high = self.action_space.low.clone(), self.action_space.high.clone()
        room = torch.tensor(np.array(self.config.workspace) - state[:3], dtype=low.dtype, device=low.device)
        low[:3] = low[:3].maximum(room[0].clamp_max(0.0))
        high[:3] = high[:3].minimum(room[1].clamp_min(0.0))
        return ActionBox(low, high, self.action_space.std)

    def _cost(self, actions: Tensor) -> Tensor:
        """Score candidates (K, H, A) with (K,)."""
        z = self._imagine(actions)
        return self._goal_energy(z.flatten(0, 1)).unflatten(0, z.shape[:2]).sum(dim=1)

    def _imagine(self, actions: Tensor) -> Tensor:
        """Give the latents of the frames that count, (K, H, N, D), or (K, 1, N, D) if only the last does."""
        z, states = (torch.stack(parts) for parts in zip(*self._context, strict=True))
        z, states = (part.expand(len(actions), *part.shape) for part in (z, states))
        imagined = self.world_model.rollout(z, states, actions)
        return imagined if self.config.cost_steps == "sum" else imagined[:, -1:]

    def _goal_energy(self, z: Tensor) -> Tensor:
        """Give the energies (B,) of latents (B, N, D) against the goal."""
        if self._z_goal is None:
            raise RuntimeError("reset(goal_image) must be called before the first action")
        return self._energy(z, self._z_goal)

    def _encode_image(self, image: np.ndarray) -> Tensor:
        """Encode one picture to (N, D)."""
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3:
            raise ValueError(f"pictures must be uint8 (H, W, 3), got {image.dtype} {image.shape}")
        return self._encode(image[None, None])[0, 0]

    def _encode(self, frames: np.ndarray) -> Tensor:
        """Encode frames (B, T, H, W, 3) uint8 to (B, T, N, D)."""
        # a copy, since frames may be read-only views of a renderer's buffer
        return self.world_model.encode(torch.tensor(frames, device=self.device))


class TrueDynamicsAgent(PlanningAgent):
    """Plans as `PlanningAgent` does, but sees what actions really lead to.

    Candidates are played in a second copy of the environment from the exact state of the first, their frames rendered
    and encoded: planner, energy and encoder stay, only the world model's prediction is replaced.

    Args:
        world_model: gives latents of pictures; its predictor is not used.
        planner: as for `PlanningAgent`.
        action_space: as for `PlanningAgent`.
        config: as for `PlanningAgent`; `context_frames` does not matter.
        generator: as for `PlanningAgent`.
        env: the environment that is being acted in, with `get_state() -> array`.
        simulator: another instance of it, with `set_state(array)`, `advance(action)` and `render()`.

    Raises:
        ValueError: if simulator is env.
    """

    def __init__(
        self,
        world_model: WorldModel,
        planner: Planner,
        action_space: ActionBox,
        config: PlanningConfig,
        generator: torch.Generator,
        *,
        env: gymnasium.Env,
        simulator: gymnasium.Env,
    ) -> None:
        super().__init__(world_model, planner, action_space, config, generator)
        if env.unwrapped is simulator.unwrapped:
            raise ValueError("simulator must be another instance than env: planning would move the real arm")
        self.env, self.simulator = env.unwrapped, simulator.unwrapped

    def _imagine(self, actions: Tensor) -> Tensor:
        """Play candidates (K, H, A) and encode the frames that count."""
        now = self.env.get_state()
        frames = np.stack([self._play(now, candidate) for candidate in actions.cpu().numpy()])
        return self._encode(frames)

    def _play(self, now: np.ndarray, actions: np.ndarray) -> np.ndarray:
        """Play one candidate (H, A) and give the frames that count, (H, S, S, 3) or (1, S, S, 3) uint8."""
        self.simulator.set_state(now)
        frames = []
        for step, action in enumerate(actions, start=1):
            self.simulator.advance(action)
            if self.config.cost_steps == "sum" or step == len(actions):
                frames.append(self.simulator.render().copy())
        return np.stack(frames)
