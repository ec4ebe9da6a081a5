"""Weights written by this package or by Hugging Face transformers, read by the other, give the same numbers.

It needs transformers: `pip install 'transformers>=4.53'`.
"""

import pytest
import torch

from vjepa_wm import load_encoder, load_predictor, load_probe
from vjepa_wm.models.official.huggingface_export import save_huggingface
from vjepa_wm.models.stored_model import KINDS

pytestmark = pytest.mark.filterwarnings("ignore")  # of transformers itself


@pytest.fixture(scope="module")
def classifier():
    how = "transformers is not installed: pip install 'transformers>=4.53'"
    return pytest.importorskip("transformers", reason=how).VJEPA2ForVideoClassification


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
def assert_same(ours, theirs):
    """Compare features, predictions and class scores."""
    clip = torch.randn(2, 3, 4, 64, 64)
    context, target = torch.rand(2, 32).argsort().split((20, 12), dim=1)
    z = ours[0](clip)
    predicted = ours[1](torch.take_along_dim(z, context[..., None], 1), context, target, (2, 4, 4), 1)
    found = theirs.vjepa2(clip.transpose(1, 2), context_mask=[context], target_mask=[target])
    pairs = (z, found.last_hidden_state), (predicted, found.predictor_output.last_hidden_state)
    for a, b in (*pairs, (ours[2](z), theirs(clip.transpose(1, 2)).logits)):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=0)


def load(folder):
    return [read(folder) for read in (load_encoder, load_predictor, load_probe)]


def test_what_is_written_here_is_read_here(tmp_path):
    torch.manual_seed(0)
    models = our_models(32)
    save_huggingface(tmp_path, *models)
    for model, again in zip(models, load(tmp_path), strict=True):
        for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize("head_dim", [64, 80, 32])
def test_each_reads_what_the_other_writes(classifier, tmp_path, head_dim):
    torch.manual_seed(0)
    models = our_models(head_dim)
    save_huggingface(tmp_path / "ours", *models)
    read, report = classifier.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(report.values()), report
    assert_same(models, read.eval())
    fresh = classifier(read.config).eval()
    fresh.save_pretrained(tmp_path / "theirs")
    assert_same(load(tmp_path / "theirs"), fresh)
