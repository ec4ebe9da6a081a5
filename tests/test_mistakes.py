"""Wrong command lines: each is told by the name of the option and what would be right, and nothing is written.

A case is one line: the command, without --out, and a part of the message. Words in capitals stand for what
`small_runs.write_places` writes.
"""

from __future__ import annotations

import subprocess
import sys

import pytest
from small_runs import give, write_places

from vjepa_wm.cli import STAGES, main

PRETRAIN = "pretrain --data VIDEOS"
TRAIN_AC = "train-ac --data SET --encoder ENCODER"
PROPOSAL = "train-proposal --data SET --world-model WORLD"
FEATURES = "features VIDEOS --model ENCODER"
EVALUATE = "evaluate --checkpoint WORLD"
COLLECT = "collect --env two_room --workers 0"
CASES = [
    ("envs --seed -1", "seed must be at least 0, got -1"),
    (f"{COLLECT} --seed -1", "seed must be at least 0, got -1"),
    (f"{COLLECT} --preview --seed -1", "seed must be at least 0, got -1"),
    (f"{COLLECT} --workers -1", "workers must be at least 0, got -1"),
    (f"{COLLECT} --episodes 0", "episodes must be at least 1, got 0"),
    (f"{COLLECT} --steps 0", "steps must be at least 1, got 0"),
    (f"{PRETRAIN} --device nonsense", "device must be one of auto, cpu"),
    (f"{TRAIN_AC} --device cuda:99", "device must be one of auto, cpu"),
    (f"{FEATURES} --device xyz", "device must be one of auto, cpu"),
    (f"{PRETRAIN} --loader.cache-gib inf", "loader.cache_gib must be at least 0 and finite, got inf"),
    (f"{PRETRAIN} --loader.max-bad-share 2", "loader.max_bad_share must be from 0 to 1, got 2"),
    (f"{PRETRAIN} --encoder.patch-size 0", "patch_size must be at least 1, got 0"),
    (f"{PRETRAIN} --encoder.patch-size -8", "patch_size must be at least 1, got -8"),
    (f"{PRETRAIN} --encoder.tubelet-size 0", "tubelet_size must be at least 1, got 0"),
    (f"{PRETRAIN} --encoder.embed-dim 0", "embed_dim must be an even multiple of num_heads 3, got 0"),
    (f"{PRETRAIN} --encoder.embed-dim -24", "embed_dim must be an even multiple of num_heads 3, got -24"),
    (f"{PRETRAIN} --encoder.num-heads -3", "num_heads must be at least 1, got -3"),
    (f"{PRETRAIN} --encoder.image-size -32", "image_size must be at least 1, got -32"),
    (f"{PRETRAIN} --encoder.mlp-ratio 0", "mlp_ratio must be positive and finite, got 0"),
    (f"{PRETRAIN} --encoder.norm-eps -1", "norm_eps must be positive and finite, got -1"),
    (f"{PRETRAIN} --predictor-dim -16", "predictor_dim must be an even multiple of predictor_heads 4, got -16"),
    (f"{PRETRAIN} --predictor-depth 0", "predictor_depth must be at least 1, got 0"),
    (f"{PRETRAIN} --num-frames 0", "num_frames must be at least 1, got 0"),
    (f"{PRETRAIN} --fps inf", "fps must be positive and finite, got inf"),
    (f"{PRETRAIN} --frame-folders-fps nan", "frame_folders_fps must be positive and finite, got nan"),
    (f"{PRETRAIN} --seed -1", "seed must be at least 0, got -1"),
    (f"{PRETRAIN} --learning-rate -1", "learning_rate must be at least 0, got -1"),
    (f"{PRETRAIN} --learning-rate-end nan", "learning_rate_end must be at least 0, got nan"),
    (f"{PRETRAIN} --weight-decay -1", "weight_decay must be at least 0, got -1"),
    (f"{PRETRAIN} --clip-grad-norm 0", "clip_grad_norm must be positive and finite, got 0"),
    (f"{PRETRAIN} --warmup-share 2", "warmup_share must be from 0 to 1, got 2"),
    (f"{PRETRAIN} --warmup-share 0.9", "warmup_share 0.9 and decay_share must add up to at most 1, got 0.25"),
    (f"{PRETRAIN} --schedule-stretch inf", "schedule_stretch must be at least 1 and finite, got inf"),
    (f"{PRETRAIN} --ema-start 2", "ema_start must be from 0 to 1, got 2"),
    (f"{PRETRAIN} --objective.variance-weight -1", "objective.variance_weight must be at least 0, got -1"),
    (f"{PRETRAIN} --objective.context-loss-weight nan", "objective.context_loss_weight must be at least 0, got nan"),
    (f"{PRETRAIN} --objective.context-start-share 2", "objective.context_start_share must be from 0 to 1, got 2"),
    (f"{PRETRAIN} --pictures.context-loss-weight -1", "pictures.context_loss_weight must be at least 0, got -1"),
    (f"{PRETRAIN} --data-weights 0", "data_weights must be positive"),
    (f"{TRAIN_AC} --data-weights -1", "data_weights must be positive"),
    (f"{TRAIN_AC} --validation-share 2", "validation_share must be from 0 to 1, got 2"),
    (f"{TRAIN_AC} --validation-share 0", "validation_share must leave at least one of 6 episodes in each part, got 0"),
    (f"{TRAIN_AC} --predictor-depth 0", "predictor_depth must be at least 1, got 0"),
    (f"{TRAIN_AC} --predictor-dim 7", "predictor_dim must be an even multiple of predictor_heads 3, got 7"),
    (f"{TRAIN_AC} --learning-rate inf", "learning_rate must be at least 0 and finite, got inf"),
    (f"{PROPOSAL} --z-noise inf", "z_noise must be at least 0 and finite, got inf"),
    (f"{PROPOSAL} --hidden-dim -1", "hidden_dim must be at least 1, got -1"),
    (f"{FEATURES} --fps inf", "fps must be positive and finite, got inf"),
    (f"{FEATURES} --num-frames 0", "num_frames must be at least 1, got 0"),
    (f"{EVALUATE} --planner.max-displacement 0", "max_displacement must be positive and finite, got 0"),
    (f"{EVALUATE} --planner.max-displacement 1e9", "max_displacement must be from 0 to 1, got 1000000000"),
    (f"{EVALUATE} --planner.max-displacement 0.9", "max_displacement must be at most that of the task, 0.075 m"),
    (f"{EVALUATE} --planner.action-weight nan", "action_weight must be at least 0, got nan"),
    (f"{EVALUATE} --planner.num-samples 1", "num_samples must be at least 2, got 1"),
    (f"{EVALUATE} --planner.method icem --planner.num-samples 3", "num_samples must be at least 4, got 3"),
    ("classify --data VIDEOS --encoder ENCODER", "must hold a folder of videos or pictures for each class, got"),
    ("classify --data VIDEOS --encoder ENCODER --clips.num-frames 0", "num_frames must be at least 1, got 0"),
    ("classify --data VIDEOS --encoder ENCODER --read.test-share 2", "test_share must be from 0 to 1, got 2"),
    ("classify --data VIDEOS --encoder ENCODER --finetune.blocks -1", "blocks must be at least 0, got -1"),
    ("classify --data VIDEOS --encoder ENCODER --seed -1", "seed must be at least 0, got -1"),
    ("dense --data SET --encoder ENCODER --steps 0", "steps must be at least 1, got 0"),
    ("predict ENCODER VIDEOS --top 0", "top must be at least 1, got 0"),
    ("predict ENCODER VIDEOS", "holds a video encoder (read it with load_encoder), but an attentive probe is needed"),
    ("plan --seed -1", "seed must be at least 0, got -1"),
]


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    return write_places(tmp_path_factory.mktemp("places"))


def refusal(give_command, capsys):
    """Give a command that is refused, and return what it says, in one line whatever the width of the terminal."""
    try:
        code = give_command()
    except SystemExit as stop:  # of what a configuration refuses
        code = stop.code
    assert code in (1, 2)
    return " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(("command", "message"), CASES, ids=lambda value: value[:60])
def test_a_mistake_is_told_by_the_name_of_the_option(command, message, places, tmp_path, capsys):
    stage, _, words = command.partition(" ")
    assert message in refusal(lambda: give(stage, tmp_path / "out", words, places), capsys)
    assert not (tmp_path / "out").exists() or not any(path.is_file() for path in (tmp_path / "out").rglob("[!.]*"))


@pytest.mark.parametrize("words", ["--seed -1", "--max-episodes 0", "--test-share 2"])
def test_a_mistake_of_a_command_that_writes_nothing(words, places, capsys):
    command = ["probe", "--data", places["SET"], "--encoder", places["ENCODER"], *words.split()]
    name = words.split()[0].removeprefix("--").replace("-", "_")
    assert f"{name} must be" in refusal(lambda: main(command), capsys)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["xyzzy", "--help"], "unknown command 'xyzzy'; commands: envs, collect, "),
        (["evalute"], "unknown command 'evalute', did you mean 'evaluate'?"),
        (["train_ac", "--help"], "unknown command 'train_ac', did you mean 'train-ac'?"),
        (["--out", "x"], "unknown command '--out'; commands: "),
        ([], "usage: vjepa-wm COMMAND [options]"),
    ],
)
def test_a_command_that_does_not_exist_is_told_so(words, message, capsys):
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_general_help_imports_nothing_large_and_names_every_stage():
    code = (
        "import sys; from vjepa_wm.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit as stop: assert not stop.code and not {'torch', 'tyro', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0
    assert [stage for stage in STAGES if f"\n  {stage} " not in done.stdout] == []
