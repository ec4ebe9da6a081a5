"""Compare with facebookresearch/vjepa2: the same random weights, the same input, float32; one line per comparison.

    python scripts/compare_reference.py CHECKOUT      # a git checkout of that repository, with torch and einops at hand

Rows of V-JEPA 2.1 run when the checkout has it. Exits with 1 when a difference exceeds 1e-5.
"""

from __future__ import annotations

import sys
import types
from functools import partial
from pathlib import Path

import torch
from reference_checkout import open_checkout
from torch import nn

from vjepa_wm.models.ac_predictor import ActionConditionedPredictor, ActionConditionedPredictorConfig
from vjepa_wm.models.attentive_probe import AttentiveProbe, AttentiveProbeConfig
from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.encoder_config import VideoEncoderConfig, vjepa21
from vjepa_wm.models.predictor import MaskedPredictor, MaskedPredictorConfig

LIMIT = 1e-5
NORM = partial(nn.LayerNorm, eps=1e-6)
GRID, NUM_TOKENS = (4, 4, 4), 64
worst: list[float] = []


def share_weights(theirs: nn.Module, ours: nn.Module) -> None:
    """Give both the same random weights; names must agree, but for the reference's table of fixed positions."""
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            if "pos_embed" not in name:
                parameter.normal_(1.0 if "norm" in name and "weight" in name else 0.0, 0.08)
    ours.load_state_dict({name: value for name, value in theirs.state_dict().items() if "pos_embed" not in name})
    theirs.eval(), ours.eval()


def report(title: str, theirs: object, ours: object) -> None:
    """Print the largest absolute difference of two results."""
    pairs = zip(theirs, ours, strict=True) if isinstance(theirs, list | tuple) else [(theirs, ours)]
    difference = max(float((a.flatten() - b.flatten()).abs().max()) for a, b in pairs)
    worst.append(difference)
    print(f"{title:72} {difference:.1e}")


def draw_ids(count: int, seed: int) -> torch.Tensor:
    """Draw token ids for two clips."""
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([torch.randperm(NUM_TOKENS, generator=generator)[:count] for _ in range(2)])


def compare_encoders(modules: types.ModuleType) -> None:
    """Compare V-JEPA 2 encoders at three head sizes, then fixed positions, SwiGLU and image encoders."""
    for head in (64, 80, 32):
        options = {"embed_dim": 3 * head, "depth": 4, "num_heads": 3}
        theirs = modules.VisionTransformer(
            img_size=64, num_frames=8, norm_layer=NORM, use_rope=True, out_layers=[0, 1, 2, 3], **options
        )
        ours = VideoEncoder(VideoEncoderConfig(image_size=64, num_frames=8, rope="tiled", **options))
        share_weights(theirs, ours)
        clip, wide = torch.randn(2, 3, 8, 64, 64), torch.randn(2, 3, 6, 48, 96)
        masks = [draw_ids(20, 0), draw_ids(20, 1)]
        for name, x, ids in (("square", clip, None), ("non-square", wide, None), ("masked", clip, masks[0])):
            layers = ours.intermediate_layers(x, ids, layers=range(4))
            report(f"encoder, head size {head}, {name}, layers 0 to 3", theirs(x, ids), layers)
        theirs.out_layers = None
        both = torch.cat(ours(clip, masks))
        report(f"encoder, head size {head}, two masks at once", theirs(clip, masks), both)
    for title, form in (
        ("fixed positions", {}),
        ("fixed positions, uniform power", {"uniform_power": True}),
        ("SwiGLU", {"use_silu": True}),
        ("image encoder", {"num_frames": 1}),
    ):
        options = {"num_frames": 8, "embed_dim": 192, "depth": 4, "num_heads": 3} | form
        theirs = modules.VisionTransformer(img_size=64, norm_layer=NORM, **options)
        swiglu = options.pop("use_silu", False)
        image = {"tubelet_size": 1} if title == "image encoder" else {}
        config = VideoEncoderConfig(
            image_size=64, rope=None, activation="swiglu" if swiglu else "gelu", **options, **image
        )
        ours = VideoEncoder(config)
        if image:
            ours.patch_embed.proj.weight = nn.Parameter(ours.patch_embed.proj.weight.squeeze(2))
        share_weights(theirs, ours)
        if image:
            ours.patch_embed.proj.weight = nn.Parameter(ours.patch_embed.proj.weight.unsqueeze(2))
        shapes = (
            ((2, 3, 64, 64), (2, 3, 96, 96)) if image else ((2, 3, 8, 64, 64), (2, 3, 4, 64, 64), (2, 3, 8, 96, 96))
        )
        for x in map(torch.randn, shapes):
            report(f"encoder, {title}, {tuple(x.shape[2:])}", theirs(x), ours(x))


def compare_predictors(masked: types.ModuleType, conditioned: types.ModuleType) -> None:
    """Compare the masked predictor for each mask token and the action-conditioned one for 1 to 8 steps."""
    context, ids = torch.randn(2, 20, 192), (draw_ids(20, 2), draw_ids(30, 3))
    for head in (32, 64, 80):
        size = {"depth": 4, "num_heads": 3, "num_mask_tokens": 10}
        theirs = masked.vit_predictor(
            img_size=64,
            num_frames=8,
            embed_dim=192,
            predictor_embed_dim=3 * head,
            use_mask_tokens=True,
            use_rope=True,
            **size,
        )
        ours = MaskedPredictor(MaskedPredictorConfig(encoder_dim=192, embed_dim=3 * head, rope="tiled", **size))
        share_weights(theirs, ours)
        for index in range(10):
            expected = theirs(context, *ids, mask_index=index)
            report(f"masked predictor, head size {head}, mask {index}", expected, ours(context, *ids, GRID, index))
    for head in (64, 80, 32):
        for used in (False, True):
            theirs = conditioned.vit_ac_predictor(
                img_size=64,
                num_frames=16,
                embed_dim=192,
                predictor_embed_dim=4 * head,
                depth=4,
                num_heads=4,
                use_extrinsics=used,
            )
            config = ActionConditionedPredictorConfig(
                encoder_dim=192, embed_dim=4 * head, depth=4, num_heads=4, use_extrinsics=True, rope="tiled"
            )
            ours = ActionConditionedPredictor(config)
            share_weights(theirs, ours)
            for steps in range(1, 9):
                z = torch.randn(2, steps, 16, 192)
                conditions = [torch.randn(2, steps, size) for size in ((7, 7, 6) if used else (7, 7))]
                name = f"AC predictor, head size {head}, {steps} steps, {'with' if used else 'without'} extrinsics"
                report(name, theirs(z.flatten(1, 2), *conditions), ours(z, *conditions))


def compare_probes(pooler: types.ModuleType, anticipation: types.ModuleType) -> None:
    """Compare the attentive probe with its two kinds of heads."""
    for head in (64, 80, 32):
        tokens = torch.randn(2, 50, 4 * head)
        size = {"embed_dim": 4 * head, "num_heads": 4, "depth": 4}
        theirs = pooler.AttentiveClassifier(num_classes=174, **size)
        ours = AttentiveProbe(AttentiveProbeConfig(num_classes=174, **size))
        share_weights(theirs, ours)
        report(f"probe, head size {head}, classes", theirs(tokens), ours(tokens))
        classes = [dict.fromkeys(range(count)) for count in (11, 12, 13)]
        theirs = anticipation.AttentiveClassifier(*classes, use_activation_checkpointing=False, **size)
        ours = AttentiveProbe(AttentiveProbeConfig(num_verbs=11, num_nouns=12, num_actions=13, **size))
        share_weights(theirs, ours)
        expected, found = theirs(tokens), ours(tokens)
        report(f"probe, head size {head}, anticipation", *([r[k] for k in expected] for r in (expected, found)))


def compare_vjepa21(encoders: types.ModuleType, predictors: types.ModuleType) -> None:
    """Compare V-JEPA 2.1: clips, pictures, levels, and the predictor of a teacher and of a distilled model."""
    for head, levels in ((64, 4), (80, 4), (64, 1)):
        common = {
            "use_rope": True,
            "img_temporal_dim_size": 1,
            "interpolate_rope": True,
            "n_output_distillation": levels,
        }
        size = {"embed_dim": 3 * head, "depth": 12, "num_heads": 3}
        theirs = encoders.VisionTransformer(img_size=64, num_frames=8, norm_layer=NORM, **common, **size)
        ours = VideoEncoder(vjepa21(VideoEncoderConfig(image_size=64, **size)))
        share_weights(theirs, ours)
        for name, shape in (("clip", (8, 64, 64)), ("wide clip", (6, 48, 96)), ("picture", (1, 64, 64))):
            x = torch.randn(2, 3, *shape)
            report(f"2.1 encoder, head size {head}, {name}", theirs(x), ours(x))
            expected = theirs(x, training=True)
            report(
                f"2.1 encoder, head size {head}, {name}, {levels} levels",
                expected,
                ours.level_features(x, num_levels=levels),
            )
        target_dim = None if levels == 4 else 100
        size = {"depth": 12, "num_heads": 3, "num_mask_tokens": 8}
        theirs = predictors.vit_predictor(
            img_size=64,
            num_frames=8,
            embed_dim=3 * head,
            predictor_embed_dim=96,
            use_mask_tokens=True,
            return_all_tokens=True,
            teacher_embed_dim=target_dim,
            **size,
            **common,
        )
        config = MaskedPredictorConfig(
            encoder_dim=3 * head,
            embed_dim=96,
            rope_grid=16,
            num_levels=levels,
            target_dim=target_dim,
            predict_context=True,
            modality_embedding=True,
            **size,
        )
        ours = MaskedPredictor(config)
        share_weights(theirs, ours)
        context, ids = torch.randn(2, 12, 3 * head * levels), draw_ids(30, 5).split((12, 18), 1)
        for image in (False, True):
            expected = theirs(context, *ids, mod="image" if image else "video", mask_index=3)
            found = ours.predict_all(context, *ids, GRID, 3, image=image)
            report(f"2.1 predictor, {levels} levels, {'picture' if image else 'clip'}", expected, found)


@torch.no_grad()
def main(checkout: str) -> int:
    """Run all comparisons against a checkout."""
    open_checkout(checkout)
    from evals.action_anticipation_frozen import models as anticipation
    from src.models import ac_predictor, attentive_pooler, predictor, vision_transformer

    torch.manual_seed(0)
    compare_encoders(vision_transformer)
    compare_predictors(predictor, ac_predictor)
    compare_probes(attentive_pooler, anticipation)
    if (Path(checkout) / "app" / "vjepa_2_1").is_dir():
        from app.vjepa_2_1.models import predictor as predictor21
        from app.vjepa_2_1.models import vision_transformer as vision_transformer21

        compare_vjepa21(vision_transformer21, predictor21)
    print(f"{len(worst)} comparisons, largest difference {max(worst):.1e}, allowed {LIMIT:.0e}")
    return int(max(worst) > LIMIT)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
