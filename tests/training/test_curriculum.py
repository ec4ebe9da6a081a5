import dataclasses

import pytest

from vjepa_wm.cli import parse
from vjepa_wm.training.pretrain.config import PretrainConfig
from vjepa_wm.training.pretrain.curriculum import FullStage, Stage, parse_stage, stage_text


def test_a_stage_is_one_word_of_the_command_line():
    stage = Stage(steps=5, num_frames=8, image_size=128)
    assert parse_stage("steps=5,num_frames=8,image_size=128") == stage
    assert parse_stage(stage_text(stage)) == stage
    words = "pretrain --data videos --out out --steps 15 --stages steps=10 steps=5,num_frames=8,image_size=128"
    assert parse(words.split())[1].stages == (Stage(steps=10), stage)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("10", "a stage must be steps=1000,num_frames=8,image_size=128, numbers for any of steps, .*, got '10'"),
        ("steps=x", "got 'steps=x'"),
        ("frames=3", "got 'frames=3'"),
        ("num_frames=4", "a stage must say its steps, .*, got 'num_frames=4'"),
        ("steps=0", "steps of a stage must be at least 1, got 0"),
    ],
)
def test_what_is_no_stage_is_named(text, message):
    with pytest.raises(ValueError, match=message):
        parse_stage(text)


def test_what_a_stage_leaves_out_is_as_the_run_says():
    config = PretrainConfig(
        data="videos", out="out", steps=3, stages=(Stage(steps=1), Stage(steps=2, image_size=128, picture_size=160))
    )
    first, second = config.all_stages
    assert first == FullStage(steps=1, num_frames=4, image_size=96, picture_size=96)
    assert second == FullStage(steps=2, num_frames=4, image_size=128, picture_size=160)
    apart = dataclasses.replace(config, encoder=dataclasses.replace(config.encoder, image_tokenizer=True))
    assert [stream.grid for stream in config.streams(first)] == [(2, 6, 6)]
    assert [stream.grid for stream in apart.streams(second)] == [(2, 8, 8), (1, 10, 10)]
