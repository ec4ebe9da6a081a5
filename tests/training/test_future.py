"""Anticipation with a predictor: what is predicted, what a head reads of it, and what is refused."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_actions import write_actions

from vjepa_wm.cli import main
from vjepa_wm.data.clips.file_lists import ListedVideo
from vjepa_wm.data.labelled.clip_views import ClipOptions, item_views
from vjepa_wm.models.attentive_probe import AttentiveProbe, AttentiveProbeConfig
from vjepa_wm.models.checkpoint import MASKED_PREDICTOR, VIDEO_ENCODER, CheckpointError, save_model
from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.encoder_config import VideoEncoderConfig
from vjepa_wm.models.load import load_encoder, load_predictor, load_probe
from vjepa_wm.models.predictor import MaskedPredictor, masked_predictor_for
from vjepa_wm.training.classification.classifier import load_classifier
from vjepa_wm.training.classification.config import ClassifyConfig
from vjepa_wm.training.classification.encoded_items import encode_tokens
from vjepa_wm.training.classification.finetuning import FinetuneOptions
from vjepa_wm.training.classification.future import FutureOptions, open_future

pytestmark = pytest.mark.usefixtures("without_curves")
SIZE = VideoEncoderConfig(image_size=32, patch_size=8, embed_dim=24, depth=3, num_heads=2)
CLIPS = ClipOptions(num_frames=4, fps=4.0)
SMALL = ["--clips.num-frames", "4", "--clips.fps", "4", "--epochs", "2", "--batch-size", "8", "--evaluations", "2"]
SMALL += ["--precision", "fp32"]


def write_predictor(folder, seed=0, encoder=SIZE, **options):
    torch.manual_seed(seed)
    config = masked_predictor_for(encoder, embed_dim=24, depth=2, num_heads=2, **options)
    predictor = MaskedPredictor(config)
    for token in predictor.mask_tokens:
        torch.nn.init.normal_(token)
    save_model(predictor, MASKED_PREDICTOR, config, folder)
    return str(folder)


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    root = tmp_path_factory.mktemp("future")
    torch.manual_seed(0)
    save_model(VideoEncoder(SIZE), VIDEO_ENCODER, SIZE, root / "encoder")
    write_predictor(root / "predictor")
    return root


@torch.no_grad()
@pytest.mark.parametrize("mask_index", [0, 1])
@pytest.mark.parametrize(("anticipation_s", "skipped"), [(0.0, 0), (0.9, 1), (1.0, 2)])
@pytest.mark.parametrize("form", [{}, {"class_token": True}, {"levels": (0, 2)}])
def test_a_time_step_after_the_clip_is_predicted_and_comes_last(tmp_path, form, anticipation_s, skipped, mask_index):
    size = replace(SIZE, **form)
    torch.manual_seed(1)
    encoder = VideoEncoder(size).eval()
    options = FutureOptions(predictor=write_predictor(tmp_path / "p", encoder=size), mask_index=mask_index)
    future = open_future(options, size, CLIPS, anticipation_s)
    clips = torch.randn(2, 3, 4, 32, 32)
    tokens = encode_tokens(encoder, clips, 1, future)
    alone = encoder(clips)
    assert tokens.shape == (2, alone.shape[1] + 16, 24)
    torch.testing.assert_close(tokens[:, : alone.shape[1]], alone)
    asked = 32 + 16 * skipped + torch.arange(16).expand(2, -1)
    context = encoder.patch_features(clips, num_levels=None)
    predictor = load_predictor(tmp_path / "p")
    seen = torch.arange(32).expand(2, -1)
    expected = predictor(context, seen, asked, (2 + skipped + 1, 4, 4), mask_index)[..., -24:]
    torch.testing.assert_close(tokens[:, -16:], expected)
    other = predictor(context, seen, asked, (2 + skipped + 1, 4, 4), 1 - mask_index)[..., -24:]
    assert not torch.allclose(tokens[:, -16:], other, atol=1e-3)


def command(places, out, *options):
    words = ["--encoder", str(places / "encoder"), "--future.predictor", str(places / "predictor")]
    return ["classify", *words, *SMALL, "--out", str(out), *options]


def test_a_head_is_trained_on_both_measured_again_and_used(places, tmp_path, capsys):
    read = ["--data", str(tmp_path / "train.csv"), *write_actions(tmp_path), "--learning-rates", "0.001"]
    assert main(command(places, tmp_path / "out", *read)) == 0
    folder = tmp_path / "out/attentive-4"
    first = json.loads((tmp_path / "out/results.json").read_text())["heads"]["attentive-4"]["test"]
    probe = ["--probe", str(folder)]
    assert main(command(places, tmp_path / "again", *read, *probe)) == 0
    assert json.loads((tmp_path / "again/results.json").read_text())["heads"]["probe"]["test"] == first
    features = sorted((tmp_path / ".vjepa_wm/features").glob("*/store.json"))
    assert [json.loads(path.read_text())["form"]["shape"] for path in features] == [[1, 48, 24]]  # 32 and 16 tokens

    item = ListedVideo(path=tmp_path / "P01_01.mp4")
    scores = load_classifier(str(folder)).scores(item)
    with torch.no_grad():
        encoder = load_encoder(places / "encoder")
        context = encoder(item_views(item, CLIPS, 32))
        asked = 32 + 16 + torch.arange(16)[None]  # 0.5 s of 4 frames a second are a tubelet of 2
        predicted = load_predictor(places / "predictor")(context, torch.arange(32)[None], asked, (4, 4, 4), 1)
        expected = load_probe(folder)(torch.cat((context, predicted), dim=1))
    torch.testing.assert_close(scores["verb"], expected["verb"][0].sigmoid(), atol=1e-5, rtol=1e-4)

    capsys.readouterr()
    without = ["classify", "--encoder", str(places / "encoder"), *SMALL, *read, *probe]
    assert main([*without, "--out", str(tmp_path / "without")]) == 1
    assert "reads the predictions of a predictor too; name that one with --future.predictor" in capsys.readouterr().err
    with pytest.raises(CheckpointError, match="is another predictor than the head was trained with"):
        load_classifier(str(folder), predictor=write_predictor(tmp_path / "other", seed=7))
    moved = load_classifier(str(folder), predictor=write_predictor(tmp_path / "same"))
    torch.testing.assert_close(moved.scores(item), scores)


def test_a_published_anticipation_probe_needs_its_predictor(places, tmp_path):
    torch.manual_seed(0)
    head = AttentiveProbe(
        AttentiveProbeConfig(embed_dim=32, num_heads=16, depth=4, num_verbs=2, num_nouns=3, num_actions=4)
    )
    size = replace(SIZE, embed_dim=32)
    save_model(VideoEncoder(size), VIDEO_ENCODER, size, tmp_path / "encoder")
    weights = {f"module.{name}": value for name, value in head.state_dict().items()}
    torch.save({"classifiers": [weights], "epoch": 1}, tmp_path / "probe.pt")
    where = {"encoder": str(tmp_path / "encoder")}
    with pytest.raises(CheckpointError, match="reads the predictions of a predictor too; name that one with --pred"):
        load_classifier(str(tmp_path / "probe.pt"), **where)
    predictor = write_predictor(tmp_path / "predictor", encoder=size)
    found = load_classifier(str(tmp_path / "probe.pt"), predictor=predictor, **where)
    assert (found.clips.num_frames, found.clips.fps, found.future.num_skipped) == (32, 8.0, 4)


@pytest.mark.parametrize(
    ("clips", "anticipation_s", "predictor", "message"),
    [
        (CLIPS, None, {}, "needs read.anticipation_s"),
        (ClipOptions(num_frames=4), 1.0, {}, r"needs one clip of several frames with clips.fps, got .* clips.fps none"),
        (replace(CLIPS, clips=2), 1.0, {}, "got clips.clips 2"),
        (
            CLIPS,
            1.0,
            {"encoder_dim": 16},
            "maps 1 levels of width 16 to 16 channels, but .* 1 of width 24",
        ),
        (CLIPS, 1.0, {"num_levels": 2}, "maps 2 levels of width 24"),
        (CLIPS, 1.0, {"target_dim": 40}, "to 40 channels"),
        (CLIPS, 1.0, {"rope": None}, "must have rotary positions, or it knows no time after a clip"),
    ],
)
def test_what_cannot_look_ahead_is_refused(tmp_path, clips, anticipation_s, predictor, message):
    options = FutureOptions(predictor=write_predictor(tmp_path / "p", **predictor))
    with pytest.raises(ValueError, match=message):
        open_future(options, SIZE, clips, anticipation_s)


def test_a_predictor_is_not_fine_tuned():
    with pytest.raises(ValueError, match="predictor is read beside a frozen encoder"):
        ClassifyConfig(
            data=Path("d"),
            encoder="e",
            out=Path("o"),
            future=FutureOptions(predictor="p"),
            finetune=FinetuneOptions(blocks=1),
        )
