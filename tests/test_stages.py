import json
from contextlib import closing
from itertools import pairwise
from typing import get_args

import imageio.v3 as iio
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from vjepa_wm.cli import main
from vjepa_wm.data.collection.episode_player import seeds_of
from vjepa_wm.data.media.video import read_frames
from vjepa_wm.data.trajectories.dataset import TrajectoryDataset
from vjepa_wm.data.trajectories.trajectory_options import TrajectoryOptions
from vjepa_wm.envs import TASKS, VariationConfig, make
from vjepa_wm.envs.policy import PolicyName
from vjepa_wm.models.ac_predictor_config import ActionConditionedPredictorConfig
from vjepa_wm.models.checkpoint import save_model
from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.encoder_config import VideoEncoderConfig
from vjepa_wm.models.world_model import WorldModel, WorldModelConfig, save_world_model
from vjepa_wm.stages import preview
from vjepa_wm.stages.collect import CollectConfig, run_collect

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


def test_envs_tells_and_shows_what_the_tasks_are(tmp_path, capsys):
    arguments = ["envs", "--tasks", "pick_place", "two_room", "--image-size", "32", "--out", str(tmp_path / "envs")]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert "pick_place: grasp a brick" in out and "two_room: bring a point through a door" in out
    assert "success: point within 5 cm of the goal; 40 steps at 5 Hz" in out
    assert "policies: play, random, expert, noisy_expert; cameras: top" in out
    assert "--variation.layout: default, middle_door_2, " in out and "; held out: middle_door_3, left_door_2, " in out
    picture = iio.imread(tmp_path / "envs/envs.png")
    assert picture.shape == (24 + 32 + 6, 6 * (32 + 6) + 6, 3)  # start, grasped, carried, goal; start, goal
    with closing(make("two_room", image_size=32)) as env:
        goal = env.reset(seed=0)[1]["goal"]["image"]
    np.testing.assert_array_equal(picture[24:56, -38:-6], goal)


def test_collect_writes_a_dataset_and_goes_on(data, capsys):
    dataset = TrajectoryDataset(data)
    assert list(dataset.lengths) == [6, 6, 6]
    assert dataset.episode(0).frames.shape == (6, 64, 64, 3)
    more = ["--episodes", "4", "--steps", "5", "--image-size", "64", "--workers", "0"]
    assert main(["collect", "--out", str(data), *more]) == 0
    out = capsys.readouterr().out
    assert "set: 4 episodes, 1 of them new; 24 frames of camera front at 5 Hz; 0." in out
    assert "of 1 new episodes (" in out and "6 new frames in" in out
    assert main(["collect", "--out", str(data), *more]) == 0
    assert "4 episodes, 0 of them new" in capsys.readouterr().out


@pytest.mark.parametrize("env", TASKS)
@pytest.mark.parametrize("policy", get_args(PolicyName))
def test_every_policy_of_every_task_can_be_collected(tmp_path, env, policy):
    size = {"episodes": 1, "steps": 3, "image_size": 32}
    run_collect(CollectConfig(out=tmp_path, env=env, policy=policy, workers=0, **size))
    made = make(env, image_size=32)
    names = made.state_names, made.action_names, made.object_names
    made.close()
    info = json.loads((tmp_path / "meta/info.json").read_text())
    features = [info["features"].get(name) for name in ("observation.state", "action", "observation.environment_state")]
    assert tuple(tuple(feature["names"]) if feature else () for feature in features) == names
    assert info["robot_type"] == ("franka" if len(names[0]) == 7 else "point")
    (data,) = (tmp_path / "data").rglob("*.parquet")
    table = pq.ParquetFile(data).read()
    actions = np.array(table["action"].to_pylist())
    assert actions.shape == (4, len(names[1])) and actions[:3].any()
    assert TrajectoryDataset(tmp_path).episode(0).task == f"{env}, {policy}"


def test_cameras_variation_and_renderer_of_a_collection(tmp_path):
    looks = ["--cameras", "side", "front", "--renderer", "ray", "--variation.all", "sampled"]
    options = ["--env", "push", *looks, "--variation.table", "navy", "--image-size", "64"]
    size = ["--episodes", "2", "--steps", "2", "--workers", "1"]
    assert main(["collect", "--out", str(tmp_path / "set"), *options, *size]) == 0
    varied = VariationConfig(all="sampled", table="navy")
    seen = []
    for variation in (varied, None):
        env = make("push", image_size=64, cameras=["side", "front"], renderer="ray", variation=variation)
        seen.append(env.reset(seed=seeds_of(0, 1)[0]))
        env.close()
    episode = TrajectoryDataset(tmp_path / "set", TrajectoryOptions(camera="side")).episode(1)
    assert episode.variation == seen[0][1]["variation"] and episode.variation["table"] == "navy"
    for camera, name in (("side", "image"), ("front", "image_front")):
        path = tmp_path / f"set/videos/observation.images.{camera}/chunk-000/file-001.mp4"
        frame = read_frames(path)[0][0].mean(axis=-1)
        off = [np.abs(frame - obs[name].mean(axis=-1)).mean() for obs, _ in seen]
        assert off[0] < 3 and off[1] > 20


def test_a_preview_shows_the_policies_beside_the_goal(tmp_path, capsys):
    options = ["--env", "point_maze", "--steps", "3", "--image-size", "32", "--preview"]
    assert main(["collect", "--out", str(tmp_path / "look"), *options]) == 0
    files = [tmp_path / "look/preview.mp4", tmp_path / "look/preview.png"]
    assert capsys.readouterr().out.split() == [str(path) for path in files]
    assert sorted((tmp_path / "look").iterdir()) == files
    frames, _ = read_frames(files[0])
    assert len(frames) == 3 * (4 + preview.HOLD)  # episodes of 3 steps, the last moment held
    goal = [frames[0, 60:240, left : left + 180].astype(int) for left in range(20, 1076, 214)]
    assert len(goal) == 5
    # All begin alike, and differ in the end; the goal picture, on the right, differs from the start and stays.
    assert all(np.abs(tile - goal[0]).mean() < 3 for tile in goal[1:4]) and np.abs(goal[4] - goal[0]).mean() > 1
    last = [frames[3, 60:240, left : left + 180].astype(int) for left in range(20, 1076, 214)]
    assert np.abs(last[2] - last[0]).mean() > 1 and np.abs(last[4] - goal[4]).mean() < 1
    assert iio.imread(files[1]).std() > 10


def test_a_task_of_ones_own_is_told_of_and_previewed(tmp_path, capsys):
    size = ["--image-size", "32", "--out", str(tmp_path)]
    assert main(["envs", "--tasks", "point_world:POINT", *size]) == 0
    told = capsys.readouterr().out
    assert "point: bring a point to where it is" in told and "policies: random, expert; cameras: front" in told
    assert iio.imread(tmp_path / "envs.png").shape == (24 + 32 + 6, 2 * (32 + 6) + 6, 3)
    assert main(["collect", "--env", "point_world:POINT", "--preview", "--steps", "2", *size]) == 0
    frames, _ = read_frames(tmp_path / "preview.mp4")
    assert frames.shape[:3] == (3 * (3 + preview.HOLD), 24 + 24 + 208 + 24 + 6, 3 * (208 + 6) + 6)


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
    masks = ["--masks.settings.0.num-blocks", "1", "--masks.settings.0.spatial-scale", "0.3", "0.3"]
    masks += ["--masks.settings.1.num-blocks", "1", "--masks.settings.1.spatial-scale", "0.5", "0.5"]
    short = ["--steps", "2", "--batch-size", "2", "--precision", "fp32"]
    encoder, world_model = tmp_path / "pretrain", tmp_path / "ac"
    assert main(["pretrain", "--data", str(data / "videos"), "--out", str(encoder), *size, *masks, *short]) == 0
    chain = ["--data", str(data), "--encoder", str(encoder / "encoder")]
    small = ["--predictor-dim", "24", "--predictor-depth", "1", "--predictor-heads", "2", "--validation-share", "0.4"]
    assert (encoder / "metrics.png").is_file()
    assert main(["train-ac", *chain, "--out", str(world_model), *small, *short]) == 0
    assert main(["probe", *chain, "--test-share", "0.4"]) == 0
    trained = ["--checkpoint", str(world_model / "world_model")]
    assert main(["plan", "--out", str(tmp_path / "plan"), *trained, *SEARCH, "--steps", "2"]) == 0
    assert (tmp_path / "plan/plan.mp4").is_file()


def test_evaluate_writes_the_whole_report(checkpoint, tmp_path, capsys):
    common = ["evaluate", "--checkpoint", str(checkpoint), *SEARCH, "--steps", "2"]
    assert main([*common, "--out", str(tmp_path), "--env", "reach", "--episodes", "2"]) == 0
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
    (tmp_path / "protocol.json").write_text(json.dumps(results["protocol"]))
    again = tmp_path / "again"
    saved = ["--protocol", str(tmp_path / "protocol.json"), "--policies", "zero", "--episodes", "2"]
    assert main([*common, "--out", str(again), *saved]) == 0
    repeated = json.loads((again / "results.json").read_text())
    assert repeated["protocol"] == results["protocol"]
    (zero,) = [row for row in results["rows"] if row["policy"] == "zero"]
    assert repeated["rows"] == [zero | {"seconds_per_action": repeated["rows"][0]["seconds_per_action"]}]


def test_plan_shows_ordered_goals_and_keeps_the_last(checkpoint, tmp_path, capsys):
    options = ["--env", "pick_place", "--out", str(tmp_path), "--steps", "3", "--seed", "1"]
    assert main(["plan", "--checkpoint", str(checkpoint), *SEARCH, *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[:4]] == [["step", str(k)] for k in range(4)]
    assert all("energy" in line and "cm" in line for line in lines[:4])
    assert lines[4].endswith(f"the video is {tmp_path / 'plan.mp4'}")
    frames, times = read_frames(tmp_path / "plan.mp4")
    assert len(frames) == 3 + 1 + 5 and np.allclose(np.diff(times), 0.2)
    goals = [frames[k, 60:240, 290:470].astype(int) for k in range(4)]  # another picture before each action
    assert all(np.abs(before - after).mean() > 0.3 for before, after in pairwise(goals[:3]))
    assert np.abs(goals[3] - goals[2]).mean() < 0.3
    last = np.asarray(Image.open(tmp_path / "goal.png").resize((256, 256), Image.Resampling.BICUBIC)).astype(int)
    assert np.abs(frames[3, 24 + 36 : 24 + 216, 268 + 22 : 268 + 202] - last[36:216, 22:202]).mean() < 4
    assert (tmp_path / "plan.gif").is_file()


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
        (["collect", "--out", "x", "--env", "raech"], "unknown task 'raech', did you mean 'reach'?"),
        (["collect", "--out", "x", "--cameras", "font"], "cameras must be different ones of front, side, wrist, got"),
        (["collect", "--out", "x", "--env", "two_room", "--variation.mass", "3.0"], "variation has no factor 'mass'"),
        (["plan", "--out", "x", "--env", "lever"], "there is no released world model for 'lever', only for reach"),
        (
            ["plan", "--out", "x", "--env", "two_room", "--checkpoint", "WORLD"],
            "does not fit task two_room: it acts wi",
        ),
        (
            ["evaluate", "--out", "x", "--env", "lever"],
            "leave the rows out that need one (--policies exp",
        ),
        (
            ["evaluate", "--out", "x", "--env", "drawer", "--protocol", "push", "--policies", "zero"],
            "is of task 'push', not of 'drawer'",
        ),
        (["evaluate", "--out", "x", "--env", "my_lever:TASK"], "needs the module 'my_lever', which cannot be imported"),
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
        (
            ["features", "/nowhere", "--model", "ENCODER", "--out", "x"],
            "source of videos and pictures does not exist: /nowhere",
        ),
        (["pretrain", "--data", "BROKEN", "--out", "x"], "bad.mp4"),
    ],
)
def test_what_a_user_can_mend_is_one_message(arguments, message, checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save_model(VideoEncoder(ENCODER), "video_encoder", ENCODER, tmp_path / "encoder")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/bad.mp4").write_bytes(b"no video")
    places = {"ENCODER": "encoder", "WORLD": str(checkpoint)}
    if "--goal-image" in arguments:
        arguments = [*arguments, "--checkpoint", "WORLD"]
    arguments = [word.replace("BROKEN", "broken") for word in arguments]
    assert main([places.get(word, word) for word in arguments]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
