"""Store a world model in half precision, as it is released. Usage: release.py SOURCE TARGET."""

import sys
from pathlib import Path

import torch

from vjepa_wm import load_world_model
from vjepa_wm.models.checkpoint import save_model

source, target = sys.argv[1:]
model = load_world_model(source)
save_model(model, "world_model", model.config, target, dtype=torch.float16)
size = (Path(target) / "model.safetensors").stat().st_size / 1e6
print(f"{target}: {sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters, {size:.1f} MB")
