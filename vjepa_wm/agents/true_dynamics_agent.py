"""The agent that plans with the simulator: what a perfect world model would reach with this encoder and this energy.

The gap to it is the world model's, and the rest is not.

Letters: K candidates, H horizon, N tokens per frame, D width, A numbers of an action, S side of the pictures.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vjepa_wm.agents.cost import CostPart
from vjepa_wm.agents.planning_agent import PlanningAgent, PlanningConfig
from vjepa_wm.agents.policy_rollouts import Advance
from vjepa_wm.agents.proposing import Proposes
from vjepa_wm.agents.recovery import Recovery
from vjepa_wm.envs.goal_env import GoalEnv
from vjepa_wm.models.world_model import WorldModel
from vjepa_wm.planners import ActionBox, Planner


class TrueDynamicsAgent(PlanningAgent):
    """Plans as `PlanningAgent` does, but sees what actions really lead to.

    Candidates are played in a second copy of the environment from the exact state of the first, their frames rendered
    and encoded: planner, energy, encoder and proposal stay, only the world model's prediction is replaced.
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
        *,
        env: GoalEnv,
        simulator: GoalEnv,
    ) -> None:
        """Put the parts together.

        Args:
            world_model: gives latents of pictures; its predictor is not used.
            planner: as for `PlanningAgent`.
            action_space: as for `PlanningAgent`.
            config: as for `PlanningAgent`; `context_frames` does not matter.
            recovery: as for `PlanningAgent`.
            own_cost: as for `PlanningAgent`.
            own_proposal: as for `PlanningAgent`.
            env: the environment that is being acted in.
            simulator: another instance of it.

        Raises:
            ValueError: if simulator is env.
        """
        super().__init__(world_model, planner, action_space, config, recovery, own_cost, own_proposal)
        if env is simulator:
            raise ValueError("simulator must be another instance than env: planning would move the real robot")
        self.env, self.simulator = env, simulator

    def _advance(self, num_candidates: int) -> Advance:
        """Return what plays the actions of candidates one by one, from now on."""
        moments = [self.env.get_state()] * num_candidates

        def play(actions: Tensor) -> tuple[Tensor, Tensor]:
            frames, states = [], []
            for k, action in enumerate(actions.cpu().numpy()):
                self.simulator.set_state(moments[k])
                states.append(self.simulator.advance(action))
                moments[k] = self.simulator.get_state()
                frames.append(self.simulator.render().copy())
            z = self.perception.encode(np.stack(frames)[:, None])[:, 0]
            return z, torch.tensor(np.stack(states), dtype=torch.float32, device=z.device)

        return play

    def _imagine(self, actions: Tensor) -> Tensor:
        """Play candidates (K, H, A) and encode the frames that count."""
        now = self.env.get_state()
        frames = np.stack([self._play(now, candidate) for candidate in actions.detach().cpu().numpy()])
        return self.perception.encode(frames)

    def _play(self, now: np.ndarray, actions: np.ndarray) -> np.ndarray:
        """Play one candidate (H, A) and give the frames that count, (H, S, S, 3) or (1, S, S, 3) uint8."""
        self.simulator.set_state(now)
        frames = []
        for step, action in enumerate(actions, start=1):
            self.simulator.advance(action)
            if self.needs_all_frames or step == len(actions):
                frames.append(self.simulator.render().copy())
        return np.stack(frames)
