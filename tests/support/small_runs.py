"""The smallest command of each stage that does its work, and what these commands read."""

import shutil

import numpy as np
import torch
from sliding_square import write_slides

from vjepa_wm.cli import main
from vjepa_wm.data.media.video import write_video
from vjepa_wm.models.ac_predictor_config import ActionConditionedPredictorConfig
from vjepa_wm.models.checkpoint import VIDEO_ENCODER, save_model
from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.encoder_config import VideoEncoderConfig
from vjepa_wm.models.world_model import WorldModel, WorldModelConfig, save_world_model

SIZE = {"embed_dim": 24, "depth": 1, "num_heads": 2}
SHORT = "--steps 2 --batch-size 4 --save-every 2 --log-every 1 --precision fp32"
SEARCH = "--planner.num-samples 16 --planner.iterations 1 --precision fp32"
COMMANDS = {
    "train-ac": f"--data SET --encoder ENCODER --predictor-dim 24 --validation-share 0.3 {SHORT}",
    "train-proposal": f"--data SET --world-model WORLD --hidden-dim 32 --validation-share 0.3 {SHORT}",
    "train-looks": f"--data DARK_SET --targets SET --world-model WORLD --validation-share 0.3 {SHORT}",
    "pretrain": f"--data VIDEOS --encoder.image-size 32 --encoder.patch-size 8 --encoder.embed-dim 24 {SHORT} "
    "--encoder.depth 1 --encoder.num-heads 2 --predictor-dim 16 --predictor-depth 1 --predictor-heads 2",
    "collect": "--env two_room --episodes 2 --steps 3 --image-size 32 --workers 0",
    "envs": "--tasks two_room --image-size 256",
    "features": "VIDEOS --model ENCODER --num-frames 4",
    "convert": "ENCODER",
    "plan": f"--checkpoint WORLD --steps 1 {SEARCH}",
    "evaluate": f"--checkpoint WORLD --steps 1 --episodes 1 --policies world_model zero {SEARCH}",
}
"""By stage, without --out. Words in capitals stand for what `write_places` writes."""


def write_places(root):
    """Write what the commands read, and return each place by the word that stands for it."""
    write_slides(root / "set", num_episodes=6)
    write_slides(root / "longer_set", num_episodes=7)
    for name, look in (("dark", (90, 10)), ("other_dark", (80, 20))):
        write_slides(root / f"{name}_set", num_episodes=6, look=look)
    encoder = VideoEncoderConfig(image_size=32, patch_size=8, **SIZE)
    predictor = ActionConditionedPredictorConfig(encoder_dim=24, **SIZE)
    for seed, name in enumerate(("", "other_")):
        torch.manual_seed(seed)
        save_model(VideoEncoder(encoder), VIDEO_ENCODER, encoder, root / f"{name}encoder")
        save_world_model(WorldModel(WorldModelConfig(encoder=encoder, predictor=predictor)), root / f"{name}world")
        frames = np.random.default_rng(seed).integers(0, 255, (20, 48, 48, 3), dtype=np.uint8)
        write_video(root / f"{name}videos/clip.mp4", frames, 5)
    for name in ("set", "encoder", "world"):
        shutil.copytree(root / name, root / f"copied_{name}")
    (root / "latents").mkdir()
    return {path.name.upper(): str(path) for path in root.iterdir()}


def words_of(stage, out, words, places):
    """Return the words of a command, with all that it reads in its place."""
    return [stage, *(places.get(word, word) for word in words.split()), "--out", str(out)]


def give(stage, out, words, places):
    """Give a command and return its exit code."""
    return main(words_of(stage, out, words, places))
