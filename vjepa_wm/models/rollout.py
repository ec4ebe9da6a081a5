"""Roll a predictor forward over many candidates that begin at the same observed steps.

Planning asks what each of some hundred action sequences leads to, from one context. What does not depend on the
candidate is computed once: all observed steps but the last, and of the last the patch tokens and what the first block
makes of them before attention. Keys and values of earlier steps are kept, so that no step is computed twice, and the
last block works for the patches alone.

Letters: E episodes, K candidates of each, T observed steps, H horizon, N patch tokens of a step, C condition tokens of
a step (action, state), D width of latents, W width of the predictor, A action, P state, h heads, d size of a head.

Source: V-JEPA 2 (arXiv 2506.09985), section 3.2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from vjepa_wm.models.ac_predictor import ActionConditionedPredictor, frame_causal_mask, patch_grid
from vjepa_wm.models.in_threads import in_threads
from vjepa_wm.models.key_value_cache import KeyValueCache
from vjepa_wm.models.layers import Projected, normalize_features
from vjepa_wm.models.rope import RotaryTables

_MOST_TOKENS = 2048  # in a part: of more, what one layer writes has left the processor's cache when the next reads it
_PARTS = 4  # or a multiple, for as many threads; a number of its own, so that results do not depend on the threads


@dataclass(frozen=True)
class _Context:
    """What the candidates of an episode have in common."""

    patches: Tensor
    """Patch tokens of the last observed step, (E, N, W)."""
    projected: Projected | None
    """What the first block makes of them before attention; None where that depends on the action (AdaLN)."""
    cache: KeyValueCache
    """The observed steps before that one."""
    rotary: list[RotaryTables]
    """Tables of the steps in which the candidates act, H in all."""


def roll_out(
    predictor: ActionConditionedPredictor,
    z: Tensor,
    seen: tuple[Tensor, Tensor],
    actions: Tensor,
    states: Tensor,
    *,
    last_only: bool = False,
) -> Tensor:
    """Imagine what candidates lead to.

    Args:
        predictor: what is rolled forward.
        z: normalised latents of the observed steps, (E, T, N, D).
        seen: actions (E, T - 1, A) that led from one observed step to the next, and states (E, T - 1, P) before each.
        actions: of the candidates, from the last observed step on, (E, K, H, A).
        states: in which they are done, (E, K, H, P).
        last_only: whether only the latents after the last action are returned.

    Returns:
        Normalised latents after each action, (E, K, H or 1, N, D) float32.
    """
    episodes, candidates, horizon = actions.shape[:3]
    context = _share(predictor, z, seen, horizon)
    conditions = predictor.embed_conditions(actions, states).flatten(0, 1)
    which = torch.arange(episodes, device=z.device).repeat_interleave(candidates)
    num_parts = _num_parts(len(which), conditions.shape[2] + z.shape[2], z.device)
    rows = zip(conditions.tensor_split(num_parts), which.tensor_split(num_parts), strict=True)
    imagined = in_threads(lambda part: _imagine(predictor, context, *part, last_only), list(rows))
    return torch.cat(imagined).unflatten(0, (episodes, candidates))


def _num_parts(rows: int, tokens: int, device: torch.device) -> int:
    """Return into how many parts rows of so many tokens are cut: one, but on a CPU without gradients."""
    if device.type != "cpu" or torch.is_grad_enabled():
        return 1
    return max(1, min(rows, _PARTS * math.ceil(rows * tokens / (_PARTS * _MOST_TOKENS))))


def _share(predictor: ActionConditionedPredictor, z: Tensor, seen: tuple[Tensor, Tensor], horizon: int) -> _Context:
    """Compute what no candidate's action is needed for."""
    past, num_tokens = z.shape[1] - 1, z.shape[2]
    patches = predictor.embed_patches(z)
    tokens, condition = predictor.arrange(predictor.embed_conditions(*seen), patches[:, :past])
    per_step = tokens.shape[2]
    num_conditions = per_step - num_tokens
    tables = predictor.tables(0, past + horizon, num_conditions, patch_grid(None, num_tokens), patches)
    cache = KeyValueCache()
    if past:
        cache.add_steps(past, per_step)
        mask = frame_causal_mask(past, per_step, 0, z.device)
        predictor.run_blocks(tokens.flatten(1, 2), tables.part(0, past * per_step), mask, cache, condition=condition)
    rotary = [tables.part(step * per_step, (step + 1) * per_step) for step in range(past, past + horizon)]
    projected = None
    if condition is None:
        projected = predictor.first_block.project(patches[:, past], rotary[0].part(num_conditions, per_step))
    return _Context(patches[:, past], projected, cache, rotary)


def _imagine(
    predictor: ActionConditionedPredictor, context: _Context, conditions: Tensor, which: Tensor, last_only: bool
) -> Tensor:
    """Roll rows of conditions (B, H, C, W) forward, each from the context `which` (B,), to (B, H or 1, N, D)."""
    horizon, num_tokens = conditions.shape[1], context.patches.shape[1]
    cache = None
    if horizon > 1 or context.cache.steps:
        tokens = (context.cache.steps + horizon) * context.rotary[0].cos.shape[2]
        cache = context.cache.select(which, None if torch.is_grad_enabled() else tokens)
    projected: Projected | None = None
    if context.projected is not None:
        own = predictor.first_block.project(conditions[:, 0], context.rotary[0].part(0, conditions.shape[2]))
        q, k, v = (torch.cat((a, b[which]), dim=2) for a, b in zip(own, context.projected, strict=True))
        projected = (q, k, v)
    patches = context.patches[which]
    frames: list[Tensor] = []
    for step, rotary in enumerate(context.rotary):
        x, condition = predictor.arrange(conditions[:, step].unsqueeze(1), patches.unsqueeze(1))
        x = predictor.run_blocks(
            x.squeeze(1), rotary, None, cache, last=num_tokens, projected=projected, condition=condition
        )
        frame = normalize_features(predictor.read_out(x).float())
        frames = [frame] if last_only else [*frames, frame]
        if step + 1 < horizon:
            patches, projected = predictor.embed_patches(frame), None
    return torch.stack(frames, dim=1)
