import csv
import dataclasses
import shutil

import numpy as np
import pytest
import torch
from interruption import interrupted_at

from vjepa_wm.data.masks.mask import MaskError
from vjepa_wm.data.masks.multi_block import MultiBlockMask
from vjepa_wm.data.masks.samplers import FutureMask
from vjepa_wm.data.media.video import VideoError, write_video
from vjepa_wm.models.checkpoint import CheckpointError
from vjepa_wm.models.encoder_config import VideoEncoderConfig
from vjepa_wm.models.load import load_encoder
from vjepa_wm.training.pretrain.batches import StepBatches
from vjepa_wm.training.pretrain.config import ComputeConfig, LoaderConfig, PretrainConfig
from vjepa_wm.training.pretrain.curriculum import Stage
from vjepa_wm.training.pretrain.loop import BAD_FILES, open_stage_mixture, pretrain
from vjepa_wm.training.pretrain.objective import ObjectiveConfig
from vjepa_wm.training.pretrain.run_data import find_sources
from vjepa_wm.training.pretrain.step import Pretrainer
from vjepa_wm.training.pretrain.streams import MasksConfig, PicturesConfig
from vjepa_wm.training.run.distributed import World

pytestmark = pytest.mark.usefixtures("without_curves")
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
    small = {
        "encoder": ENCODER,
        "predictor_dim": 16,
        "predictor_depth": 1,
        "predictor_heads": 2,
        "masks": MasksConfig(settings=MASKS),
    }
    short = {"steps": 4, "batch_size": 4, "log_every": 1, "save_every": 2, "precision": "fp32"}
    return PretrainConfig(data=videos, out=out, **(small | short | options))


def batches(settings, world=None):
    """The batches of a run's first stage."""
    world = world or World()
    stage = settings.all_stages[0]
    return StepBatches(settings, stage, open_stage_mixture(settings, stage, world, find_sources(settings)), world)


def micro_batches(settings, step=0):
    return [cuts.prepare(torch.device("cpu")) for cuts in batches(settings)[step].micro_batches]


def rows(out):
    with (out / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_two_steps_then_resume_equal_one_run(videos, tmp_path):
    whole = load_encoder(pretrain(config(videos, tmp_path / "whole")))
    stopped = config(videos, tmp_path / "parts")
    with interrupted_at(Pretrainer, 3), pytest.raises(KeyboardInterrupt):
        pretrain(stopped)
    parts = load_encoder(pretrain(stopped))
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), parts.parameters(), strict=True))
    assert rows(tmp_path / "whole") == rows(tmp_path / "parts")
    assert [row["step"] for row in rows(tmp_path / "parts")] == ["0", "1", "2", "3"]


@pytest.mark.parametrize(
    "changes",
    [
        {"class_token": True},
        {"in_channels": 1},
        {"patch_width": 4, "temporal_depth": 1, "class_token": True},
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
    again = load_encoder(
        pretrain(config(videos, tmp_path / "again", compute=ComputeConfig(recompute_activations=True), **options))
    )
    assert first.config == encoder
    for a, b in zip(first.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)
    untrained = Pretrainer(config(videos, tmp_path / "none", **options)).encoder
    assert not torch.equal(first.blocks[0].attn.qkv.weight, untrained.blocks[0].attn.qkv.weight)


VJEPA21 = dataclasses.replace(ENCODER, levels=(0, 1), image_tokenizer=True, modality_embedding=True, rope_grid=4)


def test_vjepa21_predicts_every_level_of_clips_and_pictures(videos, tmp_path):
    for image_share, frames in ((0.0, 4), (1.0, 1)):
        trainer = Pretrainer(config(videos, tmp_path, encoder=VJEPA21, pictures=PicturesConfig(share=image_share)))
        (part,) = micro_batches(trainer.config)
        assert part.clips.shape == (4, 3, frames, 32, 32)
        result = trainer.step(0, [part])
        assert result["targets"].shape == (4 * max(1, frames // 2) * 16, 2 * 24)
        levels = result["targets"].unflatten(-1, (2, 24))
        torch.testing.assert_close(levels.mean(dim=-1), torch.zeros(levels.shape[:-1]), atol=1e-5, rtol=0)
        moved = trainer.encoder.patch_embed_img if frames == 1 else trainer.encoder.patch_embed
        still = trainer.encoder.patch_embed if frames == 1 else trainer.encoder.patch_embed_img
        assert moved.proj.weight.grad.abs().sum() > 0 and still.proj.weight.grad is None
        assert all(norm.weight.grad.abs().sum() > 0 for norm in trainer.encoder.norms_block)


def test_vjepa21_gives_clips_and_pictures_their_shares_of_every_step(videos, tmp_path):
    apart = PicturesConfig(share=0.25, batch_size=8, masks="vjepa2.1-pictures")
    settings = config(videos, tmp_path, encoder=VJEPA21, pictures=apart)
    clips, pictures = micro_batches(settings)
    assert (clips.clips.shape[:3], clips.share) == ((4, 3, 4), 0.75)
    assert (pictures.clips.shape[:3], pictures.share) == ((8, 3, 1), 0.25)
    assert len(clips.masks) == len(pictures.masks) == 1
    both, alone = Pretrainer(settings).step(0, [clips, pictures]), []
    for part in (clips, pictures):
        alone.append(float(Pretrainer(settings).step(0, [dataclasses.replace(part, share=1.0)])["loss"]))
    assert float(both["loss"]) == pytest.approx(0.75 * alone[0] + 0.25 * alone[1], abs=1e-6)
    assert clips.context_weight == pictures.context_weight > 0
    weighted = config(
        videos,
        tmp_path,
        encoder=VJEPA21,
        pictures=dataclasses.replace(apart, context_loss_weight=0.7),
        objective=ObjectiveConfig(context_start_share=0.5),
    )
    assert [part.context_weight for part in micro_batches(weighted, 1)] == [0.0, 0.0]
    assert [part.context_weight for part in micro_batches(weighted, 3)] == pytest.approx([0.5, 0.7])
    with pytest.raises(ValueError, match=r"pictures\.batch_size must leave each process a multiple of 4 .*, got 6"):
        odd = dataclasses.replace(apart, batch_size=6)
        batches(config(videos, tmp_path, encoder=VJEPA21, pictures=odd, compute=ComputeConfig(micro_batch_size=1)))


def test_a_batch_in_parts_is_the_same_step(videos, tmp_path):
    trainers = []
    for micro_batch_size in (8, 2):
        settings = config(videos, tmp_path, batch_size=8, compute=ComputeConfig(micro_batch_size=micro_batch_size))
        trainer, data = Pretrainer(settings), batches(settings)
        values = [trainer.step(s, [c.prepare(trainer.device) for c in data[s].micro_batches]) for s in range(4)]
        trainers.append((trainer, [float(value["loss"]) for value in values], values[-1]["targets"]))
    assert trainers[0][1] == pytest.approx(trainers[1][1], abs=1e-5)
    torch.testing.assert_close(trainers[0][2], trainers[1][2], atol=1e-4, rtol=1e-4)
    for a, b in zip(trainers[0][0].encoder.parameters(), trainers[1][0].encoder.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)
    with pytest.raises(ValueError, match="micro_batch_size must divide the 4 samples of a process"):
        batches(config(videos, tmp_path, compute=ComputeConfig(micro_batch_size=3)))


def test_masks_that_cannot_be_are_refused_at_once(videos, tmp_path):
    future = MasksConfig(settings=(FutureMask(),))
    with pytest.raises(MaskError):
        config(videos, tmp_path, encoder=VJEPA21, masks=future)
    assert config(videos, tmp_path, encoder=VJEPA21, masks=future, pictures=PicturesConfig(share=0.0)).masks == future
    with pytest.raises(ValueError, match=r"masks\.settings must hold at least one setting, got none"):
        MasksConfig(settings=())


def test_losses_and_regularisers_are_options(videos, tmp_path):
    seen = {}
    for name in ("l1", "l2", "smooth_l1", "cosine"):
        trainer = Pretrainer(config(videos, tmp_path, objective=ObjectiveConfig(loss=name)))
        seen[name] = float(trainer.step(0, micro_batches(trainer.config))["loss"])
    assert len(set(seen.values())) == 4
    gradients = []
    for weight in (0.0, 5.0):
        objective = ObjectiveConfig(variance_weight=weight, covariance_weight=weight)
        trainer = Pretrainer(config(videos, tmp_path, objective=objective))
        result = trainer.step(0, micro_batches(trainer.config))
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
    trainer = Pretrainer(config(videos, tmp_path, objective=ObjectiveConfig(context_loss_weight=0.0)))
    assert not trainer.predictor.config.predict_context
    assert float(trainer.step(0, micro_batches(trainer.config))["context_loss"]) == 0.0


def test_context_loss_trains_its_own_output(videos, tmp_path):
    trainer = Pretrainer(config(videos, tmp_path, objective=ObjectiveConfig(context_warmup_share=0.0)))
    before = trainer.predictor.predictor_proj_context.weight.clone()
    assert float(trainer.step(0, micro_batches(trainer.config))["context_loss"]) > 0.0
    assert not torch.equal(before, trainer.predictor.predictor_proj_context.weight)


def test_a_batch_depends_on_seed_and_step_alone(videos, tmp_path):
    settings = config(videos, tmp_path, pictures=PicturesConfig(share=1.0))
    (first,), (again,) = micro_batches(settings, 7), micro_batches(settings, 7)
    assert torch.equal(first.clips, again.clips)
    assert torch.equal(first.masks[0].context_ids, again.masks[0].context_ids)
    assert not torch.equal(first.clips, micro_batches(settings, 8)[0].clips)
    assert not torch.equal(first.clips, micro_batches(dataclasses.replace(settings, seed=1), 7)[0].clips)
    assert torch.equal(first.clips[:, :, 0], first.clips[:, :, 3])


def test_processes_take_their_stretch_of_the_same_batch(videos, tmp_path):
    settings = config(videos, tmp_path, batch_size=8, compute=ComputeConfig(micro_batch_size=2))
    whole = batches(settings)[5].micro_batches
    halves = [batches(settings, World(rank=rank, size=2))[5].micro_batches for rank in (0, 1)]
    assert [len(half) for half in halves] == [2, 2]
    for mine, cuts in zip(halves[0] + halves[1], whole, strict=True):
        assert torch.equal(mine.pixels, cuts.pixels) and mine.flips == cuts.flips
        assert all(torch.equal(a, b) for a, b in zip(mine.masks[0], cuts.masks[0], strict=True))
    assert halves[0][0].share == 0.5 and [cuts.is_last for cuts in halves[0]] == [False, True]
    with pytest.raises(ValueError, match="batch_size must be a multiple of the 3 processes, got 8"):
        batches(settings, World(rank=0, size=3))


def test_masks_may_be_cut_to_one_length_in_each_micro_batch(videos, tmp_path):
    masks, compute = MasksConfig(settings=MASKS, lengths="micro_batch"), ComputeConfig(micro_batch_size=1)
    settings = config(videos, tmp_path, batch_size=16, masks=masks, compute=compute)
    lengths = {part.masks[0].context_ids.shape[1] for part in micro_batches(settings)}
    whole = {part.masks[0].context_ids.shape[1] for part in micro_batches(config(videos, tmp_path, batch_size=16))}
    assert len(lengths) > 1 and max(lengths) > max(whole)


def test_a_share_of_the_clips_are_pictures(videos, tmp_path):
    settings = config(videos, tmp_path, batch_size=400, pictures=PicturesConfig(share=0.25))
    (part,) = micro_batches(settings)
    still = (part.clips[:, :, 0] == part.clips[:, :, 3]).flatten(1).all(dim=1)
    assert 60 <= int(still.sum()) <= 140


def test_workers_make_the_same_batches(videos, tmp_path):
    plain = load_encoder(pretrain(config(videos, tmp_path / "thread", steps=3)))
    workers = load_encoder(pretrain(config(videos, tmp_path / "workers", steps=3, loader=LoaderConfig(workers=2))))
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), workers.parameters(), strict=True))


def test_stages_change_the_clips_and_not_the_schedules(videos, tmp_path):
    stages = (Stage(steps=2), Stage(steps=2, num_frames=6, image_size=48))
    settings = config(videos, tmp_path / "out", stages=stages)
    encoder = load_encoder(pretrain(settings))
    assert encoder.config.image_size == 48
    assert [row["learning_rate"] for row in rows(tmp_path / "out")] == [
        f"{settings.rate_schedule()(step):.6g}" for step in range(4)
    ]
    stage = settings.all_stages[1]
    mixture = open_stage_mixture(settings, stage, World(), find_sources(settings))
    data = StepBatches(settings, stage, mixture, World())[2]
    assert data.micro_batches[0].prepare(torch.device("cpu")).clips.shape == (4, 3, 6, 48, 48)
    with pytest.raises(ValueError, match="the steps of the stages must add up to steps 5, got 4"):
        dataclasses.replace(settings, steps=5)
    with pytest.raises(ValueError, match="image_size must be a multiple of patch_size 8, got 36"):
        config(videos, tmp_path, stages=(Stage(steps=4, image_size=36),))


def test_a_cooldown_starts_from_a_run_with_its_optimizer(videos, tmp_path):
    pretrain(config(videos, tmp_path / "first", steps=4))
    cooldown = {"start_from": tmp_path / "first", "warmup_share": 0.0, "decay_share": 1.0, "steps": 2}
    pretrain(config(videos, tmp_path / "second", **cooldown))
    first, second = rows(tmp_path / "first"), rows(tmp_path / "second")
    assert [row["step"] for row in second] == ["0", "1"]
    assert float(second[0]["learning_rate"]) > float(second[1]["learning_rate"])
    longer = config(videos, tmp_path / "third", **cooldown | {"batch_size": 8, "num_frames": 6})
    pretrain(longer)
    fresh = Pretrainer(config(videos, tmp_path, steps=2))
    assert float(second[0]["grad_norm"]) != pytest.approx(float(first[0]["grad_norm"]))
    assert not torch.equal(
        fresh.encoder.blocks[0].attn.qkv.weight,
        load_encoder(tmp_path / "third/encoder").blocks[0].attn.qkv.weight,
    )


def test_a_run_starts_from_the_weights_of_a_checkpoint(videos, tmp_path):
    folder = pretrain(config(videos, tmp_path / "first"))
    start = Pretrainer(config(videos, tmp_path, start_from=folder))
    for network in (start.encoder, start.target_encoder):
        for a, b in zip(network.parameters(), load_encoder(folder).parameters(), strict=True):
            assert torch.equal(a, b)
    with pytest.raises(CheckpointError, match=r"start_from .* is not what .* describe: depth 2 instead of 3"):
        Pretrainer(config(videos, tmp_path, start_from=folder, encoder=dataclasses.replace(ENCODER, depth=3)))


def test_a_frozen_teacher_makes_the_targets(videos, tmp_path):
    wide = dataclasses.replace(VJEPA21, embed_dim=48)
    folder = pretrain(config(videos, tmp_path / "teacher", encoder=wide))
    teacher = load_encoder(folder)
    settings = config(
        videos, tmp_path / "out", encoder=VJEPA21, teacher=folder, objective=ObjectiveConfig(context_loss_weight=0.0)
    )
    trainer = Pretrainer(settings)
    before = [p.clone() for p in trainer.target_encoder.parameters()]
    (clips, pictures) = micro_batches(settings)
    targets = trainer.step(0, [clips, pictures])["targets"]
    expected = torch.nn.functional.layer_norm(teacher(clips.clips), (48,))
    torch.testing.assert_close(targets[: expected.shape[0] * expected.shape[1]], expected.flatten(0, 1))
    assert trainer.predictor.config.target_dim == 48 and trainer.predictor.config.num_levels == 1
    assert all(torch.equal(a, b) for a, b in zip(trainer.teacher.parameters(), teacher.parameters(), strict=True))
    moved = zip(before, trainer.target_encoder.parameters(), strict=True)
    assert any(not torch.equal(a, b) for a, b in moved)  # the slow copy follows the student all the same
    assert load_encoder(pretrain(settings)).config == VJEPA21
    with pytest.raises(CheckpointError, match="teacher must cut clips as the encoder does, patch_size 4, got 8"):
        Pretrainer(config(videos, tmp_path, encoder=dataclasses.replace(ENCODER, patch_size=4), teacher=folder))


def test_bfloat16_trains_float32_weights(videos, tmp_path):
    trainer = Pretrainer(config(videos, tmp_path, precision="bf16"))
    result = trainer.step(0, micro_batches(trainer.config))
    assert torch.isfinite(result["loss"])
    assert all(p.dtype == torch.float32 for p in trainer.encoder.parameters())


def test_a_broken_video_is_named_and_left_out(videos, tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    for path in videos.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "broken.mp4").write_bytes(b"not a video")
    with pytest.raises(VideoError, match=r"broken\.mp4"):
        pretrain(config(folder, tmp_path / "strict", loader=LoaderConfig(max_bad_share=0.0)))
    pretrain(config(folder, tmp_path / "out", loader=LoaderConfig(max_bad_share=0.5), steps=1))
    assert "broken.mp4" in (tmp_path / "out" / BAD_FILES).read_text()


def test_wrong_paths_and_settings_are_named(videos, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        pretrain(config(tmp_path / "nowhere", tmp_path / "out"))
    for make, message in (
        (lambda: PicturesConfig(share=1.5), r"pictures\.share must be within 0\.\.1, got 1\.5"),
        (lambda: PicturesConfig(batch_size=0), r"pictures\.batch_size must be at least 1, got 0"),
        (lambda: LoaderConfig(workers=-1), r"loader\.workers must be at least 0, got -1"),
        (lambda: ComputeConfig(micro_batch_size=0), r"compute\.micro_batch_size must be at least 1, got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            make()
    with pytest.raises(ValueError, match=r"encoder\.in_channels must be 3 \(RGB\) or 1 \(grey\), got 2"):
        config(videos, tmp_path, encoder=dataclasses.replace(ENCODER, in_channels=2))
    with pytest.raises(ValueError, match="num_frames must be a multiple of tubelet_size 2, got 3"):
        config(videos, tmp_path, num_frames=3)


def test_a_run_of_another_architecture_is_not_resumed(videos, tmp_path):
    pretrain(config(videos, tmp_path, steps=2))
    with pytest.raises(CheckpointError, match=r"holds another run: encoder\.depth"):
        pretrain(config(videos, tmp_path, encoder=dataclasses.replace(ENCODER, depth=3)))
    (tmp_path / "pretrain.json").unlink()
    with pytest.raises(CheckpointError, match="another architecture"):
        pretrain(config(videos, tmp_path, encoder=dataclasses.replace(ENCODER, depth=3)))


def test_a_run_goes_on_with_its_own_files_and_tells_other_sizes(videos, tmp_path, caplog):
    data, run = tmp_path / "videos", tmp_path / "run"
    shutil.copytree(videos, data)
    pretrain(config(data, run, steps=2))
    pretrain(config(data, run, steps=3))
    assert "not what they were" not in caplog.text
    content = (data / "1.mp4").read_bytes()
    (data / "1.mp4").write_bytes(content[: len(content) // 2])
    pretrain(config(data, run, steps=4, loader=LoaderConfig(max_bad_share=0.5)))
    assert f"sizes of data {data} are not what they were" in caplog.text and "1.mp4" in (run / BAD_FILES).read_text()
    shutil.copy(data / "2.mp4", data / "3.mp4")
    with pytest.raises(CheckpointError, match=r"holds another run: the files of data .*videos are not those it began"):
        pretrain(config(data, run, steps=5))
    shutil.rmtree(data)
    pretrain(config(data, run, steps=4))
    assert "nothing to do" in caplog.text
    with pytest.raises(CheckpointError, match="holds another run: data "):
        pretrain(config(videos, run, steps=5))


def test_a_run_does_not_write_among_its_pictures(videos, tmp_path):
    shutil.copytree(videos, tmp_path / "videos")
    with pytest.raises(ValueError, match=r"out .*run must not lie in data .*videos"):
        pretrain(config(tmp_path / "videos", tmp_path / "videos/run"))
    assert sorted(path.name for path in (tmp_path / "videos").iterdir()) == ["0.mp4", "1.mp4", "2.mp4"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the compiler itself
def test_compiled_blocks_compute_the_same(videos, tmp_path):
    losses = []
    for compiled in (False, True):
        settings = config(videos, tmp_path, compute=ComputeConfig(compile=compiled, recompute_activations=True))
        trainer, data = Pretrainer(settings), batches(settings)
        values = [trainer.step(s, [c.prepare(trainer.device) for c in data[s].micro_batches]) for s in range(4)]
        losses.append([float(value["loss"]) for value in values])
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
