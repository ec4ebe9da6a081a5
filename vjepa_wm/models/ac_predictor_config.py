"""Size and form of the action-conditioned predictor.

Source: V-JEPA 2 (arXiv 2506.09985), section 3; AdaLN: DiT (arXiv 2212.09748), section 3.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from vjepa_wm.checks import check_at_least, check_positive
from vjepa_wm.models.layers import check_width
from vjepa_wm.models.rope import RopeForm, check_rope

Conditioning = Literal["tokens", "adaln"]
"""How action, state and extrinsics reach the patches: as tokens of their step, or through the norms of the blocks."""


@dataclass(frozen=True, kw_only=True)
class ActionConditionedPredictorConfig:
    """Size and form of an `ActionConditionedPredictor`."""

    encoder_dim: int
    """Width of the encoder's tokens."""
    embed_dim: int = 1024
    """Width of the predictor."""
    depth: int = 24
    """Number of blocks."""
    num_heads: int = 16
    """Attention heads."""
    mlp_ratio: float = 4.0
    """Hidden width of the MLP over `embed_dim`."""
    action_dim: int = 7
    """Numbers in an action."""
    state_dim: int = 7
    """Numbers in a state."""
    use_state: bool = True
    """Whether each step has a token for the robot's state."""
    use_extrinsics: bool = False
    """Whether camera poses (6 numbers per step) can be given; the published weights have room for them, untrained."""
    rope: RopeForm = "true"
    """Rotary form: `tiled` for V-JEPA 2-AC weights, `true` for new training."""
    action_scale: tuple[float, ...] = ()
    """Unit of each action number; actions are divided by it. Empty: raw, as V-JEPA 2-AC."""
    state_mean: tuple[float, ...] = ()
    """Subtracted from states. Empty: raw, as V-JEPA 2-AC."""
    state_scale: tuple[float, ...] = ()
    """Unit of each state number; states are divided by it. Empty: raw, as V-JEPA 2-AC."""
    conditioning: Conditioning = "tokens"
    """How action and state reach the patches: as tokens of their step (V-JEPA 2-AC), or by adaptive norms (AdaLN)."""

    def __post_init__(self) -> None:
        check_at_least(1, encoder_dim=self.encoder_dim, depth=self.depth, action_dim=self.action_dim)
        check_at_least(1, state_dim=self.state_dim)
        check_positive(mlp_ratio=self.mlp_ratio)
        check_width(self.embed_dim, self.num_heads)
        check_rope(self.rope, None, self.embed_dim // self.num_heads)
        if self.conditioning not in get_args(Conditioning):
            raise ValueError(f"conditioning must be tokens or adaln, got {self.conditioning!r}")
        if self.rope is None:
            raise ValueError("rope must be tiled or true for this predictor, got None")
        for name, values, size in (
            ("action_scale", self.action_scale, self.action_dim),
            ("state_mean", self.state_mean, self.state_dim),
            ("state_scale", self.state_scale, self.state_dim),
        ):
            if values and len(values) != size:
                raise ValueError(f"{name} must be empty or hold {size} numbers, got {len(values)}")
