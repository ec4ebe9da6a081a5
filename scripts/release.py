"""Store a world model in half precision, as it is released, and say for which tasks.

Usage: release.py SOURCE TARGET TASK ...
"""

import sys
from pathlib import Path

import torch

from vjepa_wm import load_world_model
from vjepa_wm.models.checkpoint import save_model
from vjepa_wm.safe_files import write_json

source, target, *tasks = sys.argv[1:]
model = load_world_model(source)
save_model(model, "world_model", model.config, target, dtype=torch.float16)
write_json(Path(target) / "released.json", {"tasks": tasks})
size = (Path(target) / "model.safetensors").stat().st_size / 1e6
print(f"{target}: {sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters, {size:.1f} MB")
