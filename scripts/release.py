"""Store a world model in half precision, as it is released, and say for which tasks.

The code of the scene is left out, which only a search by it reads (energy scene), for the size.

Usage: release.py SOURCE TARGET TASK ...
"""

import dataclasses
import sys
from pathlib import Path

import torch

from vjepa_wm import load_world_model
from vjepa_wm.models.checkpoint import save_model
from vjepa_wm.models.proposal import Proposal
from vjepa_wm.safe_files import write_json

source, target, *tasks = sys.argv[1:]
model = load_world_model(source)
if model.proposal is not None and model.proposal.config.scene_dim:
    proposal = Proposal(dataclasses.replace(model.proposal.config, scene_dim=0))
    weights = model.proposal.state_dict()
    proposal.load_state_dict({name: weights[name] for name in proposal.state_dict()})
    model.attach_proposal(proposal)
save_model(model, "world_model", model.config, target, dtype=torch.float16)
write_json(Path(target) / "released.json", {"tasks": tasks})
size = (Path(target) / "model.safetensors").stat().st_size / 1e6
print(f"{target}: {sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters, {size:.1f} MB")
