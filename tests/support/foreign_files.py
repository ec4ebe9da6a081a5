"""Small models and files in the forms that others publish, for the tests of loading."""

import json

import torch
from safetensors.torch import save_file
from torch import nn

from vjepa_wm.models.ac_predictor import ActionConditionedPredictor
from vjepa_wm.models.ac_predictor_config import ActionConditionedPredictorConfig
from vjepa_wm.models.attentive_probe import AttentiveProbe, AttentiveProbeConfig
from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.encoder_config import VideoEncoderConfig
from vjepa_wm.models.official.huggingface_export import to_huggingface
from vjepa_wm.models.predictor import MaskedPredictor, MaskedPredictorConfig

TINY = VideoEncoderConfig(image_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=2, rope="tiled")
KNOWN = VideoEncoderConfig(
    image_size=32, patch_size=8, embed_dim=192, depth=1, num_heads=3, mlp_ratio=1.0, rope="tiled"
)
EXTRAS = {
    "opt": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 1e-3, "params": [0]}]},
    "scaler": None,
    "epoch": 7,
    "loss": 0.5,
    "batch_size": 24,
    "world_size": 128,
    "lr": 5e-4,
}


def randomised(model: nn.Module, seed: int = 0) -> nn.Module:
    """Give every parameter a value of its own, so that two that change places show."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def encoder(config=TINY, seed=0):
    return randomised(VideoEncoder(config), seed)


def predictor(seed=1, **changes):
    fields = {"encoder_dim": 24, "embed_dim": 36, "depth": 2, "num_heads": 3, "num_mask_tokens": 3, "rope": "tiled"}
    return randomised(MaskedPredictor(MaskedPredictorConfig(**(fields | changes))), seed)


def ac_predictor(seed=2, **changes):
    fields = {"encoder_dim": 24, "embed_dim": 36, "depth": 2, "num_heads": 3, "rope": "tiled"}
    return randomised(ActionConditionedPredictor(ActionConditionedPredictorConfig(**(fields | changes))), seed)


def probe(seed=3, **changes):
    fields = {"embed_dim": 24, "num_heads": 2, "depth": 3, "num_classes": 5}
    return randomised(AttentiveProbe(AttentiveProbeConfig(**(fields | changes))), seed)


def prefixed(model: nn.Module, prefix: str = "module.backbone.") -> dict:
    return {prefix + name: value for name, value in model.state_dict().items()}


def write_official(path, **entries):
    """Write a file as Meta does; modules become state dicts with prefixes."""
    content = {name: prefixed(value) if isinstance(value, nn.Module) else value for name, value in entries.items()}
    torch.save(content | EXTRAS, path)
    return path


def write_huggingface(folder, *models, shards=1, **changes):
    """Write a Hugging Face folder, whole or in shards, with changes to its config.json."""
    weights, values = to_huggingface(*models)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(values | changes))
    weights = {name: value.clone() for name, value in weights.items()}
    if shards == 1:
        save_file(weights, folder / "model.safetensors")
        return folder
    places = {name: f"model-{1 + k % shards:05d}-of-{shards:05d}.safetensors" for k, name in enumerate(sorted(weights))}
    for file in sorted(set(places.values())):
        save_file({name: weights[name] for name, place in places.items() if place == file}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return folder


def clip(frames=4, size=32, channels=3):
    return torch.randn(2, channels, frames, size, size, generator=torch.Generator().manual_seed(frames))


def same_parameters(a: nn.Module, b: nn.Module) -> bool:
    first, second = a.state_dict(), b.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
