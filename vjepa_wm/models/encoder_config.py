"""What a video encoder is: its configuration, the published sizes and the V-JEPA 2.1 form of each."""

from __future__ import annotations

from dataclasses import dataclass, replace

from vjepa_wm.checks import check_at_least
from vjepa_wm.models.layers import NORM_EPS, check_blocks, check_width
from vjepa_wm.models.mlp import Activation
from vjepa_wm.models.rope import RopeForm, check_rope

_PUBLISHED_LEVELS = {12: (2, 5, 8, 11), 24: (5, 11, 17, 23), 40: (9, 19, 29, 39), 48: (11, 23, 37, 47)}


@dataclass(frozen=True, kw_only=True)
class VideoEncoderConfig:
    """Size and form of a `VideoEncoder`."""

    image_size: int = 256
    """Side of the square pictures it was trained on [px]; other sizes work, as the positions say."""
    num_frames: int = 16
    """Frames of the clips it was trained on; only fixed positions depend on it."""
    patch_size: int = 16
    """Side of a patch, or its height if `patch_width` is given [px]."""
    patch_width: int | None = None
    """Width of a patch that is no square [px]."""
    tubelet_size: int = 2
    """Frames in a tubelet; 1 makes an image encoder."""
    in_channels: int = 3
    """Colour channels."""
    embed_dim: int = 192
    """Width of the tokens."""
    depth: int = 12
    """Number of blocks."""
    num_heads: int = 3
    """Attention heads."""
    mlp_ratio: float = 4.0
    """Hidden width of the MLP over `embed_dim`; SwiGLU has two thirds of it."""
    activation: Activation = "gelu"
    """MLP: two layers around a GELU, or SwiGLU."""
    norm_eps: float = NORM_EPS
    """Added to the variance in every LayerNorm."""
    drop_path: float = 0.0
    """Chance that a training sample skips the last block's branches; it grows linearly from 0 at the first."""
    rope: RopeForm | None = "true"
    """Rotary form: `tiled` for V-JEPA 2 weights, `true` for V-JEPA 2.1 and new training; None: fixed sine-cosine."""
    rope_grid: int | None = None
    """Side of the patch grid that rows and columns are stretched onto (V-JEPA 2.1: 16); None: they just count."""
    uniform_power: bool = False
    """Fixed positions only: equal channels for time, rows and columns instead of 2 : 1 : 1."""
    short_time: bool = False
    """With `uniform_power`, time and not columns has the channels that are left (340 / 342 / 342 of 1,024)."""
    class_token: bool = False
    """Whether a learned token without a position comes first."""
    temporal_depth: int = 0
    """Factorised attention: so many of the blocks, the last ones, attend over time at each place, the others within
    each frame; 0: all attend jointly."""
    levels: tuple[int, ...] = ()
    """Blocks (from 0) whose output has a norm of its own, ending with the last (V-JEPA 2.1); none: one final norm."""
    image_tokenizer: bool = False
    """Whether single pictures have an embedding of their own (V-JEPA 2.1); else they are repeated to a tubelet."""
    modality_embedding: bool = False
    """Whether a learned vector is added to all tokens of a picture, another to those of a clip (V-JEPA 2.1)."""

    def __post_init__(self) -> None:
        check_width(self.embed_dim, self.num_heads)
        check_rope(self.rope, self.rope_grid, self.embed_dim // self.num_heads)
        check_blocks(self.depth, self.mlp_ratio, self.activation, self.drop_path, self.norm_eps)
        names = ("image_size", "num_frames", "patch_size", "tubelet_size", "in_channels")
        check_at_least(1, **{name: getattr(self, name) for name in names})
        if self.image_size % self.patch_size:
            raise ValueError(f"image_size must be a multiple of patch_size {self.patch_size}, got {self.image_size}")
        check_at_least(1, patch_width=self.patch_width)
        if self.image_size % (self.patch_width or 1):
            raise ValueError(f"image_size must be a multiple of patch_width {self.patch_width}, got {self.image_size}")
        if self.num_frames < self.tubelet_size:
            raise ValueError(f"num_frames must be at least tubelet_size {self.tubelet_size}, got {self.num_frames}")
        if not 0 <= self.temporal_depth < self.depth:
            raise ValueError(
                f"temporal_depth must leave at least one of {self.depth} blocks to space, got {self.temporal_depth}"
            )
        if self.levels and (sorted(set(self.levels)) != list(self.levels) or self.levels[-1] != self.depth - 1):
            raise ValueError(f"levels must ascend and end with the last block, {self.depth - 1}, got {self.levels}")

    @property
    def patch_grid(self) -> tuple[int, int]:
        """Rows and columns of patches in a picture of the training size."""
        return self.grid_of(self.tubelet_size, self.image_size)[1:]

    @property
    def trained_grid(self) -> tuple[int, int, int]:
        """Tokens in time, rows and columns of a clip of the training size."""
        return self.grid_of(self.num_frames, self.image_size)

    @property
    def patch_shape(self) -> tuple[int, int]:
        """Height and width of a patch [px]."""
        return self.patch_size, self.patch_width or self.patch_size

    def grid_of(self, num_frames: int, image_size: int) -> tuple[int, int, int]:
        """Return the tokens in time, rows and columns of a square clip."""
        height, width = self.patch_shape
        return num_frames // self.tubelet_size, image_size // height, image_size // width

    def check_clip(self, num_frames: int, image_size: int) -> None:
        """Make sure that square clips divide into tubelets; a single frame fills one.

        Raises:
            ValueError: if they do not.
        """
        for name, side in zip(("patch_size", "patch_width"), self.patch_shape, strict=True):
            if image_size < 1 or image_size % side:
                raise ValueError(f"image_size must be a multiple of the encoder's {name} {side}, got {image_size}")
        if num_frames > 1 and num_frames % self.tubelet_size:
            raise ValueError(
                f"num_frames must be 1 or a multiple of the encoder's tubelet_size {self.tubelet_size}, "
                f"got {num_frames}"
            )


def vit_micro(image_size: int = 96) -> VideoEncoderConfig:
    """Return a 6-block, 192-wide encoder that trains on a CPU (not one of the published sizes)."""
    return VideoEncoderConfig(image_size=image_size, embed_dim=192, depth=6, num_heads=3)


def vit_tiny(image_size: int = 256) -> VideoEncoderConfig:
    """Return ViT-T/16: 192 wide, 12 blocks, 5.6 million parameters."""
    return VideoEncoderConfig(image_size=image_size, embed_dim=192, depth=12, num_heads=3)


def vit_small(image_size: int = 256) -> VideoEncoderConfig:
    """Return ViT-S/16: 384 wide, 12 blocks, 22 million parameters."""
    return VideoEncoderConfig(image_size=image_size, embed_dim=384, depth=12, num_heads=6)


def vit_base(image_size: int = 256) -> VideoEncoderConfig:
    """Return ViT-B/16: 768 wide, 12 blocks, 86 million parameters."""
    return VideoEncoderConfig(image_size=image_size, embed_dim=768, depth=12, num_heads=12)


def vit_large(image_size: int = 256) -> VideoEncoderConfig:
    """Return ViT-L/16 as released with V-JEPA 2: 1024 wide, 24 blocks, 304 million parameters, tiled positions."""
    return VideoEncoderConfig(image_size=image_size, embed_dim=1024, depth=24, num_heads=16, rope="tiled")


def vit_huge(image_size: int = 256) -> VideoEncoderConfig:
    """Return ViT-H/16 as released with V-JEPA 2: 1280 wide, 32 blocks, 632 million parameters, tiled positions."""
    return VideoEncoderConfig(image_size=image_size, embed_dim=1280, depth=32, num_heads=16, rope="tiled")


def vit_giant(image_size: int = 256) -> VideoEncoderConfig:
    """Return ViT-g/16 as released with V-JEPA 2: 1408 wide, 40 blocks, 22 heads, 1.0 billion parameters."""
    return VideoEncoderConfig(
        image_size=image_size, embed_dim=1408, depth=40, num_heads=22, mlp_ratio=48 / 11, rope="tiled"
    )


def vit_gigantic(image_size: int = 256) -> VideoEncoderConfig:
    """Return ViT-G/16: 1664 wide, 48 blocks, 26 heads, MLP 8192, 1.8 billion parameters; released as V-JEPA 2.1."""
    return VideoEncoderConfig(image_size=image_size, embed_dim=1664, depth=48, num_heads=26, mlp_ratio=64 / 13)


def level_blocks(depth: int) -> tuple[int, ...]:
    """Return the four blocks whose features V-JEPA 2.1 predicts: its own choice, or quarters for other depths."""
    return _PUBLISHED_LEVELS.get(depth) or tuple(sorted({max(depth * k // 4, 1) - 1 for k in (1, 2, 3, 4)}))


def vjepa21(config: VideoEncoderConfig) -> VideoEncoderConfig:
    """Return the V-JEPA 2.1 form of a size, e.g. `vjepa21(vit_large(384))`.

    Four levels with norms of their own, an image tokenizer, modality embeddings, and true rotary positions stretched
    onto the grid of 256 px. Source: V-JEPA 2.1 (arXiv 2603.14482), section 2.
    """
    return replace(
        config,
        rope="true",
        rope_grid=256 // config.patch_size,
        levels=level_blocks(config.depth),
        image_tokenizer=True,
        modality_embedding=True,
    )
