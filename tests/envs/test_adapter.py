from functools import partial
from multiprocessing import get_context
from pathlib import Path

import gymnasium
import mujoco
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.envs.mujoco.reacher_v5 import ReacherEnv
from gymnasium.utils import seeding
from gymnasium.utils.env_checker import check_env

from vjepa_wm.envs import VariationConfig
from vjepa_wm.envs.adapters.foreign_env import ForeignEnv, ForeignSpec, wander
from vjepa_wm.envs.adapters.mujoco_simulation import Memory, MujocoSimulation, adapt_mujoco, add_camera, hide
from vjepa_wm.envs.goal_env import GoalEnvConfig

TOP = GoalEnvConfig(image_size=32, cameras=("top",))


def fingertip(env):
    return env.data.body("fingertip").xpos[:2]


def apart(now, goal):
    return float(np.linalg.norm(now["state"][:2] - goal["state"][:2]))


def block(env):
    return env.data.body("target").xpos[:2]


def reacher_task(**changes):
    options = {
        "control_hz": 50,
        "state_names": ("x", "y"),
        "action_names": ("shoulder", "elbow"),
        "read_state": fingertip,
        "enter_goal": partial(wander, num_steps=20),
        "distance": apart,
        "success_radius": 0.02,
        "min_distance": 0.03,
    }
    return ForeignSpec(**(options | changes))


def dress(spec):
    hide(spec, "target")
    add_camera(spec, "top", position=(0, 0, 0.9), target=(0, 0, 0), fovy=42)
    add_camera(spec, "low", position=(0.6, 0, 0.3), target=(0, 0, 0), fovy=42)


def make_reacher(config=TOP, **changes):
    return adapt_mujoco(gymnasium.make("Reacher-v5"), reacher_task(**changes), config, dress=dress)


@pytest.fixture
def env():
    env = make_reacher()
    yield env
    env.close()


def draw_actions(num_steps):
    return np.random.default_rng(3).uniform(-1, 1, (num_steps, 2)).astype(np.float32)


def play(env, actions):
    return np.stack([np.append(env.step(action)[0]["state"], env.get_state()) for action in actions])


def replay(state, actions):
    env = make_reacher()
    env.set_state(state)
    image, states = env.render(), [(env.advance(action), env.get_state())[1] for action in actions]
    env.close()
    return image, np.stack(states)


def test_gymnasium_finds_nothing_wrong(env):
    check_env(env, skip_render_check=True)


def test_the_joint(env):
    obs, info = env.reset(seed=0)
    assert env.control_hz == env.metadata["render_fps"] == 50 and env.cameras == ("top",) and env.object_names == ()
    assert env.state_names == ("x", "y") and env.action_names == ("shoulder", "elbow")
    assert set(obs) == {"image", "state"} and set(info["goal"]) == {"image", "state"} and "object" not in info
    assert obs["image"].shape == (32, 32, 3) and obs["state"].dtype == np.float32
    assert env.action_space == gymnasium.make("Reacher-v5").action_space
    _, reward, terminated, truncated, info = env.step(np.ones(2))
    assert reward == -info["distance"] and info["is_success"] == (info["distance"] <= 0.02)
    assert not terminated and not truncated


def test_equal_seeds_give_equal_episodes(env):
    first, again = env.reset(seed=5), env.reset(seed=5)
    np.testing.assert_equal(first, again)
    assert not np.array_equal(env.reset()[1]["goal"]["state"], again[1]["goal"]["state"])


def test_the_dynamics_are_the_environment_s_own_to_the_last_bit(env):
    env.reset(seed=7)
    plain = gymnasium.make("Reacher-v5").unwrapped
    plain.reset(seed=int(seeding.np_random(7)[0].integers(2**31)))
    for action in draw_actions(100):
        obs = env.step(action)[0]
        plain.step(action)
        assert np.array_equal(obs["state"], fingertip(plain).astype(np.float32))
    assert np.array_equal(env._env.data.qpos, plain.data.qpos) and np.array_equal(env._env.data.qvel, plain.data.qvel)


def test_the_goal_picture_is_that_of_the_goal_state(env):
    obs, info = env.reset(seed=2)
    play(env, draw_actions(30))
    goal_vector = env.get_state()
    shown = env.render()
    obs, info = env.reset(seed=2, options={"goal": goal_vector})
    assert np.array_equal(info["goal"]["image"], shown) and not np.array_equal(obs["image"], shown)
    assert info["distance"] == pytest.approx(np.linalg.norm(obs["state"] - info["goal"]["state"]), rel=1e-5)
    env.set_state(goal_vector)
    assert np.array_equal(env.render(), info["goal"]["image"])
    _, info = env.reset(options={"start": goal_vector, "goal": goal_vector})
    assert info["distance"] == 0 and info["is_success"]


def test_sampled_goals_are_away_from_the_start(env):
    distances = [env.reset(seed=seed)[1]["distance"] for seed in range(20)]
    assert min(distances) >= 0.03 and len(set(distances)) == 20


def test_what_the_caller_does_to_the_goal_is_forgotten(env):
    _, info = env.reset(seed=0)
    info["goal"]["image"][:] = 0
    assert env.step(np.zeros(2))[4]["goal"]["image"].any()


def test_restoring_is_exact_for_200_steps(env):
    env.reset(seed=1)
    play(env, draw_actions(10))
    saved, shown, actions = env.get_state(), env.render(), draw_actions(200)
    expected = play(env, actions)
    env.set_state(saved)
    assert np.array_equal(env.get_state(), saved) and np.array_equal(env.render(), shown)
    assert np.array_equal(play(env, actions), expected)


def test_restoring_is_exact_in_another_process(env):
    env.reset(seed=1)
    play(env, draw_actions(10))
    saved, shown, actions = env.get_state(), env.render(), draw_actions(200)
    with get_context("spawn").Pool(1) as pool:
        image, states = pool.apply(replay, (saved, actions))
    assert np.array_equal(image, shown)
    assert np.array_equal(states, play(env, actions)[:, 2:])


class Tiring(ReacherEnv):
    """Its motors grow weaker with every step, which MuJoCo's state does not tell."""

    strength = 1.0

    def step(self, action):
        self.strength *= 0.9
        return super().step(self.strength * action)

    def reset_model(self):
        self.strength = 1.0
        return super().reset_model()

    def recover(self, memory):
        (self.strength,) = memory


@pytest.mark.parametrize("remembers", [True, False])
def test_what_python_remembers_is_restored_if_told(remembers):
    memory = Memory(lambda env: np.array([env.strength]), Tiring.recover) if remembers else None
    env = adapt_mujoco(Tiring(), reacher_task(), TOP, dress=dress, memory=memory)
    env.reset(seed=0)
    saved, actions = env.get_state(), draw_actions(10)
    expected = play(env, actions)
    env.set_state(saved)
    assert np.array_equal(play(env, actions), expected) == remembers
    env.close()


def test_objects_and_several_cameras():
    config = GoalEnvConfig(image_size=32, cameras=("low", "top"))
    env = make_reacher(config, object_names=("target_x", "target_y"), read_object=block)
    obs, info = env.reset(seed=0)
    assert set(obs) == {"image", "image_top", "state"} and set(info["goal"]) == {
        "image",
        "image_top",
        "state",
        "object",
    }
    assert info["object"].shape == (2,) and info["object"].dtype == np.float32
    assert not np.array_equal(obs["image"], obs["image_top"])
    env.close()


def test_two_at_once_both_draw_what_they_show():
    one, other = make_reacher(), make_reacher()
    shown = [env.reset(seed=0)[0]["image"] for env in (one, other, one)]
    assert shown[0].std() > 10
    np.testing.assert_array_equal(shown[0], shown[1])
    np.testing.assert_array_equal(shown[0], shown[2])
    one.close()
    other.close()


def test_both_renderers_show_the_same():
    pictures = []
    for renderer in ("gl", "ray"):
        env = make_reacher(GoalEnvConfig(image_size=32, cameras=("top",), renderer=renderer))
        pictures.append(env.reset(seed=0)[1]["goal"]["image"].astype(int))
        env.close()
    assert np.corrcoef(pictures[0].ravel(), pictures[1].ravel())[0, 1] > 0.95


def test_an_action_is_given_several_times(env):
    slow = make_reacher(repeat=5, control_hz=10)
    slow.reset(seed=0), env.reset(seed=0)
    slow.step(np.array([0.5, -0.5]))
    for _ in range(5):
        env.step(np.array([0.5, -0.5]))
    assert slow._env.data.time == pytest.approx(1 / slow.control_hz)
    np.testing.assert_array_equal(slow._state(), env._state())
    slow.close()


def test_the_end_of_an_episode():
    config = GoalEnvConfig(image_size=32, cameras=("top",), max_steps=2)
    env = make_reacher(config)
    env.reset(seed=0)
    assert [env.step(np.zeros(2))[3] for _ in range(2)] == [False, True]
    env.close()


def test_a_fall_ends_the_episode():
    task = reacher_task(
        control_hz=25,
        state_names=("cart", "angle"),
        action_names=("force",),
        read_state=lambda env: env.data.qpos,
        enter_goal=lambda env, rng: env.set_state(np.array([rng.uniform(-0.5, 0.5), 0.0]), np.zeros(2)),
    )
    config = GoalEnvConfig(image_size=32, cameras=("front",))

    def look(spec):
        add_camera(spec, "front", position=(0, -3, 0.5), target=(0, 0, 0), fovy=45)

    env = adapt_mujoco(gymnasium.make("InvertedPendulum-v5"), task, config, dress=look)
    env.reset(seed=0)
    ends = [env.step(np.array([3.0]))[2] for _ in range(20)]
    assert not ends[0] and ends[-1]
    assert not env.reset()[1]["is_success"] and not env.step(np.zeros(1))[2]
    env.close()


class Line(gymnasium.Env):
    """A point on a line, without any simulator: its own picture, its own state."""

    action_space = spaces.Box(-1, 1, (1,), np.float32)
    observation_space = spaces.Box(-np.inf, np.inf, (1,), np.float32)
    cameras, known_cameras, state_size, x = ("only",), ("only",), 1, 0.0
    factors, variation = {}, {}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x = self.np_random.uniform(0, 8)
        return np.array([self.x], np.float32), {}

    def step(self, action):
        self.x += float(action[0])
        return np.array([self.x], np.float32), 0.0, False, self.x > 15, {}

    def vary(self, names, rng):
        raise NotImplementedError

    def picture(self):
        picture = np.zeros((16, 16, 3), np.uint8)
        picture[:, round(self.x) % 16] = 255
        return picture

    def pictures(self):
        return {"image": self.picture()}

    def get_state(self):
        return np.array([self.x])

    def set_state(self, state):
        (self.x,) = state


def test_an_environment_without_mujoco():
    line = Line()
    task = ForeignSpec(
        control_hz=1,
        state_names=("x",),
        action_names=("x",),
        read_state=Line.get_state,
        enter_goal=wander,
        distance=apart,
        success_radius=0.5,
    )
    env = ForeignEnv(line, line, task, GoalEnvConfig(image_size=16))
    obs, info = env.reset(seed=0, options={"goal": [12.0, 0.0]})
    assert info["goal"]["image"][0, 12].all() and obs["image"][0, round(float(obs["state"][0]))].all()
    for _ in range(20):
        action = np.clip(info["goal"]["state"] - obs["state"], -1, 1)
        obs, _, _, truncated, info = env.step(action)
    assert info["is_success"] and not truncated
    assert any(env.step(np.ones(1))[3] for _ in range(5))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"repeat": 0}, "repeat must be at least 1, got 0"),
        ({"success_radius": 0.0}, "success_radius must be positive and min_distance not negative, got 0.0 and 0.03"),
        ({"object_names": ("x",)}, r"object_names and read_object must be given together, got \('x',\) and None"),
    ],
)
def test_bad_tasks(changes, message):
    with pytest.raises(ValueError, match=message):
        reacher_task(**changes)


def test_wrappers_of_somebody_s_own_are_refused():
    wrapped = gymnasium.wrappers.RescaleAction(gymnasium.make("Reacher-v5"), np.float32(-2), np.float32(2))
    with pytest.raises(ValueError, match=r"env must have no wrappers but gymnasium.make's own, got RescaleAction"):
        adapt_mujoco(wrapped, reacher_task(), TOP, dress=dress)


def test_wrong_names_and_functions():
    with pytest.raises(ValueError, match=r"action_space must be a Box of 1 numbers, as action_names, got Box"):
        make_reacher(action_names=("shoulder",))
    env = make_reacher(read_state=lambda env: env.data.qpos)
    with pytest.raises(ValueError, match=r"read_state must return 2 numbers \(x, y\), got shape \(4,\)"):
        env.reset()
    env.close()


def test_wrong_simulations(tmp_path):
    plain = gymnasium.make("Reacher-v5").unwrapped
    with pytest.raises(ValueError, match=r"cameras must be some of top, low, got \('front',\)"):
        MujocoSimulation(plain, GoalEnvConfig(image_size=32), dress=dress)
    with pytest.raises(ValueError, match="cameras must be some of none at all, dress can add some"):
        MujocoSimulation(plain, GoalEnvConfig(image_size=32))
    other = tmp_path / "other.xml"
    other.write_text("<mujoco><worldbody><camera name='top'/></worldbody></mujoco>")
    with pytest.raises(ValueError, match=r"xml must be the file the environment simulates, got .*other.xml"):
        MujocoSimulation(plain, TOP, xml=other)
    with pytest.raises(ValueError, match=r"env must have model, data, got <Line"):
        MujocoSimulation(Line(), TOP, xml=other)
    del plain.fullpath
    with pytest.raises(ValueError, match=r"env must have fullpath \(or give xml\)"):
        MujocoSimulation(plain, TOP)


def test_variation_is_refused():
    config = GoalEnvConfig(image_size=32, cameras=("top",), variation=VariationConfig(light="sampled"))
    with pytest.raises(ValueError, match="variation has no factor 'light' in this task, whose factors are: none"):
        make_reacher(config)


def test_goals_that_are_never_far_enough():
    env = make_reacher(min_distance=10.0, enter_goal=lambda env, rng: None)
    with pytest.raises(RuntimeError, match=r"enter_goal must lead at least min_distance 10.0 from the start"):
        env.reset()
    env.close()


def test_bad_options_actions_and_states(env):
    with pytest.raises(ValueError, match=r"options of reset must be 'start' and 'goal', got \['end'\]"):
        env.reset(options={"end": env.get_state()})
    with pytest.raises(ValueError, match="state must be what get_state returns, of shape"):
        env.reset(options={"goal": np.zeros(3)})
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(np.zeros(2))
    env.reset()
    with pytest.raises(ValueError, match="action must be 2 finite numbers"):
        env.step(np.array([0.0, np.nan]))


def test_cameras_look_at_their_targets():
    spec = mujoco.MjSpec()
    add_camera(spec, "aslant", position=(1, 2, 3), target=(0.5, 0, 1), fovy=30)
    add_camera(spec, "above", position=(0, 0, 3), target=(0, 0, 0), fovy=30)
    model = spec.compile()
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    mujoco.mj_camlight(model, data)
    aslant, above = (data.cam_xmat[k].reshape(3, 3) for k in range(2))
    way = np.array([-0.5, -2, -2])
    np.testing.assert_allclose(-aslant[:, 2], way / np.linalg.norm(way), atol=1e-9)
    assert aslant[2, 0] == pytest.approx(0, abs=1e-9) and aslant[2, 1] > 0  # the horizon is level, z is up
    np.testing.assert_allclose(above, np.eye(3), atol=1e-9)


def test_the_example_of_the_manual_runs(capsys):
    manual = Path(__file__).parents[2] / "docs/third_party_environments.md"
    exec(compile(manual.read_text().split("```python\n")[1].split("```")[0], str(manual), "exec"), {})
    assert capsys.readouterr().out.startswith("(64, 64, 3) ")
