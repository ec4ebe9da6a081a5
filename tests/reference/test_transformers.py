"""Compare with Hugging Face transformers: random weights written by each side, read by the other; exit 1 above 1e-5."""

import sys
import tempfile
from pathlib import Path

import torch

from vjepa_wm import load_encoder, load_predictor, load_probe
from vjepa_wm.models.official.huggingface_export import save_huggingface
from vjepa_wm.models.official.weight_source import KINDS

try:
    from transformers import VJEPA2ForVideoClassification as Classifier
except ImportError:
    sys.exit("this comparison needs transformers: pip install 'transformers>=4.53'")


def our_models(head_dim):
    """Make encoder, predictor and probe whose heads have `head_dim` channels."""
    width, few = 4 * head_dim, {"depth": 2, "num_heads": 2, "num_mask_tokens": 3, "rope": "tiled"}
    forms = {
        "video_encoder": {"image_size": 64, "embed_dim": width, "depth": 3, "num_heads": 4, "rope": "tiled"},
        "masked_predictor": {"encoder_dim": width, "embed_dim": 2 * head_dim, **few},
        "attentive_probe": {"embed_dim": width, "num_heads": 4, "norm_eps": 1e-6, "num_classes": 7},
    }
    models = [KINDS[kind].model(KINDS[kind].config(**form)) for kind, form in forms.items()]
    for parameter in (parameter for model in models for parameter in model.parameters()):
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    return [model.eval() for model in models]


@torch.no_grad()
def differences(ours, theirs):
    """Return the largest absolute difference of features, predictions and class scores."""
    clip = torch.randn(2, 3, 4, 64, 64)
    context, target = torch.rand(2, 32).argsort().split((20, 12), dim=1)
    z = ours[0](clip)
    predicted = ours[1](torch.take_along_dim(z, context[..., None], 1), context, target, (2, 4, 4), 1)
    found = theirs.vjepa2(clip.transpose(1, 2), context_mask=[context], target_mask=[target])
    pairs = (z, found.last_hidden_state), (predicted, found.predictor_output.last_hidden_state)
    return [float((a - b).abs().max()) for a, b in (*pairs, (ours[2](z), theirs(clip.transpose(1, 2)).logits))]


torch.manual_seed(0)
worst, scratch = 0.0, tempfile.TemporaryDirectory()
print("head size  written by      features  predictions     scores")
for size in (64, 80, 32):
    models = our_models(size)
    save_huggingface(Path(scratch.name) / "ours", *models)
    read, report = Classifier.from_pretrained(Path(scratch.name) / "ours", output_loading_info=True)
    assert not any(report.values()), report
    fresh = Classifier(read.config).eval()
    fresh.save_pretrained(Path(scratch.name) / "theirs")
    loaded = [load(Path(scratch.name) / "theirs") for load in (load_encoder, load_predictor, load_probe)]
    for writer, pair in {"vjepa_wm": (models, read.eval()), "transformers": (loaded, fresh)}.items():
        worst = max(worst, *(values := differences(*pair)))
        print("{:9d}  {:<12}  {:10.1e}  {:11.1e}  {:9.1e}".format(size, writer, *values))
sys.exit(int(worst > 1e-5))
