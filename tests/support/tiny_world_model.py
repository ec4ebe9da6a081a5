"""A world model of random weights, always the same, small enough to plan with in a test."""

from __future__ import annotations

import torch

from vjepa_wm.models.ac_predictor_config import ActionConditionedPredictorConfig
from vjepa_wm.models.encoder_config import VideoEncoderConfig
from vjepa_wm.models.world_model import WorldModel, WorldModelConfig


def tiny_world_model(action_dim=7, state_dim=7, *, in_channels=3, use_state=True, seed=0):
    size = {"embed_dim": 24, "depth": 1, "num_heads": 2}
    encoder = VideoEncoderConfig(image_size=32, in_channels=in_channels, **size)
    numbers = {"action_dim": action_dim, "state_dim": state_dim, "use_state": use_state}
    predictor = ActionConditionedPredictorConfig(encoder_dim=24, **size, **numbers)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return WorldModel(WorldModelConfig(encoder=encoder, predictor=predictor))
