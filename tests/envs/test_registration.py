"""The tasks as gymnasium finds them. `make test-wheel` runs this against the installed wheel from another directory."""

import copy
import pickle
import subprocess
import sys

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from vjepa_wm import envs
from vjepa_wm.envs import TASKS

IDS = [f"vjepa_wm/{task}-v0" for task in TASKS]


def run(code):
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_the_module_form_needs_nothing_else():
    run(
        "import gymnasium\n"
        "env = gymnasium.make('vjepa_wm.envs:vjepa_wm/push-v0', image_size=32)\n"
        "assert env.reset(seed=0)[0]['image'].shape == (32, 32, 3)\n"
        "env.close()"
    )


def test_one_import_registers_all_and_loads_no_simulator():
    run(
        "import sys, gymnasium, vjepa_wm.envs\n"
        f"assert {set(IDS)} <= set(gymnasium.registry)\n"
        "assert not {'mujoco', 'torch', 'imageio', 'pyarrow'} & set(sys.modules)"
    )


def test_gymnasium_says_which_task_was_meant():
    with pytest.raises(gymnasium.error.NameNotFound, match="Did you mean: `push`"):
        gymnasium.make("vjepa_wm/pus-v0")


def test_registering_again_changes_nothing():
    before = dict(gymnasium.registry)
    envs.register()
    assert gymnasium.registry == before


@pytest.mark.parametrize("name", IDS)
def test_gymnasium_finds_nothing_wrong(name):
    env = gymnasium.make(name, image_size=32)
    check_env(env.unwrapped, skip_render_check=False)
    env.reset(seed=0)
    # The wrapper that gymnasium.make adds checks the first call of each.
    obs, _, terminated, truncated, _ = env.step(env.action_space.sample())
    assert obs in env.observation_space and not terminated and not truncated
    assert env.render().shape == (32, 32, 3)
    env.close()


def test_specs_are_copied_pickled_and_written_down():
    env = gymnasium.make(IDS[0], image_size=32, max_steps=2)
    copies = [copy.deepcopy(env.spec), pickle.loads(pickle.dumps(env.spec))]
    copies.append(gymnasium.envs.registration.EnvSpec.from_json(env.spec.to_json()))
    for spec in copies:
        assert spec == env.spec
        again = gymnasium.make(spec)
        np.testing.assert_equal(again.reset(seed=3)[0], env.reset(seed=3)[0])
        again.close()
    env.close()


@pytest.mark.parametrize("limit", [{"max_episode_steps": 2}, {"max_steps": 2}])
def test_both_limits_truncate(limit):
    env = gymnasium.make(IDS[0], image_size=32, **limit)
    assert env.spec.max_episode_steps == limit.get("max_episode_steps")
    for _ in range(2):  # the count starts again with the episode
        env.reset(seed=0)
        ends = [env.step(np.zeros(env.action_space.shape, np.float32))[2:4] for _ in range(2)]
        assert ends == [(False, False), (False, True)]
    env.close()


def test_without_a_limit_episodes_do_not_end():
    env = gymnasium.make(IDS[0], image_size=32)
    assert env.spec.max_episode_steps is None
    env.reset(seed=0)
    assert not any(env.step(np.zeros(env.action_space.shape, np.float32))[3] for _ in range(60))
    env.close()


@pytest.mark.parametrize("name", IDS)
def test_several_in_one_process(name):
    together = gymnasium.make_vec(name, num_envs=2, vectorization_mode="sync", image_size=32, max_episode_steps=2)
    alone = gymnasium.make(name, image_size=32)
    obs, info = together.reset(seed=[4, 5])
    expected = alone.reset(seed=5)[0]
    np.testing.assert_array_equal(obs["image"][1], expected["image"])
    assert info["goal"]["image"].shape == (2, 32, 32, 3)
    for _ in range(2):
        obs, _, _, truncated, info = together.step(together.action_space.sample())
    assert obs["image"].shape == (2, 32, 32, 3) and info["distance"].shape == (2,) and truncated.all()
    together.close()
    alone.close()


def test_several_in_processes_of_their_own():
    # Spawned, since a process that has drawn must not be forked.
    options = {"num_envs": 2, "image_size": 32}
    spread = gymnasium.make_vec(IDS[0], vectorization_mode="async", vector_kwargs={"context": "spawn"}, **options)
    together = gymnasium.make_vec(IDS[0], vectorization_mode="sync", **options)
    actions = np.stack([space.sample() for space in [together.single_action_space] * 2])
    for vector in (spread, together):
        vector.reset(seed=[1, 2])
    for one, other in zip(spread.step(actions)[:4], together.step(actions)[:4], strict=True):
        np.testing.assert_equal(one, other)
    spread.close()
    together.close()
