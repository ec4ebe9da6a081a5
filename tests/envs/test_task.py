"""What a task may say of itself, and how it is found by its name."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from point_world import POINT, PointEnv, PointExpert

from vjepa_wm.envs import TASKS, ActionLimits, Task, find_task
from vjepa_wm.envs.policy import RandomPolicy

LIMITS = ActionLimits(size=(0.1, 0.2, 0.0, 1.0), discrete=(3,), state_low=(0.0, -1.0), state_high=(1.0, 1.0))
MINE = """
from point_world import POINT
TASK, NUMBER = POINT, 3
"""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": ()}, r"size must hold a finite number, at least 0, for each of an action, got \(\)"),
        ({"size": (0.1, -0.1)}, "size must hold a finite number, at least 0"),
        ({"size": (0.1, np.inf)}, "size must hold a finite number, at least 0"),
        ({"size": (0.1, np.nan)}, "size must hold a finite number, at least 0"),
        ({"size": (0.0,) * 4}, "size must leave a plan at least one number to move, got zeros only"),
        ({"discrete": (4,)}, r"discrete must name numbers of an action that plans move, 0 to 3, got \[4\]"),
        ({"discrete": (-1, 2)}, r"0 to 3, got \[-1, 2\]"),
        ({"state_low": (0.0,)}, "state_low and state_high must be two ascending corners"),
        ({"state_low": (0.0, 1.0)}, "state_low and state_high must be two ascending corners"),
        ({"state_low": (0.0,) * 5, "state_high": (1.0,) * 5}, "state_low must have at most 4 numbers, as an action"),
    ],
)
def test_wrong_limits_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(LIMITS, **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "my task"}, "name must be letters, digits and underscores, got 'my task'"),
        ({"name": "../reach"}, "name must be letters, digits and underscores"),
        ({"name": ""}, "name must be letters, digits and underscores, got ''"),
        ({"usual_steps": 0}, "usual_steps must be at least 1, got 0"),
        (
            {"policies": {"expert": PointExpert, "genius": PointExpert}},
            r"policies must be some of play, random, expert, noisy_expert, got \['genius'\]",
        ),
    ],
)
def test_wrong_records_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(POINT, **change)


def test_a_task_without_policies_has_random_which_fills_the_action_space_and_repeats():
    env, plain = PointEnv(), replace(POINT, policies={})
    assert plain.policy_names == ("random",) and POINT.policy_names == ("random", "expert")

    def draw(seed):
        policy = plain.make_policy("random", env, np.random.default_rng(seed))
        return np.stack([policy({}, {}) for _ in range(500)])

    actions, low, high = draw(0), env.action_space.low, env.action_space.high
    assert actions.dtype == np.float32 and (actions >= low).all() and (actions <= high).all()
    assert (actions.max(axis=0) > 0.95 * high).all() and (actions.min(axis=0) < 0.95 * low).all()
    assert np.array_equal(actions, draw(0)) and not np.array_equal(actions, draw(1))


def test_a_policy_of_its_own_goes_before_and_one_it_lacks_is_named():
    env, rng = PointEnv(), np.random.default_rng(0)
    own = replace(POINT, policies={"random": PointExpert})
    assert isinstance(own.make_policy("random", env, rng), PointExpert)
    assert isinstance(POINT.make_policy("random", env, rng), RandomPolicy)
    with pytest.raises(ValueError, match="policy of point must be one of random, expert, got 'play'"):
        POINT.make_policy("play", env, rng)
    with pytest.raises(ValueError, match="policy of point must be one of random, expert, got 'genius'"):
        POINT.check_policy("genius")


@pytest.mark.parametrize("name", TASKS)
def test_every_task_has_its_name_and_goes_to_other_processes(name):
    task = find_task(name)
    assert isinstance(task, Task) and task.name == name
    copied = pickle.loads(pickle.dumps(task))
    assert copied.name == name and copied.make_env is task.make_env and copied.policy_names == task.policy_names


def test_naming_tasks_imports_no_simulator_and_no_torch():
    code = """
import sys
from vjepa_wm.envs import TASKS, find_task
print([find_task(name).policy_names for name in TASKS])
assert not {"mujoco", "torch", "OpenGL"} & set(sys.modules), sorted(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})


@pytest.mark.parametrize(
    ("name", "close"), [("raech", "reach"), ("pickplace", "pick_place"), ("two_rooms", "two_room")]
)
def test_a_close_name_is_suggested(name, close):
    with pytest.raises(ValueError, match=f"unknown task '{name}', did you mean '{close}'.*module:name"):
        find_task(name)


def test_of_a_name_like_none_all_are_listed():
    with pytest.raises(ValueError, match=f"unknown task 'xyz'; known tasks: {', '.join(TASKS)}; one of your own"):
        find_task("xyz")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory that Python does not know, as that of an installed command."""
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in ("my_task_here", "my_task_needs"):
        sys.modules.pop(name, None)


def test_a_task_of_ones_own_is_found_in_the_working_directory(here):
    (here / "my_task_here.py").write_text(MINE)
    assert find_task("my_task_here:TASK") is POINT
    assert find_task("point_world:POINT") is POINT


def test_what_is_no_task_is_named(here):
    (here / "my_task_here.py").write_text(MINE)
    with pytest.raises(ValueError, match=r"task my_task_here:NUMBER must be a vjepa_wm\.envs\.Task, got int"):
        find_task("my_task_here:NUMBER")
    with pytest.raises(ValueError, match="task my_task_here:MISSING is not there: my_task_here has no 'MISSING'"):
        find_task("my_task_here:MISSING")


def test_a_module_that_is_missing_is_named_with_what_would_be_right(here):
    with pytest.raises(ValueError, match=f"needs the module 'my_lever', .* LEVER in my_tasks.py in {here}"):
        find_task("my_lever:TASK")
    (here / "my_task_needs.py").write_text("import not_installed_here")
    with pytest.raises(ValueError, match="task my_task_needs:TASK needs the module 'not_installed_here', which cannot"):
        find_task("my_task_needs:TASK")


@pytest.mark.parametrize("name", [":TASK", "my_task:", "..reach:TASK", "my task.py:TASK", "reach.py:TASK"])
def test_names_that_python_cannot_import_are_refused_in_one_message(here, name):
    with pytest.raises(ValueError, match=r"task .*:"):
        find_task(name)
