import csv
import dataclasses

import numpy as np
import pytest
import torch

from vjepa_wm.data.mask_samplers import FutureMask
from vjepa_wm.data.masking import MaskError
from vjepa_wm.data.multi_block import MultiBlockMask
from vjepa_wm.data.video import VideoError, write_video
from vjepa_wm.models.checkpoint import CheckpointError
from vjepa_wm.models.encoder_config import VideoEncoderConfig
from vjepa_wm.models.load import load_encoder
from vjepa_wm.training.pretrain import make_batch, pretrain
from vjepa_wm.training.pretrain_config import PretrainConfig
from vjepa_wm.training.pretrainer import Pretrainer

ENCODER = VideoEncoderConfig(image_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=2)
MASKS = (MultiBlockMask(num_blocks=2, spatial_scale=(0.3, 0.3), truncation="random"),)


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Three videos of a bright square that moves over noise."""
    folder = tmp_path_factory.mktemp("videos")
    rng = np.random.default_rng(0)
    for index in range(3):
        frames = rng.integers(0, 60, (20, 48, 48, 3), dtype=np.uint8)
        for t in range(20):
            frames[t, 10 + index : 26 + index, t : t + 16] = 220
        write_video(folder / f"{index}.mp4", frames, 5)
    return folder


def config(videos, out, **options) -> PretrainConfig:
    small = {"encoder": ENCODER, "predictor_dim": 16, "predictor_depth": 1, "predictor_heads": 2, "masks": MASKS}
    short = {"steps": 4, "batch_size": 4, "log_every": 1, "save_every": 2, "precision": "fp32"}
    return PretrainConfig(data=videos, out=out, **(small | short | options))


def rows(out):
    with (out / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_two_steps_then_resume_equal_one_run(videos, tmp_path, monkeypatch):
    whole = load_encoder(pretrain(config(videos, tmp_path / "whole")))
    stopped = config(videos, tmp_path / "parts")
    train = Pretrainer.step

    def die_at_step_three(self, step, batch):
        if step == 3:
            raise KeyboardInterrupt
        return train(self, step, batch)

    monkeypatch.setattr(Pretrainer, "step", die_at_step_three)
    with pytest.raises(KeyboardInterrupt):
        pretrain(stopped)
    monkeypatch.undo()
    parts = load_encoder(pretrain(stopped))
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), parts.parameters(), strict=True))
    assert rows(tmp_path / "whole") == rows(tmp_path / "parts")
    assert [row["step"] for row in rows(tmp_path / "parts")] == ["0", "1", "2", "3"]


@pytest.mark.parametrize(
    "changes",
    [
        {"class_token": True},
        {"rope": None, "num_frames": 4},
        {"activation": "swiglu", "temporal_depth": 1},
        {"drop_path": 0.5},
        {"rope": "true", "rope_grid": 4, "levels": (0, 1), "image_tokenizer": True, "modality_embedding": True},
    ],
    ids=lambda changes: ", ".join(changes),
)
def test_every_form_of_encoder_trains_and_does_so_repeatably(videos, tmp_path, changes):
    encoder = dataclasses.replace(ENCODER, **changes)
    options = {"steps": 2, "encoder": encoder}
    first = load_encoder(pretrain(config(videos, tmp_path / "first", **options)))
    torch.rand(3)  # somebody else draws from torch's generator
    again = load_encoder(pretrain(config(videos, tmp_path / "again", recompute_activations=True, **options)))
    assert first.config == encoder
    for a, b in zip(first.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)
    untrained = Pretrainer(config(videos, tmp_path / "none", **options)).encoder
    assert not torch.equal(first.blocks[0].attn.qkv.weight, untrained.blocks[0].attn.qkv.weight)


VJEPA21 = dataclasses.replace(ENCODER, levels=(0, 1), image_tokenizer=True, modality_embedding=True, rope_grid=4)


def test_vjepa21_predicts_every_level_of_clips_and_pictures(videos, tmp_path):
    for image_share, frames in ((0.0, 4), (1.0, 1)):
        trainer = Pretrainer(config(videos, tmp_path, encoder=VJEPA21, image_share=image_share))
        batch = make_batch(trainer.config, _clips(videos), 0)
        assert batch.clips.shape == (4, 3, frames, 32, 32)
        result = trainer.step(0, batch)
        assert result["targets"].shape == (4, max(1, frames // 2) * 16, 2 * 24)
        levels = result["targets"].unflatten(-1, (2, 24))
        torch.testing.assert_close(levels.mean(dim=-1), torch.zeros(levels.shape[:-1]), atol=1e-5, rtol=0)
        moved = trainer.encoder.patch_embed_img if frames == 1 else trainer.encoder.patch_embed
        still = trainer.encoder.patch_embed if frames == 1 else trainer.encoder.patch_embed_img
        assert moved.proj.weight.grad.abs().sum() > 0 and still.proj.weight.grad is None
        assert all(norm.weight.grad.abs().sum() > 0 for norm in trainer.encoder.norms_block)


def test_a_batch_in_parts_is_the_same_step(videos, tmp_path):
    clips, trainers = _clips(videos), []
    for accumulate in (1, 4):
        trainer = Pretrainer(config(videos, tmp_path, batch_size=8, accumulate=accumulate))
        values = [trainer.step(step, make_batch(trainer.config, clips, step)) for step in range(4)]
        trainers.append((trainer, [float(value["loss"]) for value in values], values[-1]["targets"]))
    assert trainers[0][1] == pytest.approx(trainers[1][1], abs=1e-5)
    torch.testing.assert_close(trainers[0][2], trainers[1][2], atol=1e-4, rtol=1e-4)
    for a, b in zip(trainers[0][0].encoder.parameters(), trainers[1][0].encoder.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)
    with pytest.raises(ValueError, match="accumulate must be at least 1 and divide batch_size 4, got 3"):
        config(videos, tmp_path, accumulate=3)


def test_masks_that_cannot_be_are_refused_at_once(videos, tmp_path):
    with pytest.raises(MaskError):
        config(videos, tmp_path, encoder=VJEPA21, masks=(FutureMask(),))
    assert config(videos, tmp_path, encoder=VJEPA21, masks=(FutureMask(),), image_share=0.0).masks == (FutureMask(),)


def test_losses_and_regularisers_are_options(videos, tmp_path):
    clips = _clips(videos)
    seen = {}
    for name in ("l1", "l2", "smooth_l1", "cosine"):
        trainer = Pretrainer(config(videos, tmp_path, loss=name))
        seen[name] = float(trainer.step(0, make_batch(trainer.config, clips, 0))["loss"])
    assert len(set(seen.values())) == 4
    gradients = []
    for weight in (0.0, 5.0):
        trainer = Pretrainer(config(videos, tmp_path, variance_weight=weight, covariance_weight=weight))
        result = trainer.step(0, make_batch(trainer.config, clips, 0))
        gradients.append(float(result["grad_norm"]))
        assert float(result["covariance_loss"]) > 0
    assert gradients[0] != gradients[1]


def test_it_learns_what_the_mean_does_not_know(videos, tmp_path):
    options = {"steps": 100, "batch_size": 8, "learning_rate": 2e-3, "log_every": 20, "ema_start": 0.98}
    pretrain(config(videos, tmp_path, **options))
    first, last = rows(tmp_path)[0], rows(tmp_path)[-1]
    assert float(last["loss_over_mean"]) < 0.9 < float(first["loss_over_mean"])
    assert float(last["target_std"]) > 0.1
    assert float(last["target_rank"]) > 1.2


def test_context_loss_can_be_left_out(videos, tmp_path):
    trainer = Pretrainer(config(videos, tmp_path, context_loss_weight=0.0))
    assert not trainer.predictor.config.predict_context
    batch = make_batch(trainer.config, _clips(videos), 0)
    assert float(trainer.step(0, batch)["context_loss"]) == 0.0


def test_context_loss_trains_its_own_output(videos, tmp_path):
    trainer = Pretrainer(config(videos, tmp_path, context_warmup_share=0.0))
    before = trainer.predictor.predictor_proj_context.weight.clone()
    assert float(trainer.step(0, make_batch(trainer.config, _clips(videos), 0))["context_loss"]) > 0.0
    assert not torch.equal(before, trainer.predictor.predictor_proj_context.weight)


def test_a_batch_depends_on_seed_and_step_alone(videos, tmp_path):
    settings, clips = config(videos, tmp_path, image_share=1.0), _clips(videos)
    first, again = make_batch(settings, clips, 7), make_batch(settings, clips, 7)
    assert torch.equal(first.clips, again.clips)
    assert torch.equal(first.masks[0].context_ids, again.masks[0].context_ids)
    assert not torch.equal(first.clips, make_batch(settings, clips, 8).clips)
    assert torch.equal(first.clips[:, :, 0], first.clips[:, :, 3])


def test_bfloat16_trains_float32_weights(videos, tmp_path):
    trainer = Pretrainer(config(videos, tmp_path, precision="bf16"))
    result = trainer.step(0, make_batch(trainer.config, _clips(videos), 0))
    assert torch.isfinite(result["loss"])
    assert all(p.dtype == torch.float32 for p in trainer.encoder.parameters())


def test_a_broken_video_is_named_and_left_out(videos, tmp_path, caplog):
    folder = tmp_path / "videos"
    folder.mkdir()
    for path in videos.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "broken.mp4").write_bytes(b"not a video")
    with pytest.raises(VideoError, match=r"broken\.mp4"):
        pretrain(config(folder, tmp_path / "strict", max_bad_share=0.0))
    pretrain(config(folder, tmp_path / "out", max_bad_share=0.5, steps=1))
    assert "broken.mp4" in caplog.text


def test_wrong_paths_and_settings_are_named(videos, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        pretrain(config(tmp_path / "nowhere", tmp_path / "out"))
    with pytest.raises(ValueError, match="num_frames must be a multiple of tubelet_size 2, got 3"):
        config(videos, tmp_path, num_frames=3)


def test_a_run_of_another_architecture_is_not_resumed(videos, tmp_path):
    pretrain(config(videos, tmp_path, steps=2))
    with pytest.raises(CheckpointError, match="another architecture"):
        pretrain(config(videos, tmp_path, encoder=dataclasses.replace(ENCODER, depth=3)))


def _clips(videos):
    from vjepa_wm.data.video import find_videos
    from vjepa_wm.data.video_clips import VideoClips

    return VideoClips(find_videos(videos), num_frames=4, fps=5.0)
