"""Environments in other processes and as copies, and machines that do not draw."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import subprocess
import sys

import gymnasium
import numpy as np
import pytest

from vjepa_wm.envs import find_task, make
from vjepa_wm.envs.render.back_end import choose_renderer

needs_gl = pytest.mark.skipif(choose_renderer() == "ray", reason="this machine has no OpenGL library")
TASKS = ("reach", "two_room")


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
@pytest.mark.parametrize("renderer", [pytest.param("gl", marks=needs_gl), "ray"])
@pytest.mark.parametrize("task", TASKS)
def test_an_environment_is_copied_in_the_middle_of_an_episode(task, renderer, copied):
    env = gymnasium.make(f"vjepa_wm/{task}-v0", image_size=32, renderer=renderer)
    env.reset(seed=0)
    action = 0.5 * env.action_space.high
    env.step(action)
    other = copied(env)
    for _ in range(2):
        mine, theirs = env.step(action), other.step(action)
        np.testing.assert_equal(mine, theirs)
    np.testing.assert_equal(env.reset()[0], other.reset()[0])  # the generators go on alike
    env.close()
    other.close()


@needs_gl
@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system does not fork")
def test_processes_forked_after_drawing_are_told_to_spawn():
    code = (
        "import gymnasium, vjepa_wm.envs\n"
        "env = gymnasium.make('vjepa_wm/two_room-v0', image_size=32, renderer='gl')\n"
        "env.reset(seed=0)\n"
        "kwargs = {'context': 'fork'}\n"
        "many = gymnasium.make_vec('vjepa_wm/two_room-v0', num_envs=2, vectorization_mode='async', image_size=32,\n"
        "                          renderer='gl', vector_kwargs=kwargs)\n"
        "many.reset(seed=[0, 1])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600)
    assert done.returncode and "MachineError: this process was forked from one that has drawn" in done.stderr
    assert "start it with spawn" in done.stderr


@needs_gl
@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"MUJOCO_GL": "egl", "MUJOCO_EGL_DEVICE_ID": "77"}, "unset MUJOCO_EGL_DEVICE_ID"),
        ({"MUJOCO_GL": "egl", "MUJOCO_EGL_DEVICE_ID": "abc"}, "unset MUJOCO_EGL_DEVICE_ID"),
        ({"MUJOCO_GL": "egl", "PYOPENGL_PLATFORM": "glx"}, "unset PYOPENGL_PLATFORM"),
        ({"MUJOCO_GL": "glfw"}, "MUJOCO_GL is 'glfw'"),
        ({"MUJOCO_GL": "nonsense"}, "egl, osmesa, glfw or disable would be right"),
    ],
)
def test_a_machine_that_does_not_draw_is_one_line(variables, message, tmp_path):
    inherited = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    command = [sys.executable, "-m", "vjepa_wm", "envs", "--tasks", "two_room", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=inherited | variables)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("vjepa-wm: ")]
    assert len(lines) == 1 and message in lines[0]


@pytest.mark.parametrize("name", ["pus", "Push", "PUSH", "pick-place", "PickPlace", "tworoom", "reahc"])
def test_a_task_that_is_nearly_named_is_found_by_its_likeness(name):
    with pytest.raises(ValueError, match=r"did you mean '(push|pick_place|two_room|reach)'"):
        make(name)


def test_a_policy_that_is_nearly_named():
    with pytest.raises(ValueError, match="got 'noisy-expert', did you mean 'noisy_expert'"):
        find_task("reach").check_policy("noisy-expert")
