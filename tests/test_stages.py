import json

import numpy as np
import pytest
import torch
from PIL import Image

from vjepa_wm.cli import main
from vjepa_wm.data.trajectories import TrajectoryDataset
from vjepa_wm.data.video import read_frames
from vjepa_wm.models.ac_predictor import ActionConditionedPredictorConfig
from vjepa_wm.models.checkpoint import save_model
from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.encoder_config import VideoEncoderConfig
from vjepa_wm.models.world_model import WorldModel, WorldModelConfig, save_world_model

ENCODER = VideoEncoderConfig(image_size=32, embed_dim=24, depth=1, num_heads=2)
SEARCH = ["--planner.num-samples", "16", "--planner.iterations", "1", "--precision", "fp32"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    predictor = ActionConditionedPredictorConfig(encoder_dim=24, embed_dim=24, depth=1, num_heads=2)
    folder = tmp_path_factory.mktemp("world_model")
    save_world_model(WorldModel(WorldModelConfig(encoder=ENCODER, predictor=predictor)), folder)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("collected") / "set"
    assert main(["collect", "--out", str(folder), "--episodes", "3", "--steps", "5", "--image-size", "64"]) == 0
    return folder


def test_collect_writes_a_dataset_and_goes_on(data, capsys):
    dataset = TrajectoryDataset(data)
    assert list(dataset.lengths) == [6, 6, 6]
    assert dataset.episode(0).frames.shape == (6, 64, 64, 3)
    assert main(["collect", "--out", str(data), "--episodes", "3", "--steps", "5", "--image-size", "64"]) == 0
    assert "0 episodes" in capsys.readouterr().out


@pytest.mark.parametrize("task", ["reach", "push"])
@pytest.mark.parametrize("policy", ["random", "expert", "noisy_expert"])
def test_every_policy_can_be_collected(tmp_path, task, policy):
    short = ["--episodes", "1", "--steps", "3", "--image-size", "32"]
    assert main(["collect", "--out", str(tmp_path / "set"), "--task", task, "--policy", policy, *short]) == 0
    episode = TrajectoryDataset(tmp_path / "set").episode(0)
    assert episode.task == f"{task}, {policy}" and episode.actions[:3].any()
    assert (episode.objects is None) == (task == "reach")


def test_every_stage_feeds_the_next(data, tmp_path):
    size = [
        "--encoder.image-size",
        "32",
        "--encoder.embed-dim",
        "24",
        "--encoder.depth",
        "1",
        "--encoder.num-heads",
        "2",
    ]
    masks = ["--masks.0.num-blocks", "1", "--masks.0.spatial-scale", "0.3", "0.3"]
    masks += ["--masks.1.num-blocks", "1", "--masks.1.spatial-scale", "0.5", "0.5"]
    short = ["--steps", "2", "--batch-size", "2", "--precision", "fp32"]
    encoder, world_model = tmp_path / "pretrain", tmp_path / "ac"
    assert main(["pretrain", "--data", str(data / "videos"), "--out", str(encoder), *size, *masks, *short]) == 0
    chain = ["--data", str(data), "--encoder", str(encoder / "encoder")]
    small = ["--predictor-dim", "24", "--predictor-depth", "1", "--predictor-heads", "2", "--validation-share", "0.4"]
    assert main(["train-ac", *chain, "--out", str(world_model), *small, *short]) == 0
    assert main(["probe", *chain, "--test-share", "0.4"]) == 0
    trained = ["--checkpoint", str(world_model / "world_model")]
    assert main(["plan", "--out", str(tmp_path / "plan"), *trained, *SEARCH, "--steps", "2"]) == 0
    assert (tmp_path / "plan/plan.mp4").is_file()


def test_evaluate_writes_the_whole_report(checkpoint, tmp_path, capsys):
    common = ["evaluate", "--checkpoint", str(checkpoint), *SEARCH, "--steps", "2"]
    assert main([*common, "--out", str(tmp_path), "--task", "reach", "--episodes", "2"]) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["task"] == "reach"
    assert len(results["protocol"]["episodes"]) == 2
    assert [row["policy"] for row in results["rows"]] == ["world_model", "random", "zero", "true_dynamics"]
    for row in results["rows"]:
        assert row["episodes"] == 2
        low, high = row["success_last_interval"]
        assert low <= row["success_last"] <= high
        assert row["success_last"] <= row["success_ever"] <= 1.0
        assert row["seconds_per_action"] >= 0.0
        assert len(list((tmp_path / "videos" / row["policy"]).glob("*.mp4"))) == 2
    assert (tmp_path / "energy_and_distance.png").is_file()
    assert "true_dynamics" in capsys.readouterr().out
    again = tmp_path / "again"
    saved = ["--protocol", str(tmp_path / "protocol.json"), "--policies", "zero"]
    assert main([*common, "--out", str(again), *saved]) == 0
    assert json.loads((again / "results.json").read_text())["protocol"] == results["protocol"]


def test_plan_takes_a_picture_as_its_goal(checkpoint, tmp_path, capsys):
    picture = tmp_path / "goal.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)).save(picture)
    options = ["--goal-image", str(picture), "--out", str(tmp_path / "plan"), "--steps", "2"]
    assert main(["plan", "--checkpoint", str(checkpoint), *SEARCH, *options]) == 0
    text = capsys.readouterr().out
    assert "energy" in text
    assert "distance" not in text
    frames, _ = read_frames(tmp_path / "plan/plan.mp4")
    assert frames.shape[0] >= 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pretrain", "--data", "/nowhere", "--out", "x"], "source of videos and pictures does not exist: /nowhere"),
        (["collect", "--out", "x", "--task", "raech"], "unknown task 'raech', did you mean 'reach'?"),
        (["plan", "--out", "x", "--task", "push"], "task must be one without objects to plan in it"),
        (["evaluate", "--out", "x", "--task", "push"], "which is 'reach' so far, got 'push'"),
        (["evaluate", "--out", "x", "--checkpoint", "/nowhere"], "no checkpoint at /nowhere"),
        (["plan", "--out", "x", "--goal-image", "/nowhere.png"], "picture does not exist: /nowhere.png"),
        (["train-ac", "--data", "/nowhere", "--encoder", "ENCODER", "--out", "x"], "/nowhere"),
        (["probe", "--data", "/nowhere", "--encoder", "vjepa2_vit_lerge"], "did you mean 'vjepa2_vit_large'?"),
        (["evaluate", "--out", "x", "--checkpoint", "ENCODER"], "holds a video encoder (read it with load_encoder)"),
        (["inspect", "BROKEN/bad.mp4"], "not a PyTorch file: it begins with 'no video'"),
        (
            ["convert", "ENCODER", "--out", "ENCODER"],
            "out must not hold a checkpoint yet, but encoder does",
        ),
        (["features", "/nowhere", "--model", "ENCODER", "--out", "x"], "input does not exist: /nowhere"),
        (["pretrain", "--data", "BROKEN", "--out", "x"], "bad.mp4"),
    ],
)
def test_what_a_user_can_mend_is_one_message(arguments, message, checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save_model(VideoEncoder(ENCODER), "video_encoder", ENCODER, tmp_path / "encoder")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/bad.mp4").write_bytes(b"no video")
    places = {"ENCODER": "encoder"}
    if "--goal-image" in arguments:
        arguments = [*arguments, "--checkpoint", str(checkpoint)]
    arguments = [word.replace("BROKEN", "broken") for word in arguments]
    assert main([places.get(word, word) for word in arguments]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    "stage", ["collect", "pretrain", "train-ac", "probe", "plan", "evaluate", "features", "inspect", "convert"]
)
def test_help_explains_every_option(stage, capsys):
    with pytest.raises(SystemExit) as stop:
        main([stage, "--help"])
    assert stop.value.code == 0
    assert "--out" in capsys.readouterr().out or stage in ("probe", "inspect")
