from dataclasses import replace
from typing import get_args

import pytest

from vjepa_wm.cli import parse
from vjepa_wm.training.pretrain.config import PretrainConfig, RecipeName
from vjepa_wm.training.pretrain.recipes import recipe


def made(name):
    return recipe(name, data="videos", out="out")


@pytest.mark.parametrize("name", get_args(RecipeName))
def test_every_name_is_a_recipe(name):
    assert made(name).recipe == name


def test_the_recipe_of_vjepa2():
    config = made("vjepa2-giant-384")
    rate = config.rate_schedule()
    assert (config.steps, config.batch_size) == (252_000, 3072)
    assert rate(0) == pytest.approx(1e-4 + 4.25e-4 / 12_000)
    assert rate(11_999) == rate(239_999) == 5.25e-4
    assert rate(251_999) == pytest.approx(1e-6)
    assert {config.decay_at(step) for step in (0, 100_000, 251_999)} == {0.04}
    first, last = config.all_stages
    assert (first.steps, first.num_frames, first.image_size) == (240_000, 16, 256)
    assert (last.steps, last.num_frames, last.image_size) == (12_000, 64, 384)
    (clips,) = config.streams(first)
    assert config.context_weight(100_000, clips) == 0.0 and config.clip_grad_norm is None
    assert (clips.picture_share, clips.grid, config.streams(last)[0].grid) == (0.25, (8, 16, 16), (32, 24, 24))
    assert [mask.num_blocks for mask in clips.masks] == [8, 2]


def test_the_recipe_of_vjepa():
    config = made("vjepa1-large")
    rate = config.rate_schedule()
    assert config.encoder.rope is None and config.pictures.share == 0.0
    assert rate(11_999) == 6.25e-4
    # The schedules are a quarter longer than the run: at its end, half a cosine from step 12,000 to 112,500 has
    # 22,500 steps left, where its height is (1 + cos(pi * 78/100.5)) / 2.
    assert rate(89_999) == pytest.approx(1e-6 + (6.25e-4 - 1e-6) * 0.11861, rel=1e-3)
    assert config.decay_at(112_499) == pytest.approx(0.4) and 0.3 < config.decay_at(89_999) < 0.4


def test_the_recipe_of_vjepa21():
    config = made("vjepa2.1-gigantic")
    assert (config.encoder.levels, config.num_levels, config.predictor_depth) == ((11, 23, 37, 47), 4, 24)
    assert (config.batch_size, config.pictures.batch_size) == (128, 2304)
    first, last = config.all_stages
    assert (first.steps, first.num_frames, first.image_size, first.picture_size) == (135_000, 16, 256, 256)
    assert (last.steps, last.num_frames, last.image_size, last.picture_size) == (12_000, 64, 384, 512)
    clips, pictures = config.streams(last)
    assert (clips.grid, pictures.grid) == ((32, 24, 24), (1, 32, 32))
    assert (clips.loss_share, pictures.loss_share, clips.picture_share, pictures.picture_share) == (0.5, 0.5, 0.0, 1.0)
    assert [config.context_weight(step, clips) for step in (14_999, 29_999, 146_999)] == [0.0, 0.5, 0.5]
    assert config.context_weight(22_499, pictures) == pytest.approx(0.35)
    assert [mask.num_blocks for mask in pictures.masks] == [10]


def test_other_options_start_from_the_recipe():
    words = ["pretrain", "--recipe", "vjepa2-large", "--data", "videos", "more", "--out", "out", "--batch-size", "64"]
    config = parse(words)[1]
    assert config == replace(made("vjepa2-large"), batch_size=64, data=config.data, out=config.out)
    assert [path.name for path in config.data] == ["videos", "more"]
    assert parse(["pretrain", "--data", "videos", "--out", "out"])[1] == PretrainConfig(data="videos", out=config.out)


def test_unknown_recipes_are_named(capsys):
    with pytest.raises(ValueError, match=r"recipe must be one of cpu, gpu, vjepa1-large, .*, got 'vjepa3'"):
        made("vjepa3")
    with pytest.raises(SystemExit):
        parse(["pretrain", "--recipe", "vjepa3", "--data", "videos", "--out", "out"])
    assert "vjepa3" in capsys.readouterr().err
