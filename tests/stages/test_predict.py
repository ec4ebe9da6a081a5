"""Predictions by heads of our own and by published ones, and what is refused."""

import json
import shutil

import pytest
import torch
from moving_squares import write_squares
from PIL import Image

from vjepa_wm.cli import main
from vjepa_wm.data.clips.file_lists import ListedVideo
from vjepa_wm.data.labelled.clip_views import ClipOptions, item_views
from vjepa_wm.models.attentive_probe import AttentiveProbe, AttentiveProbeConfig
from vjepa_wm.models.checkpoint import VIDEO_ENCODER, save_model
from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.encoder_config import VideoEncoderConfig
from vjepa_wm.training.classification.classifier import save_classifier

SIZE = VideoEncoderConfig(image_size=32, patch_size=8, embed_dim=32, depth=1, num_heads=1)
CLIPS = ClipOptions(num_frames=4)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("predict")
    torch.manual_seed(0)
    encoder = VideoEncoder(SIZE).eval()
    save_model(encoder, VIDEO_ENCODER, SIZE, root / "encoder")
    head = AttentiveProbe(AttentiveProbeConfig(embed_dim=32, num_heads=16, depth=1, num_classes=3)).eval()
    options = {"classes": {"class": ("cat", "dog", "fox")}, "clips": CLIPS, "levels": 1, "encoder": encoder}
    save_classifier(root / "head", head, source=str(root / "encoder"), **options)
    save_classifier(root / "tuned", head, source=None, **options)
    weights = {f"module.{name}": value for name, value in head.state_dict().items()}
    torch.save({"classifiers": [weights], "epoch": 1}, root / "published.pt")
    write_squares(root / "videos", per_class=1, ways=("left", "up"))
    Image.new("RGB", (40, 30), (200, 0, 0)).save(root / "videos/red.png")
    with torch.no_grad():
        seen = item_views(ListedVideo(path=root / "videos/left/0.mp4"), CLIPS, 32)
        scores = head(encoder(seen))[0].softmax(0)
    return root, scores


def predict(made, model, *options):
    out = made[0] / f"out_{model}"
    shutil.rmtree(out, ignore_errors=True)
    words = ["predict", str(made[0] / model), str(made[0] / "videos"), "--out", str(out), "--precision", "fp32"]
    code = main([*words, *options])
    return code, json.loads((out / "predictions.json").read_text()) if code == 0 else None


@pytest.mark.parametrize("model", ["head", "tuned", "published.pt"])
def test_classes_are_told_with_their_scores(made, model, tmp_path, capsys):
    names = ["cat", "dog", "fox"]
    (tmp_path / "names.txt").write_text("cat\ndog\nfox\n")
    options = ["--encoder", str(made[0] / "encoder"), "--class-names", str(tmp_path / "names.txt")]
    options += ["clips:clip-options", "--clips.num-frames", "4"]
    code, found = predict(made, model, *(options if model == "published.pt" else ()))
    assert code == 0 and len(found) == 3
    best = found[str(made[0] / "videos/left/0.mp4")]["class"]
    wanted = made[1].sort(descending=True)
    assert [name for name, _ in best] == [names[k] for k in wanted.indices]
    torch.testing.assert_close(torch.tensor([score for _, score in best]), wanted.values, atol=1e-5, rtol=1e-4)
    assert f"{best[0][1]:6.1%}  {best[0][0]}" in capsys.readouterr().out
    with Image.open(made[0] / f"out_{model}/predictions.png") as picture:
        assert picture.width > 3 * 160


def test_what_does_not_fit_is_told(made, tmp_path, capsys):
    assert predict(made, "published.pt")[0] == 1
    assert "holds a probe alone; name the encoder it was trained on with --encoder" in capsys.readouterr().err
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    options = ["--encoder", str(made[0] / "encoder"), "--class-names", str(tmp_path / "names.txt")]
    assert predict(made, "published.pt", *options)[0] == 1
    assert "tells {'class': 3} classes, but 2 are named" in capsys.readouterr().err
    torch.manual_seed(1)
    save_model(VideoEncoder(SIZE), VIDEO_ENCODER, SIZE, tmp_path / "other")
    assert predict(made, "head", "--encoder", str(tmp_path / "other"))[0] == 1
    assert "is another encoder than" in capsys.readouterr().err
