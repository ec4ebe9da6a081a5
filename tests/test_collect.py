import gymnasium
import numpy as np
import pytest

from vjepa_wm import envs
from vjepa_wm.data.collect import CollectReport, collect
from vjepa_wm.data.trajectories import TrajectoryDataset
from vjepa_wm.data.trajectory_writer import TrajectoryWriter
from vjepa_wm.envs.policies.arm import PlayPolicy
from vjepa_wm.envs.policies.push import PushPlay


class SquareEnv(gymnasium.Env):
    """A white square on black moves by the first two numbers of the action, in pixels, at most 2 each."""

    control_hz = 5

    def __init__(self, *, ends_after=None, blank_from=None):
        self.observation_space = gymnasium.spaces.Dict(
            image=gymnasium.spaces.Box(0, 255, (32, 32, 3), np.uint8),
            state=gymnasium.spaces.Box(-np.inf, np.inf, (7,), np.float32),
        )
        self.action_space = gymnasium.spaces.Box(-2, 2, (7,), np.float32)
        self.ends_after, self.blank_from = ends_after, blank_from
        self.image = np.zeros((32, 32, 3), np.uint8)  # drawn over at every step, as simulators do

    def observe(self):
        row, column = np.clip(np.round(self.state[:2]), 0, 27).astype(int)
        self.image[:] = 0
        if self.blank_from is None or self.steps < self.blank_from:
            self.image[row : row + 5, column : column + 5] = 255
        return {"image": self.image, "state": self.state}, {"steps": self.steps}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        self.state = np.zeros(7, np.float32)
        self.state[:2] = self.np_random.uniform(5, 20, 2)
        return self.observe()

    def step(self, action):
        assert self.action_space.contains(action)
        self.steps += 1
        self.state = self.state + action
        obs, info = self.observe()
        return obs, 0.0, self.steps == self.ends_after, False, info


def make_policy(generator):
    return lambda obs, info: generator.uniform(-4, 4, 7)


def run(root, env=None, *, num_episodes=3, num_steps=6, seed=0, fps=5, policy=make_policy):
    with TrajectoryWriter(root, fps=fps, image_size=32) as writer:
        return collect(
            env or SquareEnv(),
            policy,
            writer,
            num_episodes=num_episodes,
            num_steps=num_steps,
            seed=seed,
            task="push a square about",
            progress=False,
        )


def test_actions_are_those_sent_and_move_each_frame_to_the_next(tmp_path):
    assert run(tmp_path / "set") == CollectReport(num_found=0, num_added=3, num_frames=21, num_short=0)
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
    assert run(tmp_path / "parts", num_episodes=4) == CollectReport(
        num_found=1, num_added=3, num_frames=21, num_short=0
    )
    run(tmp_path / "other", num_episodes=4, seed=1)
    whole, parts, other = (TrajectoryDataset(tmp_path / name) for name in ("whole", "parts", "other"))
    for i in range(4):
        expected, episode = whole.episode(i), parts.episode(i)
        for name in ("frames", "states", "actions"):
            assert np.array_equal(getattr(episode, name), getattr(expected, name))
            assert not np.array_equal(getattr(other.episode(i), name), getattr(expected, name))


def test_nothing_is_recorded_when_there_is_enough(tmp_path):
    run(tmp_path / "set")
    assert run(tmp_path / "set", num_episodes=2) == CollectReport(num_found=3, num_added=0, num_frames=0, num_short=0)
    assert TrajectoryDataset(tmp_path / "set").num_episodes == 3


def test_an_episode_the_environment_ends_is_short_and_counted(tmp_path):
    report = run(tmp_path / "set", SquareEnv(ends_after=4), num_episodes=2)
    assert report == CollectReport(num_found=0, num_added=2, num_frames=10, num_short=2)
    assert run(tmp_path / "full", SquareEnv(ends_after=6), num_episodes=2).num_short == 0


def test_each_policy_sees_observation_and_info_of_its_own_episode(tmp_path):
    seen = []

    def watching_policy(generator):
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
    with pytest.raises(RuntimeError, match=r"frame of episode 1 has one single colour, 0: .*MUJOCO_GL is glfw; egl or"):
        run(tmp_path / "set", SquareEnv(blank_from=2))
    assert TrajectoryDataset(tmp_path / "set").num_episodes == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_episodes": 0}, "num_episodes must be at least 1, got 0"),
        ({"num_steps": 0}, "num_steps must be at least 1, got 0"),
        ({"fps": 10}, "fps of the writer must be control_hz of the environment, 5, got 10"),
    ],
)
def test_collect_refuses(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        run(tmp_path / "set", **settings)


def test_observations_must_hold_image_and_state(tmp_path):
    env = SquareEnv()
    env.observation_space = gymnasium.spaces.Dict(state=env.observation_space["state"])
    with pytest.raises(ValueError, match="observations must hold image and state, image is missing"):
        run(tmp_path / "set", env)


def test_objects_must_be_those_of_the_environment(tmp_path):
    env = envs.make("push", image_size=32)
    with pytest.raises(ValueError, match=r"object_names of the writer must be .* \('x', 'y', 'z', 'yaw'\), got \(\)"):
        run(tmp_path / "set", env)
    env.close()


def test_the_block_is_recorded_with_each_frame(tmp_path):
    env = envs.make("push", image_size=64)
    with TrajectoryWriter(tmp_path / "set", fps=5, image_size=64, object_names=env.object_names) as writer:
        collect(env, PushPlay, writer, num_episodes=2, num_steps=25, seed=0, task="play", progress=False)
    episode = TrajectoryDataset(tmp_path / "set").episode(1)
    assert episode.objects.shape == (26, 4) and np.ptp(episode.objects[:, 0]) > 0.01
    obs, info = env.reset(options={"start": episode.states[0], "start_object": episode.objects[0]})
    assert np.abs(obs["image"].astype(int) - episode.frames[0]).mean() < 5
    for action, expected in zip(episode.actions[:-1], episode.objects[1:], strict=True):
        info = env.step(action)[4]
        np.testing.assert_allclose(info["object"], expected, atol=5e-3)
    env.close()


def test_the_arm_can_be_recorded(tmp_path):
    env = envs.make("reach", image_size=64)
    with TrajectoryWriter(tmp_path / "set", fps=env.unwrapped.control_hz, image_size=64) as writer:
        collect(env, PlayPolicy, writer, num_episodes=2, num_steps=10, seed=0, task="play", progress=False)
    env.close()
    episode = TrajectoryDataset(tmp_path / "set").episode(1)
    assert episode.frames.shape == (11, 64, 64, 3) and episode.frames.std() > 5
    assert np.abs(episode.actions[:-1]).max() > 0 and episode.states.shape == (11, 7)
