from functools import partial

import numpy as np
import pytest
from square_world import SquareEnv, run

from vjepa_wm import envs
from vjepa_wm.data.collection.record import CollectReport, collect
from vjepa_wm.data.media.video import read_frames
from vjepa_wm.data.trajectories.dataset import TrajectoryDataset
from vjepa_wm.data.trajectories.writer import TrajectoryWriter


def num_success(root, from_episode=0):
    """Count the episodes that the square's own rule calls a success."""
    dataset = TrajectoryDataset(root)
    last = [dataset.episode(i).states[-1] for i in range(from_episode, dataset.num_episodes)]
    return sum(state[0] > state[1] for state in last)


def report(**counts):
    zeros = dict.fromkeys(("num_found", "num_added", "num_frames", "num_short", "num_success"), 0)
    return CollectReport(**zeros | counts)


def test_actions_are_those_sent_and_move_each_frame_to_the_next(tmp_path):
    assert run(tmp_path / "set") == report(num_added=3, num_frames=21, num_success=3)
    dataset = TrajectoryDataset(tmp_path / "set")
    assert dataset.lengths == [7, 7, 7] and dataset.fps == 5
    for i in range(3):
        episode = dataset.episode(i)
        assert episode.task == "push a square about"
        assert np.allclose(episode.states[1:], episode.states[:-1] + episode.actions[:-1], atol=1e-5)
        assert np.abs(episode.actions[:-1]).max() == 2 and not episode.actions[-1].any()
        rows, columns = np.nonzero(episode.frames[-1].mean(axis=2) > 128)
        assert np.abs([rows.min(), columns.min()] - np.clip(episode.states[-1, :2], 0, 27)).max() < 1
    assert not np.array_equal(dataset.episode(0).actions, dataset.episode(1).actions)
    assert not np.array_equal(dataset.episode(0).states[0], dataset.episode(1).states[0])


def test_an_episode_depends_only_on_the_seed_and_its_number(tmp_path):
    run(tmp_path / "whole", num_episodes=4)
    run(tmp_path / "parts", num_episodes=1)
    found = run(tmp_path / "parts", num_episodes=4)
    expected = num_success(tmp_path / "parts", from_episode=1)
    assert found == report(num_found=1, num_added=3, num_frames=21, num_success=expected)
    run(tmp_path / "other", num_episodes=4, seed=1)
    whole, parts, other = (TrajectoryDataset(tmp_path / name) for name in ("whole", "parts", "other"))
    for i in range(4):
        expected, episode = whole.episode(i), parts.episode(i)
        for name in ("frames", "states", "actions"):
            assert np.array_equal(getattr(episode, name), getattr(expected, name))
            assert not np.array_equal(getattr(other.episode(i), name), getattr(expected, name))


def test_nothing_is_recorded_when_there_is_enough(tmp_path):
    run(tmp_path / "set")
    assert run(tmp_path / "set", num_episodes=2) == report(num_found=3)
    assert TrajectoryDataset(tmp_path / "set").num_episodes == 3


def test_an_episode_the_environment_ends_is_short_and_counted(tmp_path):
    found = run(tmp_path / "set", partial(SquareEnv, ends_after=4), num_episodes=2)
    assert found == report(num_added=2, num_frames=10, num_short=2, num_success=num_success(tmp_path / "set"))
    assert run(tmp_path / "full", partial(SquareEnv, ends_after=6), num_episodes=2).num_short == 0


def test_each_policy_sees_observation_and_info_of_its_own_episode(tmp_path):
    seen = []

    def watching_policy(env, generator):
        seen.append([])

        def act(obs, info):
            seen[-1].append((obs["state"].copy(), info["steps"]))
            return np.zeros(7)

        return act

    run(tmp_path / "set", num_episodes=2, num_steps=3, policy=watching_policy)
    assert [[steps for _, steps in episode] for episode in seen] == [[0, 1, 2], [0, 1, 2]]
    states = TrajectoryDataset(tmp_path / "set").episode(1).states
    assert np.array_equal(np.stack([state for state, _ in seen[1]]), states[:3])


def test_a_blank_frame_names_the_render_back_end_and_leaves_earlier_episodes(tmp_path, monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "glfw")
    run(tmp_path / "set", num_episodes=1)
    with pytest.raises(RuntimeError, match=r"frame of episode 1 has one single colour, 0: .*MUJOCO_GL is glfw; on a"):
        run(tmp_path / "set", partial(SquareEnv, blank_from=2))
    assert TrajectoryDataset(tmp_path / "set").num_episodes == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_episodes": 0}, "num_episodes must be at least 1, got 0"),
        ({"num_steps": 0}, "num_steps must be at least 1, got 0"),
        ({"workers": -1}, "workers must be at least 0, got -1"),
        ({"fps": 10}, "fps of the writer must be that of the environment, 5, got 10"),
    ],
)
def test_collect_refuses(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        run(tmp_path / "set", **settings)


def test_successes_are_counted(tmp_path):
    found = run(tmp_path / "set", num_episodes=12).num_success
    assert found == num_success(tmp_path / "set") and 0 < found < 12


class NamedEnv(SquareEnv):
    state_names = tuple("abcdefg")


@pytest.mark.parametrize(
    ("make_env", "settings", "message"),
    [
        (SquareEnv, {"cameras": ("front", "side")}, r"pictures of the cameras front, side; image_side is missing"),
        (
            partial(SquareEnv, cameras=("front", "side")),
            {},
            r"cameras of the writer must be that of the environment, \('front', 'side'\), got \('front',\)",
        ),
        (NamedEnv, {}, r"state_names of the writer must be that of .* \('a', .* got \('x', "),
        (
            partial(envs.make, "push", image_size=32),
            {},
            r"object_names of the writer must be .* \('x', 'y', 'z', 'yaw'\), got \(\)",
        ),
    ],
)
def test_the_writer_must_fit_the_environment(tmp_path, make_env, settings, message):
    with pytest.raises(ValueError, match=message):
        run(tmp_path / "set", make_env, **settings)


class ClosingEnv(SquareEnv):
    made, closed = 0, 0

    def __init__(self):
        super().__init__()
        ClosingEnv.made += 1

    def close(self):
        ClosingEnv.closed += 1


def test_every_environment_is_closed_also_after_an_error(tmp_path):
    run(tmp_path / "set", ClosingEnv)
    assert ClosingEnv.closed == ClosingEnv.made > 0
    with pytest.raises(ValueError, match="fps of the writer"):
        run(tmp_path / "other", ClosingEnv, fps=10)
    assert ClosingEnv.closed == ClosingEnv.made


def test_every_camera_is_recorded(tmp_path):
    cameras = ("front", "side", "top")
    run(tmp_path / "set", partial(SquareEnv, cameras=cameras), cameras=cameras)
    front, side, top = (
        read_frames(tmp_path / f"set/videos/observation.images.{camera}/chunk-000/file-001.mp4")[0]
        for camera in cameras
    )
    assert np.array_equal(side, top)
    assert np.abs(side[:, ::-1].astype(int) - front).mean() < 3 and not np.array_equal(side, front)


def test_the_block_is_recorded_with_each_frame(tmp_path):
    make_env = partial(envs.make, "push", image_size=64)
    env = make_env()
    names = {name: getattr(env, name) for name in ("state_names", "action_names", "object_names")}
    with TrajectoryWriter(tmp_path / "set", fps=5, image_size=64, **names) as writer:
        settings = {"num_episodes": 2, "num_steps": 25, "seed": 0, "task": "play", "progress": False}
        collect(make_env, partial(envs.find_task("push").make_policy, "play"), writer, **settings)
    episode = TrajectoryDataset(tmp_path / "set").episode(1)
    assert episode.objects.shape == (26, 4) and np.ptp(episode.objects[:, 0]) > 0.01
    obs, info = env.reset(options={"start": episode.states[0], "start_object": episode.objects[0]})
    assert np.abs(obs["image"].astype(int) - episode.frames[0]).mean() < 5
    for action, expected in zip(episode.actions[:-1], episode.objects[1:], strict=True):
        info = env.step(action)[4]
        np.testing.assert_allclose(info["object"], expected, atol=5e-3)
    env.close()
