"""How to plan, as the command line has it: a planner, the cost it minimises, and what a task lets plans do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, cast, get_args

import torch

from vjepa_wm.agents.cost import CostConfig, CostPart, DistanceName, PatchWeights, StepsName
from vjepa_wm.agents.planning_agent import GoalState, PlanningConfig
from vjepa_wm.agents.proposal_agent import ModeChoice, ProposingConfig
from vjepa_wm.agents.proposing import OwnProposal
from vjepa_wm.checks import check_at_least, check_positive, check_within
from vjepa_wm.envs.task import ActionLimits
from vjepa_wm.models.pose import POSE_DIM
from vjepa_wm.own_code import load_own
from vjepa_wm.planners import (
    CEM,
    ICEM,
    MPPI,
    ActionBox,
    CEMConfig,
    GradientConfig,
    GradientPlanner,
    ICEMConfig,
    MPPIConfig,
    Planner,
    Polish,
    RandomShooting,
    RandomShootingConfig,
    vjepa2_box,
)
from vjepa_wm.planners.cem import cpu, dino_wm, jepa_wms, vjepa2

PRESETS: dict[str, Callable[[], CEMConfig]] = {"cpu": cpu, "vjepa2": vjepa2, "jepa_wms": jepa_wms, "dino_wm": dino_wm}
METHODS = ("cem", "icem", "mppi", "random_shooting", "gradient", "polish")
PROPOSED_SEARCH = CEMConfig(num_samples=25, num_elites=6, iterations=1, keep_mean=True, return_best=True)
"""A choice among what the proposal brings: refined further, plans find what the predictor does not know."""
PROPOSED_HORIZON = 4
PROPOSED_PRIORS: dict[DistanceName, float] = {"reading": 0.001, "scene": 0.01}
"""Weight of the proposal's word beside an energy."""


SwitchName = Literal["clock", "arrival"]


@dataclass(frozen=True, kw_only=True)
class PlannerOptions:
    """How to plan: a preset, and what to change of it."""

    method: str = "cem"
    """cem, icem, mppi, random_shooting, gradient, polish (cem, then a gradient), or module:name: something of your own
    that, called without arguments, makes a planner."""
    preset: str = "cpu"
    """Settings of cem. cpu: small, L2 energy, what the task lets plans move. vjepa2: 800 samples, 10 iterations, L1
    energy of the last frame, and for DROID actions the box of V-JEPA 2-AC, in which the gripper is planned. jepa_wms
    and dino_wm: those of these papers, L2 energy of the last frame."""
    num_samples: int | None = None
    """Candidates per iteration, if not the preset's; random_shooting draws as many as all iterations together."""
    iterations: int | None = None
    """Rounds of sampling, or steps of a gradient, if not the preset's."""
    horizon: int | None = None
    """Actions per plan; the first is executed, then a new plan is made. None: 1, and 4 with a proposal."""
    energy: DistanceName | None = None
    """Distance of latents, l1, l2 or cosine, or reading: l2 of what the proposal's reader leaves of them, or scene: of
    its codes of the scene without the robot. None: the preset's, and reading where the world model proposes."""
    cost_steps: StepsName | None = None
    """Which imagined frames count: last, sum, discounted or least (the nearest). None: the preset's, and last where
    candidates are proposed."""
    patch_weights: PatchWeights = "none"
    """change: each patch counts by how much goal and start differ in it."""
    action_weight: float = 0.0
    """Weight of how far actions lie beyond twice the deviation of the training actions."""
    prior_weight: float | None = None
    """Weight of how unlikely the proposal calls a plan's first action; none: 0.001 beside an energy of readings, 0.01
    beside one of the scene, where candidates are proposed, else 0."""
    distance_weight: float = 0.0
    """Weight of the steps that the proposal says are left from imagined frames."""
    state_weight: float = 0.0
    """Weight of how far the robot's imagined state is from that at the goal."""
    goal_state: GoalState = "read"
    """read: the robot's state at the goal is read off the goal picture by the proposal; given: it comes with the goal,
    as a robot that was led there by hand knows it."""
    switch: SwitchName = "clock"
    """When the next of ordered goal pictures is shown: by the protocol's clock, or at the arrival at the one before, as
    the robot's state and the one that the proposal reads off the picture say, at the latest after twice that time."""
    cost: str | None = None
    """module:name of a function of your own that is added to the cost: it takes a `vjepa_wm.agents.cost.Imagined` and
    returns a number for each candidate."""
    proposal: str | None = None
    """module:name of a proposal of your own, in place of the world model's: called with z (B, N, D), state (B, P) and
    z_goal (B, N, D) it returns a `vjepa_wm.models.action_mixture.ActionMixture`."""
    choice: ModeChoice = "mode"
    """Which action is taken of what the proposal says, where there is no search, while the goal is far: the heaviest
    mode, the heaviest that moves, a mode drawn by weight, or a draw from all of it. Near the goal: the heaviest."""
    num_proposed: int = 24
    """Candidates that the proposal rolls out for a search, its modes first; at most as many as an iteration has."""
    max_displacement: float | None = None
    """Largest displacement along each axis per action [m]; none: the task's. Training data must hold such actions."""

    def __post_init__(self) -> None:
        """Check names and ranges."""
        if self.method not in METHODS and ":" not in self.method:
            raise ValueError(f"method must be one of {', '.join(METHODS)}, or module:name, got {self.method!r}")
        if self.preset not in PRESETS:
            raise ValueError(f"preset must be one of {', '.join(PRESETS)}, got {self.preset!r}")
        check_at_least(1, horizon=self.horizon, iterations=self.iterations, num_proposed=self.num_proposed)
        check_at_least(4 if self.method == "icem" else 2, num_samples=self.num_samples)
        check_positive(max_displacement=self.max_displacement)
        check_within(0, 1, max_displacement=self.max_displacement)
        if self.switch not in get_args(SwitchName):
            raise ValueError(f"switch must be clock or arrival, got {self.switch!r}")
        self._cost_config()

    def make_planner(self, num_actions: int, *, proposed: bool = False) -> Planner:
        """Make the planner for actions of so many numbers, and for candidates that a proposal brings or not.

        Raises:
            ValueError: if it is of the user's own and cannot be imported, or makes no planner.
        """
        if ":" in self.method:
            return _own_planner(self.method)
        cem = self._cem(num_actions, proposed)
        samples, elites, iterations = cem.num_samples, cem.num_elites, cem.iterations
        if self.method == "icem":
            elites = max(
                2, min(elites, samples // 2)
            )  # it divides the number of candidates, but to no less than twice this
            return ICEM(ICEMConfig(num_samples=samples, num_elites=elites, iterations=iterations))
        if self.method == "mppi":
            config = MPPIConfig(num_samples=samples, num_elites=max(elites, samples // 5), iterations=iterations)
            return MPPI(replace(config, return_best=proposed))
        if self.method == "random_shooting":
            return RandomShooting(RandomShootingConfig(num_samples=samples * iterations))
        if self.method == "cem":
            return CEM(cem)
        steps = self.iterations or GradientConfig().steps
        if self.method == "gradient":
            return GradientPlanner(GradientConfig(steps=steps))
        return Polish(CEM(cem), GradientPlanner(GradientConfig(num_starts=1, steps=min(steps, 10))))

    def own_cost(self) -> CostPart | None:
        """Return the part of the cost that is of the user's own, if there is one.

        Raises:
            ValueError: if it cannot be imported or called.
        """
        if self.cost is None:
            return None
        part = load_own(self.cost, "cost", "my_costs:near_the_table")
        if not callable(part):
            raise ValueError(f"cost {self.cost} must be a function, got {type(part).__name__}")
        return cast(CostPart, part() if isinstance(part, type) else part)

    def own_proposal(self, num_actions: int) -> OwnProposal | None:
        """Return the proposal that is of the user's own, for actions of so many numbers, if there is one.

        Raises:
            ValueError: if it cannot be imported or called.
        """
        if self.proposal is None:
            return None
        propose = load_own(self.proposal, "proposal", "my_proposals:straight_on")
        propose = propose() if isinstance(propose, type) else propose
        if not callable(propose):
            raise ValueError(f"proposal {self.proposal} must be a function, got {type(propose).__name__}")
        return OwnProposal(propose, self.proposal, num_actions)

    def box(self, limits: ActionLimits) -> ActionBox:
        """Return the actions that are searched, of those that a task lets plans do."""
        if self.preset == "vjepa2" and len(limits.size) == POSE_DIM:
            return vjepa2_box(self.max_displacement or 0.075)
        high, num_moved = torch.tensor(limits.size), len(limits.state_low)
        if self.max_displacement is not None:
            if not num_moved:
                raise ValueError("max_displacement must be left out for a task whose actions do not move its state")
            if self.max_displacement > high[:num_moved].max():
                raise ValueError(
                    f"max_displacement must be at most that of the task, {high[:num_moved].max():g} m, "
                    f"got {self.max_displacement:g}"
                )
            high[:num_moved] = high[:num_moved].clamp_max(self.max_displacement)
        return ActionBox(-high, high, discrete=limits.discrete)

    def proposing(self, limits: ActionLimits) -> ProposingConfig:
        """Return how an action is chosen among what is proposed, and how far it may go."""
        return ProposingConfig(choice=self.choice, state_limits=(limits.state_low, limits.state_high))

    def planning(self, limits: ActionLimits, *, proposed: bool = False, reads: bool = False) -> PlanningConfig:
        """Return what the cost is made of, and how far plans may go.

        Args:
            limits: of the task.
            proposed: whether candidates are proposed.
            reads: whether the proposal is the world model's, whose reader can judge.
        """
        cem = self._cem(len(limits.size), proposed)
        most = cem.num_samples - (self.method == "cem" and cem.keep_mean)  # the mean keeps its place
        return PlanningConfig(
            horizon=self.horizon or (PROPOSED_HORIZON if proposed else 1),
            num_proposed=min(self.num_proposed, most) if proposed else 0,
            cost=self._cost_config(proposed=proposed, reads=reads),
            goal_state=self.goal_state,
            state_limits=(limits.state_low, limits.state_high),
        )

    def _cost_config(self, *, proposed: bool = False, reads: bool = False) -> CostConfig:
        usual: DistanceName = "reading" if proposed and reads and self.preset == "cpu" else "l2"
        energy = self.energy or ("l1" if self.preset == "vjepa2" else usual)
        usual_prior = PROPOSED_PRIORS.get(energy, 0.0) if proposed else 0.0
        return CostConfig(
            energy=energy,
            steps=self.cost_steps or ("sum" if self.preset == "cpu" and not proposed else "last"),
            prior_weight=usual_prior if self.prior_weight is None else self.prior_weight,
            patch_weights=self.patch_weights,
            action_weight=self.action_weight,
            distance_weight=self.distance_weight,
            state_weight=self.state_weight,
        )

    def _cem(self, num_actions: int, proposed: bool) -> CEMConfig:
        config = PROPOSED_SEARCH if proposed and self.preset == "cpu" else PRESETS[self.preset]()
        if num_actions != POSE_DIM:  # the dead zone is the gripper's
            config = replace(config, deadzone=0.0)
        if self.num_samples is not None:
            elites = min(config.num_elites, self.num_samples)
            config = replace(config, num_samples=self.num_samples, num_elites=elites)
        return config if self.iterations is None else replace(config, iterations=self.iterations)


def _own_planner(name: str) -> Planner:
    make = load_own(name, "planner", "my_planners:Greedy")
    if not callable(make):
        raise ValueError(f"planner {name} must be a class or function that makes one, got {type(make).__name__}")
    planner = make()
    if not callable(getattr(planner, "plan", None)):
        raise ValueError(f"planner {name} must make something with plan(cost, ...), got {type(planner).__name__}")
    return cast(Planner, planner)
