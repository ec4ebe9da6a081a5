"""The goal-conditioned proposal: from what is seen now and the goal picture to a mixture over the next action.

Why this file exists: search from scratch finds no way to a goal that lies beyond a few steps, while trajectories are
full of ways to whatever they show later. A proposal learns from them in hindsight what to do next on the way from one
latent to another. What it makes of the tokens also serves two readouts that change nothing in it: the robot's state in
a picture, which says whether a goal picture's pose is reached, and the steps that are left from one picture to another.
A third one does change it: a code of the scene without the robot, by which a search can tell where objects are.
It knows neither simulator nor planner; it is an optional part of a world model.

Letters: B batch, N tokens per frame, D width of the encoder, R width of the reader, M modes, A action, P state, C code
of the scene.

Source: goal-conditioned behaviour cloning with hindsight goals (arXiv 1906.05838, 2004.11457); mixture density networks
(Bishop 1994).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vjepa_wm.checks import check_at_least
from vjepa_wm.models.action_mixture import ActionMixture

READOUT_DIM = 128
"""Width of the hidden layer of readouts."""
LEAST_LOG_STD, LARGEST_LOG_STD = -3.5, 1.0
"""Bounds of the modes' deviations, in units of the action's: a mode may neither vanish nor be everywhere."""


@dataclass(frozen=True, kw_only=True)
class ProposalConfig:
    """Size and form of a `Proposal`."""

    encoder_dim: int
    """Width D of the encoder's tokens."""
    num_tokens: int
    """Tokens N of a frame."""
    action_dim: int
    """Numbers A of an action."""
    state_dim: int
    """Numbers P of a state."""
    reader_dim: int = 32
    """Width R to which each token is reduced."""
    hidden_dim: int = 512
    """Width of the hidden layers."""
    depth: int = 3
    """Hidden layers."""
    relation_dim: int = 0
    """Channels of convolutions over the grid of tokens, which see the present, the goal and their difference of a patch
    and its neighbours; 0: none, and what lies where is learned for each place of its own."""
    relation_depth: int = 2
    """Blocks of such convolutions; each sees a patch further."""
    relation_rounds: int = 1
    """How often what the patches say goes through all blocks, with the same weights: a way through a maze is found by
    one rule, applied as often as the way is long."""
    num_modes: int = 8
    """Gaussians M of the mixture."""
    use_state: bool = True
    """Whether the robot's state is given beside the latents."""
    scene_dim: int = 0
    """Numbers C of a code that shows the scene without the robot; 0: there is none."""
    object_dim: int = 0
    """Numbers that a readout of objects' poses gives, which is trained with labels; 0: there is none."""
    near_energy: float = 0.0
    """L2 energy of latents below which what is seen is called near the goal, taken from how little small steps of the
    training data change it."""
    action_scale: tuple[float, ...] = ()
    """Unit of each action number; empty: 1."""
    state_mean: tuple[float, ...] = ()
    """Subtracted from states; empty: nothing."""
    state_scale: tuple[float, ...] = ()
    """Unit of each state number; empty: 1."""

    def __post_init__(self) -> None:
        """Check the sizes."""
        sizes = {name: getattr(self, name) for name in ("reader_dim", "hidden_dim", "depth", "num_modes", "num_tokens")}
        check_at_least(1, **sizes, relation_depth=self.relation_depth, relation_rounds=self.relation_rounds)
        check_at_least(0, object_dim=self.object_dim, relation_dim=self.relation_dim, scene_dim=self.scene_dim)
        if self.relation_dim and math.isqrt(self.num_tokens) ** 2 != self.num_tokens:
            raise ValueError(f"relation_dim must be 0 for {self.num_tokens} tokens, which are no square grid")
        for name, size in (("action_scale", self.action_dim), ("state_mean", self.state_dim)):
            values = getattr(self, name)
            if values and len(values) != size:
                raise ValueError(f"{name} must be empty or hold {size} numbers, got {len(values)}")
        if len(self.state_scale) != len(self.state_mean):
            raise ValueError(
                f"state_scale must have as many numbers as state_mean {len(self.state_mean)}, got "
                f"{len(self.state_scale)}"
            )


class Proposal(nn.Module):
    """A network that proposes the next action."""

    def __init__(self, config: ProposalConfig) -> None:
        """Draw the weights of a new proposal.

        Args:
            config: its size and form.
        """
        super().__init__()
        self.config = config
        self.reader = nn.Sequential(nn.Linear(config.encoder_dim, config.reader_dim), nn.GELU())
        read = config.num_tokens * config.reader_dim
        width = 3 * read + (config.state_dim if config.use_state else 0)
        self.relation = None
        if config.relation_dim:
            self.relation = _Relation(3 * config.reader_dim, config)
            width += config.num_tokens * (config.relation_dim // 4)
        layers: list[nn.Module] = []
        for _ in range(config.depth):
            layers += [nn.Linear(width, config.hidden_dim), nn.LayerNorm(config.hidden_dim), nn.GELU()]
            width = config.hidden_dim
        self.trunk = nn.Sequential(*layers)
        self.modes = nn.Linear(width, config.num_modes * (1 + 2 * config.action_dim))
        self.state_readout = _readout(read, config.state_dim)
        self.distance_readout = _readout(3 * read, 1)
        if config.scene_dim:
            self.scene_linear = nn.Linear(read, config.scene_dim)
            self.scene_readout = _readout(read, config.scene_dim)
            self.register_buffer("scene_unit", torch.ones(()))
        if config.object_dim:
            self.object_readout = _readout(read, config.object_dim)
        self.register_buffer("action_unit", torch.tensor(config.action_scale or (1.0,) * config.action_dim))
        self.register_buffer("state_offset", torch.tensor(config.state_mean or (0.0,) * config.state_dim))
        self.register_buffer("state_unit", torch.tensor(config.state_scale or (1.0,) * config.state_dim))
        self.register_buffer("arrival_radius", torch.zeros(()))

    action_unit: Tensor
    state_offset: Tensor
    state_unit: Tensor
    scene_unit: Tensor
    """Squared distance of the codes of training frames and their goals, mean; where there are codes."""
    arrival_radius: Tensor
    """How far, by `state_distance`, nine of ten training frames that have arrived are at most; 0 where training did not
    say."""

    @property
    def near_energy(self) -> float:
        """L2 energy of latents below which what is seen is called near the goal."""
        return self.config.near_energy

    def read_tokens(self, z: Tensor) -> Tensor:
        """Reduce latents (B, N, D) to (B, N, R): what of them tells which action leads where."""
        return self.reader(z)

    def read(self, z: Tensor) -> Tensor:
        """Reduce latents (B, N, D) to (B, N * R)."""
        return self.read_tokens(z).flatten(1)

    def forward(self, z: Tensor, state: Tensor, z_goal: Tensor) -> ActionMixture:
        """Propose the next action.

        Args:
            z: latents of what is seen now, (B, N, D).
            state: of the robot, (B, P).
            z_goal: latents of the goal picture, (B, N, D), or (1, N, D) for all of the batch.

        Returns:
            A mixture in the units of the action.

        Raises:
            ValueError: if the shapes are not those of the configuration.
        """
        self._check(z, state, z_goal)
        parts = [self.relate(z, z_goal)]
        if self.relation is not None:
            patches = parts[0].unflatten(1, (3, self.config.num_tokens, self.config.reader_dim))
            parts.append(self.relation(patches.transpose(1, 2).flatten(2)))
        if self.config.use_state:
            parts.append((state - self.state_offset) / self.state_unit)
        numbers = self.modes(self.trunk(torch.cat(parts, dim=-1))).unflatten(-1, (self.config.num_modes, -1)).float()
        logits, mean, log_std = numbers.split((1, self.config.action_dim, self.config.action_dim), dim=-1)
        std = log_std.clamp(LEAST_LOG_STD, LARGEST_LOG_STD).exp()
        return ActionMixture(
            log_weights=F.log_softmax(logits.squeeze(-1), dim=-1),
            mean=mean * self.action_unit,
            std=std * self.action_unit,
        )

    def relate(self, z: Tensor, z_goal: Tensor) -> Tensor:
        """Read what is seen (B, N, D), the goal (B or 1, N, D) and their difference, (B, 3 * N * R)."""
        here, goal = self.read(z), self.read(z_goal).expand(len(z), -1)
        return torch.cat((here, goal, goal - here), dim=-1)

    def read_state(self, z: Tensor) -> Tensor:
        """Read the robot's state (B, P) off latents (B, N, D) of a picture alone.

        The readout learns above the reader and does not change it.
        """
        return self.state_readout(self.read(z).detach()).float() * self.state_unit + self.state_offset

    def state_distance(self, state: Tensor, z_goal: Tensor) -> Tensor:
        """Return how far states (B, P) are from the one read off goal pictures (B or 1, N, D), (B,).

        It is the largest difference of any of their numbers, in units of its deviation.
        """
        return ((state - self.read_state(z_goal)) / self.state_unit).abs().amax(dim=-1)

    def steps_left(self, z: Tensor, z_goal: Tensor) -> Tensor:
        """Estimate how many steps lead from latents (B, N, D) to the first arrival at others (B or 1, N, D), (B,).

        The readout learns above the reader and does not change it.
        """
        return self.log_steps_left(z, z_goal).expm1().clamp_min(0.0)

    def log_steps_left(self, z: Tensor, z_goal: Tensor) -> Tensor:
        """Return log(1 + steps left), (B,), which is what is trained."""
        return self.distance_readout(self.relate(z, z_goal).detach()).float().squeeze(-1)

    def scene_code(self, z: Tensor) -> Tensor:
        """Say of latents (B, N, D) what the scene is without the robot, (B, C).

        Raises:
            ValueError: if it has no such code.
        """
        self.check_scene()
        read = self.read(z)
        return (self.scene_linear(read) + self.scene_readout(read)).float()

    def scene_distance(self, z: Tensor, z_goal: Tensor) -> Tensor:
        """Return the squared distance of the codes of latents (B, N, D) and others (B or 1, N, D), (B,).

        1 is what frames are from their goals in training. Raises as `scene_code`.
        """
        return (self.scene_code(z) - self.scene_code(z_goal)).square().sum(dim=-1) / self.scene_unit

    def check_scene(self) -> None:
        """Raise a ValueError unless there is a code of the scene."""
        if not self.config.scene_dim:
            raise ValueError(
                "the proposal has no code of the scene; train-proposal makes one unless --scene-weight is 0"
            )

    def read_objects(self, z: Tensor) -> Tensor:
        """Read the objects' poses off latents (B, N, D); only for a proposal that was trained with labels.

        Returns:
            (B, object_dim), in the form it was trained on.

        Raises:
            ValueError: if it has no such readout.
        """
        if not self.config.object_dim:
            raise ValueError("this proposal was trained without labels and reads no objects")
        return self.object_readout(self.read(z))

    def _check(self, z: Tensor, state: Tensor, z_goal: Tensor) -> None:
        config = self.config
        tokens = (config.num_tokens, config.encoder_dim)
        if z.shape[1:] != tokens or z_goal.shape[1:] != tokens or len(z_goal) not in (1, len(z)):
            raise ValueError(
                f"z and z_goal must be (B, {tokens[0]}, {tokens[1]}) for this proposal, got {tuple(z.shape)} and "
                f"{tuple(z_goal.shape)}"
            )
        if state.shape != (len(z), config.state_dim):
            raise ValueError(f"state must be {(len(z), config.state_dim)}, got {tuple(state.shape)}")


class _Relation(nn.Module):
    """Residual blocks of convolutions over a square grid of tokens."""

    def __init__(self, width: int, config: ProposalConfig) -> None:
        super().__init__()
        dim, self.rounds = config.relation_dim, config.relation_rounds
        self.widen = nn.Conv2d(width, dim, 1)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.GroupNorm(1, dim), nn.Conv2d(dim, dim, 3, padding=1), nn.GELU(), nn.Conv2d(dim, dim, 1))
            for _ in range(config.relation_depth)
        )
        self.narrow = nn.Conv2d(dim, dim // 4, 1)

    def forward(self, tokens: Tensor) -> Tensor:
        """Turn tokens (B, N, C) into numbers (B, N * dim // 4)."""
        side = math.isqrt(tokens.shape[1])
        x = self.widen(tokens.transpose(1, 2).unflatten(2, (side, side)))
        for _ in range(self.rounds):
            for block in self.blocks:
                x = x + block(x)
        return self.narrow(F.gelu(x)).flatten(1)


def _readout(width: int, num_out: int) -> nn.Module:
    return nn.Sequential(nn.Linear(width, READOUT_DIM), nn.GELU(), nn.Linear(READOUT_DIM, num_out))
