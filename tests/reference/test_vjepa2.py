"""The same random weights and the same input give the same float32 numbers as facebookresearch/vjepa2.

It needs a checkout of that repository: `VJEPA2_CHECKOUT=FOLDER pytest tests/reference/test_vjepa2.py`. The tests of
V-JEPA 2.1 run when the checkout has it.
"""

import os
from functools import partial
from importlib import import_module
from pathlib import Path

import pytest
import torch
from reference_checkout import open_checkout
from torch import nn

from vjepa_wm.data.labelled.clip_views import ClipOptions
from vjepa_wm.models.ac_predictor import ActionConditionedPredictor
from vjepa_wm.models.ac_predictor_config import ActionConditionedPredictorConfig
from vjepa_wm.models.attentive_probe import AttentiveProbe, AttentiveProbeConfig
from vjepa_wm.models.checkpoint import MASKED_PREDICTOR, save_model
from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.encoder_config import VideoEncoderConfig, vjepa21
from vjepa_wm.models.predictor import MaskedPredictor, MaskedPredictorConfig
from vjepa_wm.training.classification.encoded_items import encode_tokens
from vjepa_wm.training.classification.future import FutureOptions, open_future
from vjepa_wm.training.classification.head_grid import HeadGrid, HeadSetting
from vjepa_wm.training.classification.heads import FeatureForm, focal_loss
from vjepa_wm.training.run.distributed import World

CHECKOUT = os.environ.get("VJEPA2_CHECKOUT")
HOW = "set VJEPA2_CHECKOUT to a checkout: git clone https://github.com/facebookresearch/vjepa2"
pytestmark = [
    pytest.mark.skipif(CHECKOUT is None, reason=HOW),
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::SyntaxWarning"),
]
NORM = partial(nn.LayerNorm, eps=1e-6)
GRID, NUM_TOKENS = (4, 4, 4), 64
HEADS = pytest.mark.parametrize("head", [64, 80, 32])  # channels of a head in the published models


@pytest.fixture(scope="module", autouse=True)
def without_gradients():
    with torch.no_grad():
        yield


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def theirs():
    """What imports a module of the checkout."""
    open_checkout(CHECKOUT)
    return import_module


def share_weights(theirs, ours):
    """Give both the same random weights; names must agree, but for the reference's table of fixed positions."""
    for name, parameter in theirs.named_parameters():
        if "pos_embed" not in name:
            parameter.normal_(1.0 if "norm" in name and "weight" in name else 0.0, 0.08)
    ours.load_state_dict({name: value for name, value in theirs.state_dict().items() if "pos_embed" not in name})
    theirs.eval(), ours.eval()


def assert_same(theirs, ours):
    pairs = zip(theirs, ours, strict=True) if isinstance(theirs, list | tuple) else [(theirs, ours)]
    for expected, found in pairs:
        torch.testing.assert_close(found.flatten(), expected.flatten(), atol=1e-5, rtol=0)


def draw_ids(count, seed):
    """Draw token ids for two clips."""
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([torch.randperm(NUM_TOKENS, generator=generator)[:count] for _ in range(2)])


@HEADS
def test_encoders(theirs, head):
    options = {"embed_dim": 3 * head, "depth": 4, "num_heads": 3}
    form = {"img_size": 64, "num_frames": 8, "norm_layer": NORM, "use_rope": True, "out_layers": [0, 1, 2, 3]}
    reference = theirs("src.models.vision_transformer").VisionTransformer(**form, **options)
    ours = VideoEncoder(VideoEncoderConfig(image_size=64, num_frames=8, rope="tiled", **options))
    share_weights(reference, ours)
    clip, wide, masks = torch.randn(2, 3, 8, 64, 64), torch.randn(2, 3, 6, 48, 96), [draw_ids(20, 0), draw_ids(20, 1)]
    for x, ids in ((clip, None), (wide, None), (clip, masks[0])):
        assert_same(reference(x, ids), ours.intermediate_layers(x, ids, layers=range(4)))
    reference.out_layers = None
    assert_same(reference(clip, masks), torch.cat([ours(clip, ids) for ids in masks]))


@pytest.mark.parametrize(
    ("form", "our_form"),
    [
        ({}, {}),
        ({"uniform_power": True}, {"uniform_power": True}),
        ({"use_silu": True}, {"activation": "swiglu"}),
        ({"num_frames": 1}, {"num_frames": 1, "tubelet_size": 1}),
    ],
    ids=["fixed positions", "uniform power", "SwiGLU", "image encoder"],
)
def test_encoders_with_fixed_positions(theirs, form, our_form):
    options = {"num_frames": 8, "embed_dim": 192, "depth": 4, "num_heads": 3}
    reference = theirs("src.models.vision_transformer").VisionTransformer(
        img_size=64, norm_layer=NORM, **options | form
    )
    ours = VideoEncoder(VideoEncoderConfig(image_size=64, rope=None, **options | our_form))
    image, kernel = "tubelet_size" in our_form, ours.patch_embed.proj
    if image:  # theirs has no axis of time
        kernel.weight = nn.Parameter(kernel.weight.squeeze(2))
    share_weights(reference, ours)
    if image:
        kernel.weight = nn.Parameter(kernel.weight.unsqueeze(2))
    for shape in ((64, 64), (96, 96)) if image else ((8, 64, 64), (4, 64, 64), (8, 96, 96)):
        x = torch.randn(2, 3, *shape)
        assert_same(reference(x), ours(x))


@HEADS
def test_masked_predictors(theirs, head):
    context, ids = torch.randn(2, 20, 192), (draw_ids(20, 2), draw_ids(30, 3))
    size = {"depth": 4, "num_heads": 3, "num_mask_tokens": 10}
    form = {"img_size": 64, "num_frames": 8, "embed_dim": 192, "use_mask_tokens": True, "use_rope": True}
    reference = theirs("src.models.predictor").vit_predictor(predictor_embed_dim=3 * head, **form, **size)
    ours = MaskedPredictor(MaskedPredictorConfig(encoder_dim=192, embed_dim=3 * head, rope="tiled", **size))
    share_weights(reference, ours)
    for index in range(10):
        assert_same(reference(context, *ids, mask_index=index), ours(context, *ids, GRID, index))


@HEADS
@pytest.mark.parametrize("extrinsics", [False, True])
def test_action_conditioned_predictors(theirs, head, extrinsics):
    size = {"embed_dim": 192, "predictor_embed_dim": 4 * head, "depth": 4, "num_heads": 4}
    form = {"img_size": 64, "num_frames": 16, "use_extrinsics": extrinsics}
    reference = theirs("src.models.ac_predictor").vit_ac_predictor(**form, **size)
    config = ActionConditionedPredictorConfig(
        encoder_dim=192, embed_dim=4 * head, depth=4, num_heads=4, use_extrinsics=True, rope="tiled"
    )
    ours = ActionConditionedPredictor(config)
    share_weights(reference, ours)
    for steps in range(1, 9):
        z = torch.randn(2, steps, 16, 192)
        conditions = [torch.randn(2, steps, size) for size in ((7, 7, 6) if extrinsics else (7, 7))]
        assert_same(reference(z.flatten(1, 2), *conditions), ours(z, *conditions))


@HEADS
def test_probes(theirs, head):
    tokens, size = torch.randn(2, 50, 4 * head), {"embed_dim": 4 * head, "num_heads": 4, "depth": 4}
    reference = theirs("src.models.attentive_pooler").AttentiveClassifier(num_classes=174, **size)
    ours = AttentiveProbe(AttentiveProbeConfig(num_classes=174, **size))
    share_weights(reference, ours)
    assert_same(reference(tokens), ours(tokens))
    classes = [dict.fromkeys(range(count)) for count in (11, 12, 13)]
    anticipation = theirs("evals.action_anticipation_frozen.models")
    reference = anticipation.AttentiveClassifier(*classes, use_activation_checkpointing=False, **size)
    ours = AttentiveProbe(AttentiveProbeConfig(num_verbs=11, num_nouns=12, num_actions=13, **size))
    share_weights(reference, ours)
    expected, found = reference(tokens), ours(tokens)
    assert_same([expected[name] for name in expected], [found[name] for name in expected])


@pytest.mark.parametrize("anticipation_s", [0.0, 0.7, 1.0])
def test_what_anticipation_probes_read(theirs, tmp_path, anticipation_s):
    options = {"embed_dim": 192, "depth": 4, "num_heads": 3}
    form = {"img_size": 64, "num_frames": 8, "norm_layer": NORM, "use_rope": True}
    reference = theirs("src.models.vision_transformer").VisionTransformer(**form, **options)
    encoder = VideoEncoder(VideoEncoderConfig(image_size=64, num_frames=8, rope="tiled", **options))
    share_weights(reference, encoder)
    size = {"depth": 4, "num_heads": 3, "num_mask_tokens": 10}
    form = {"img_size": 64, "num_frames": 64, "embed_dim": 192, "use_mask_tokens": True, "use_rope": True}
    their_predictor = theirs("src.models.predictor").vit_predictor(predictor_embed_dim=192, **form, **size)
    config = MaskedPredictorConfig(encoder_dim=192, embed_dim=192, rope="tiled", **size)
    predictor = MaskedPredictor(config)
    share_weights(their_predictor, predictor)
    save_model(predictor, MASKED_PREDICTOR, config, tmp_path / "predictor")
    wrapper = theirs(
        "evals.action_anticipation_frozen.modelcustom.vit_encoder_predictor_concat_ar"
    ).AnticipativeWrapper(encoder=reference, predictor=their_predictor, frames_per_second=8, crop_size=64)
    clips, seen = torch.randn(2, 3, 8, 64, 64), ClipOptions(num_frames=8, fps=8.0)
    future = open_future(FutureOptions(predictor=str(tmp_path / "predictor")), encoder.config, seen, anticipation_s)
    expected = wrapper(clips, torch.full((2,), anticipation_s))
    assert expected.shape == (2, 64 + 16, 192)
    assert_same(expected, encode_tokens(encoder, clips, 1, future))


VJEPA21 = pytest.mark.skipif(
    CHECKOUT is None or not (Path(CHECKOUT) / "app/vjepa_2_1").is_dir(), reason="the checkout has no app/vjepa_2_1"
)
FORMS21 = pytest.mark.parametrize(("head", "levels"), [(64, 4), (80, 4), (64, 1)])


def form21(levels):
    rotary = {"use_rope": True, "img_temporal_dim_size": 1, "interpolate_rope": True}
    return {"img_size": 64, "num_frames": 8, "n_output_distillation": levels} | rotary


@VJEPA21
@FORMS21
def test_encoders_of_2_1(theirs, head, levels):
    size = {"embed_dim": 3 * head, "depth": 12, "num_heads": 3}
    module = theirs("app.vjepa_2_1.models.vision_transformer")
    reference = module.VisionTransformer(norm_layer=NORM, **form21(levels), **size)
    ours = VideoEncoder(vjepa21(VideoEncoderConfig(image_size=64, **size)))
    share_weights(reference, ours)
    for shape in ((8, 64, 64), (6, 48, 96), (1, 64, 64)):
        x = torch.randn(2, 3, *shape)
        assert_same(reference(x), ours(x))
        assert_same(reference(x, training=True), ours.level_features(x, num_levels=levels))


@VJEPA21
@FORMS21
def test_predictors_of_2_1(theirs, head, levels):
    """Four levels as for the teacher, one as for a distilled model."""
    target_dim = None if levels == 4 else 100
    size = {"depth": 12, "num_heads": 3, "num_mask_tokens": 8}
    form = {"embed_dim": 3 * head, "predictor_embed_dim": 96, "teacher_embed_dim": target_dim}
    form |= {"use_mask_tokens": True, "return_all_tokens": True}
    reference = theirs("app.vjepa_2_1.models.predictor").vit_predictor(**form, **form21(levels), **size)
    kinds = {"predict_context": True, "modality_embedding": True, "rope_grid": 16}
    width = {"encoder_dim": 3 * head, "embed_dim": 96, "num_levels": levels, "target_dim": target_dim}
    ours = MaskedPredictor(MaskedPredictorConfig(**width, **kinds, **size))
    share_weights(reference, ours)
    context, ids = torch.randn(2, 12, 3 * head * levels), draw_ids(30, 5).split((12, 18), 1)
    for image in (False, True):
        expected = reference(context, *ids, mod="image" if image else "video", mask_index=3)
        assert_same(expected, ours.predict_all(context, *ids, GRID, 3, image=image))


@pytest.mark.parametrize("depth", [1, 4])
def test_ten_steps_of_probes_are_those_of_the_reference(theirs, depth):
    """The same random probes, the same features: equal losses, step by step, for two rates and decays at once."""
    rates, decays, steps = (1e-3, 3e-4), (0.01, 0.4), 10
    make = partial(theirs("src.models.attentive_pooler").AttentiveClassifier, embed_dim=64, num_heads=4, depth=depth)
    evaluation = theirs("evals.video_classification_frozen.eval")
    their_probes = [make(num_classes=5) for _ in rates]
    settings = [
        HeadSetting(kind=f"attentive-{depth}", learning_rate=rate, weight_decay=decay)
        for rate, decay in zip(rates, decays, strict=True)
    ]
    config = AttentiveProbeConfig(embed_dim=64, num_heads=4, depth=depth, num_classes=5)
    grid = HeadGrid(settings, lambda kind: AttentiveProbe(config), seed=0, device=torch.device("cpu"), world=World())
    for one, other in zip(their_probes, grid.heads, strict=True):
        share_weights(one, other)
    same = {"start_lr": 0.0, "final_lr": 0.0, "warmup": 0.0}
    kwargs = [
        same | {"ref_lr": rate, "ref_wd": decay, "final_wd": decay} for rate, decay in zip(rates, decays, strict=True)
    ]
    optimizers, _, rate_schedules, decay_schedules = evaluation.init_opt(their_probes, steps, kwargs, 1)
    form, tokens = FeatureForm(num_clips=1, num_views=1, class_token=False), torch.randn(steps, 6, 12, 64)
    with torch.enable_grad():
        for step in range(steps):
            labels = torch.randint(0, 5, (6, 1))
            for schedule in (*rate_schedules, *decay_schedules):
                schedule.step()
            losses = [nn.functional.cross_entropy(one(tokens[step]), labels[:, 0]) for one in their_probes]
            for loss, optimizer in zip(losses, optimizers, strict=True):
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            ours = grid.step(step, steps, tokens[step].unsqueeze(1), labels, form)
            torch.testing.assert_close(ours, torch.stack(losses).detach(), atol=1e-5, rtol=0)


def test_the_focal_loss_is_that_of_the_reference(theirs):
    scores, labels = torch.randn(7, 9), torch.randint(0, 9, (7,))
    wanted = theirs("evals.action_anticipation_frozen.losses").sigmoid_focal_loss(scores, labels)
    torch.testing.assert_close(focal_loss(scores, labels), wanted, atol=1e-5, rtol=1e-6)
