"""The action-conditioned predictor of V-JEPA 2-AC: features of the next step from features, actions and states so far.

Each step is one group of tokens, [action, (state), (extrinsics), patches], or the patches alone, whose norms are told
the others (AdaLN); a token sees its own step and all earlier ones. Nothing depends on a largest number of steps, and a
key/value cache makes a rollout of H steps cost H steps.

Letters: B batch, T steps, N patch tokens per step, D encoder width, A action, P state, h heads, d size of a head.

Source: V-JEPA 2 (arXiv 2506.09985), section 3; AdaLN: DiT (arXiv 2212.09748), section 3.2.
"""

from __future__ import annotations

import math

import torch
from einops import rearrange
from torch import Tensor, nn

from vjepa_wm.models.ac_predictor_config import ActionConditionedPredictorConfig
from vjepa_wm.models.adaptive_block import AdaptiveBlock
from vjepa_wm.models.key_value_cache import KeyValueCache
from vjepa_wm.models.layers import NORM_EPS, Block, Projected, init_weights, make_blocks
from vjepa_wm.models.rope import RotaryTables, rotary_tables

EXTRINSICS_DIM = 6


def frame_causal_mask(num_steps: int, tokens_per_step: int, past_steps: int, device: torch.device) -> Tensor | None:
    """Return True where a token may see another: its own step and all earlier ones; None where all may.

    Returns:
        (num_steps * tokens_per_step, (past_steps + num_steps) * tokens_per_step) booleans, or None for one step.
    """
    if num_steps == 1:
        return None
    keys = torch.arange((past_steps + num_steps) * tokens_per_step, device=device) // tokens_per_step
    queries = past_steps + torch.arange(num_steps * tokens_per_step, device=device) // tokens_per_step
    return queries.unsqueeze(1) >= keys.unsqueeze(0)


def _affine(x: Tensor, mean: tuple[float, ...], scale: tuple[float, ...]) -> Tensor:
    """Apply `(x - mean) / scale`; an empty tuple leaves that part out."""
    if mean:
        x = x - x.new_tensor(mean)
    return x / x.new_tensor(scale) if scale else x


class ActionConditionedPredictor(nn.Module):
    """Predict each step's successor, causally over steps, fully inside a step."""

    def __init__(self, config: ActionConditionedPredictorConfig) -> None:
        """Draw the weights of a new predictor.

        Args:
            config: its size and form.
        """
        super().__init__()
        self.config = config
        width = config.embed_dim
        self.predictor_embed = nn.Linear(config.encoder_dim, width)
        self.action_encoder = nn.Linear(config.action_dim, width)
        if config.use_state:
            self.state_encoder = nn.Linear(config.state_dim, width)
        if config.use_extrinsics:
            self.extrinsics_encoder = nn.Linear(EXTRINSICS_DIM, width)
        size = (width, config.num_heads, config.mlp_ratio)
        if config.conditioning == "adaln":
            self.predictor_blocks = nn.ModuleList(AdaptiveBlock(*size) for _ in range(config.depth))
        else:
            self.predictor_blocks = make_blocks(config.depth, *size)
        self.predictor_norm = nn.LayerNorm(width, eps=NORM_EPS)
        self.predictor_proj = nn.Linear(width, config.encoder_dim)
        init_weights(self, self.predictor_blocks)
        for block in self.predictor_blocks:
            if isinstance(block, AdaptiveBlock):
                block.close_gates()

    def forward(
        self,
        z: Tensor,
        actions: Tensor,
        states: Tensor | None,
        extrinsics: Tensor | None = None,
        *,
        grid: tuple[int, int] | None = None,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        """Predict the features one step after each given step.

        Args:
            z: features of the steps, (B, T, N, D).
            actions: what is done at each step, (B, T, A).
            states: robot state at each step, (B, T, P); a predictor without `use_state` does not look at them.
            extrinsics: camera pose at each step, (B, T, 6), one more token; None: no such token.
            grid: rows and columns of the N patches; None for a square.
            cache: steps before these; they are seen, and these steps are added to it.

        Returns:
            Predicted features, (B, T, N, D): entry t is the estimate of step t + 1.

        Raises:
            ValueError: if the inputs' shapes disagree, or other tokens were cached than are given now.
        """
        self._check(z, actions, states, extrinsics)
        num_steps, num_tokens = z.shape[1:3]
        past_steps = cache.steps if cache is not None else 0
        tokens, condition = self.arrange(self.embed_conditions(actions, states, extrinsics), self.embed_patches(z))
        num_conditions = tokens.shape[2] - num_tokens
        rotary = self.tables(past_steps, num_steps, num_conditions, patch_grid(grid, num_tokens), tokens)
        mask = frame_causal_mask(num_steps, tokens.shape[2], past_steps, tokens.device)
        if cache is not None:
            cache.add_steps(num_steps, tokens.shape[2])
        x = self.run_blocks(rearrange(tokens, "b t k d -> b (t k) d"), rotary, mask, cache, condition=condition)
        return self.read_out(rearrange(x, "b (t k) d -> b t k d", t=num_steps)[:, :, num_conditions:])

    def embed_conditions(self, actions: Tensor, states: Tensor | None, extrinsics: Tensor | None = None) -> Tensor:
        """Make the tokens of a step that are no patches.

        Args:
            actions: what is done at each step, (..., A).
            states: as of `forward`, (..., P).
            extrinsics: as of `forward`, (..., 6).

        Returns:
            (..., 1 to 3, width).
        """
        dtype = self.predictor_embed.weight.dtype
        conditions = [self.action_encoder(_affine(actions.float(), (), self.config.action_scale).to(dtype))]
        if self.config.use_state:
            assert states is not None  # _check refuses it
            states = _affine(states.float(), self.config.state_mean, self.config.state_scale)
            conditions.append(self.state_encoder(states.to(dtype)))
        if extrinsics is not None:
            conditions.append(self.extrinsics_encoder(extrinsics.to(dtype)))
        return torch.stack(conditions, dim=-2)

    def arrange(self, conditions: Tensor, patches: Tensor) -> tuple[Tensor, Tensor | None]:
        """Put what belongs to each step together.

        Args:
            conditions: what `embed_conditions` gives, (B, T, C, width).
            patches: what `embed_patches` gives, (B, T, N, width).

        Returns:
            The tokens of the steps, (B, T, C + N or N, width), and what is told by the norms instead, (B, T, width).
        """
        if self.config.conditioning == "adaln":
            return patches, conditions.sum(dim=2)
        return torch.cat((conditions, patches), dim=2), None

    def embed_patches(self, z: Tensor) -> Tensor:
        """Map features (..., N, D) to patch tokens (..., N, width)."""
        return self.predictor_embed(z.to(self.predictor_embed.weight.dtype))

    def run_blocks(
        self,
        x: Tensor,
        rotary: RotaryTables,
        mask: Tensor | None = None,
        cache: KeyValueCache | None = None,
        *,
        last: int | None = None,
        projected: Projected | None = None,
        condition: Tensor | None = None,
    ) -> Tensor:
        """Run all blocks over tokens (B, N, width).

        Args:
            x: the tokens.
            rotary: their tables.
            mask: as of `Block.forward`.
            cache: earlier tokens; they are seen, and these tokens are added to it.
            last: how many tokens at the end the last block is to return; None: all.
            projected: what the first block's `project` gives for `x`, if that is known already.
            condition: of each step, as `arrange` returns it.

        Returns:
            (B, N or last, width).
        """
        final = len(self.predictor_blocks) - 1
        told = {} if condition is None else {"condition": condition}
        for index, block in enumerate(self.predictor_blocks):
            layer = None if cache is None else cache.layer(index)
            first = projected if index == 0 else None
            x = block(x, rotary, mask, layer, last if index == final else None, first, **told)
        return x

    def read_out(self, x: Tensor) -> Tensor:
        """Map what the last block gives for patches (..., N, width) to predicted features (..., N, D)."""
        return self.predictor_proj(self.predictor_norm(x))

    @property
    def first_block(self) -> Block:
        """The block that sees the tokens as they are embedded."""
        block = self.predictor_blocks[0]
        assert isinstance(block, Block)
        return block

    def _check(self, z: Tensor, actions: Tensor, states: Tensor | None, extrinsics: Tensor | None) -> None:
        batch, steps = z.shape[:2]
        wanted = {"actions": (actions, self.config.action_dim)}
        if self.config.use_state:
            if states is None:
                raise ValueError(f"states must be {(batch, steps, self.config.state_dim)} for this predictor, got None")
            wanted["states"] = (states, self.config.state_dim)
        if extrinsics is not None:
            if not self.config.use_extrinsics:
                raise ValueError("extrinsics need a predictor with use_extrinsics, which is False")
            wanted["extrinsics"] = (extrinsics, EXTRINSICS_DIM)
        for name, (value, size) in wanted.items():
            if value.shape != (batch, steps, size):
                raise ValueError(
                    f"{name} must be {(batch, steps, size)} for z {tuple(z.shape)}, got {tuple(value.shape)}"
                )

    def tables(self, past: int, steps: int, num_conditions: int, grid: tuple[int, int], x: Tensor) -> RotaryTables:
        """Turn patches by (step, row, column) and conditions by their step alone, which is (step, 0, 0).

        Args:
            past: steps before the first one.
            steps: number of steps.
            num_conditions: tokens of a step before its patches.
            grid: rows and columns of the patches.
            x: gives device and type.

        Returns:
            Tables for all tokens of the steps, in their order.
        """
        head_dim = self.config.embed_dim // self.config.num_heads
        rows, columns = grid
        frame = torch.zeros(num_conditions + rows * columns, 3, device=x.device)
        ids = torch.arange(rows * columns, device=x.device)
        frame[num_conditions:, 1] = ids // columns
        frame[num_conditions:, 2] = ids % columns
        positions = frame.repeat(steps, 1, 1)
        positions[:, :, 0] = past + torch.arange(steps, device=x.device).unsqueeze(1)
        return rotary_tables(positions.flatten(0, 1), head_dim, self.config.rope, x.dtype)


def patch_grid(grid: tuple[int, int] | None, num_tokens: int) -> tuple[int, int]:
    """Return `grid`, or a square if it is None; raise ValueError if that does not hold `num_tokens` patches."""
    if grid is None:
        grid = (math.isqrt(num_tokens), math.isqrt(num_tokens))
    if grid[0] * grid[1] != num_tokens:
        raise ValueError(f"grid {grid} does not hold the {num_tokens} patch tokens of a step; name the right one")
    return grid
