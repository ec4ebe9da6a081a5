"""Variation: off it changes nothing, drawn from the seed alone, seen and felt, saved with the state, held-out apart."""

from __future__ import annotations

import multiprocessing

import gymnasium
import mujoco
import numpy as np
import pytest

from vjepa_wm import envs
from vjepa_wm.envs import VariationConfig
from vjepa_wm.envs.variation.factors import draw
from vjepa_wm.envs.variation.values import (
    CAMERAS,
    DISTRACTORS,
    FRICTIONS,
    LIGHTS,
    MASSES,
    OBJECTS,
    SPOTS,
    TABLES,
)

VALUES = {
    "table": TABLES, "object": OBJECTS, "light": LIGHTS, "camera": CAMERAS, "distractors": DISTRACTORS,
    "friction": FRICTIONS, "mass": MASSES,
}  # fmt: skip
SEEN = ("table", "object", "light", "camera", "distractors")
FELT = ("friction", "mass")
BLOCK = np.array([0.5, 0.0, 0.035, 0.3])
BEHIND = np.array([0.38, 0.0, 0.04, 0.0, 0.0, 0.0, 1.0])


@pytest.fixture
def make():
    made = []

    def make_env(task="push", *, cameras=None, renderer="auto", **chosen):
        variation = VariationConfig(**chosen)
        made.append(envs.make(task, image_size=64, cameras=cameras, renderer=renderer, variation=variation))
        return made[-1]

    yield make_env
    for env in made:
        env.close()


def push_forward(env, num_steps=6):
    """Push the block ahead and return where it comes to lie, (4,)."""
    env.reset(seed=0, options={"start": BEHIND, "start_object": BLOCK})
    for _ in range(num_steps):
        env.advance(np.array([0.04, 0.01, 0, 0, 0, 0, 0]))
    return env.step(np.zeros(7))[4]["object"]


def ask(env, **chosen):
    """Let an environment vary otherwise from its next reset on; faster than to make another."""
    env._asked = VariationConfig(**chosen).chosen(env.factors)
    return env


@pytest.mark.parametrize("factor", SEEN)
def test_every_value_is_seen_and_not_felt(make, factor):
    env, pictures = make(), []
    end = push_forward(env)
    for name in VALUES[factor].names():
        obs, info = ask(env, **{factor: name}).reset(seed=2)
        assert info["variation"] == {known: "default" for known in env.factors} | {factor: name}
        pictures.append((obs["image"], info["goal"]["image"]))
    np.testing.assert_array_equal(push_forward(env), end)
    shown = np.array(pictures).astype(int)
    different = (np.abs(shown[:, None] - shown[None]).max(axis=-1) > 8).sum(axis=(-2, -1))
    # Pixels of 64 x 64; a distractor that the arm hides at the start is seen in the goal picture.
    assert (different.max(axis=-1)[~np.eye(len(shown), dtype=bool)] > 4).all()


@pytest.mark.parametrize("factor", FELT)
def test_every_value_is_felt_and_not_seen(make, factor):
    env, ends = make(), []
    picture = env.reset(seed=2)[0]["image"]
    for name in VALUES[factor].names():
        ask(env, **{factor: name})
        np.testing.assert_array_equal(env.reset(seed=2)[0]["image"], picture)
        ends.append(push_forward(env))
    assert len(np.unique(ends, axis=0)) == len(ends)
    assert np.ptp(ends, axis=0)[:2].max() > 0.002  # [m]


def test_friction_and_mass_are_those_of_what_is_moved(make):
    plain, env = make()._scene.model, make(friction="0.5", mass="3.0")
    env.reset(seed=0)
    model, block = env._scene.model, plain.body("block").id
    dofs = plain.dof_bodyid == block
    np.testing.assert_allclose(model.pair_friction, 0.5 * plain.pair_friction)
    np.testing.assert_allclose(model.dof_damping, np.where(dofs, 0.5, 1.0) * plain.dof_damping)
    np.testing.assert_allclose(model.body_mass[block], 3.0 * plain.body_mass[block])
    np.testing.assert_allclose(np.delete(model.body_mass, block), np.delete(plain.body_mass, block))


def test_scaled_masses_are_consistent_as_if_compiled(make):
    env = make("drawer", mass="2.4")
    env.reset(seed=0)
    model = env._scene.model
    computed = {name: getattr(model, name).copy() for name in ("dof_M0", "dof_invweight0", "body_invweight0")}
    mujoco.mj_setConst(model, mujoco.MjData(model))
    for name, values in computed.items():
        np.testing.assert_allclose(values, getattr(model, name), rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("task", envs.TASKS)
def test_default_is_what_is_without_variation_also_after_another(make, task):
    plain, varied = make(task), make(task, all="held_out")
    obs, _ = plain.reset(seed=1)
    saved = plain.get_state()
    varied.reset(seed=7)
    varied.set_state(saved)
    np.testing.assert_array_equal(varied.render(), obs["image"])
    np.testing.assert_array_equal(varied.get_state(), saved)
    rng = np.random.default_rng(0)
    for action in rng.uniform(plain.action_space.low, plain.action_space.high, (10, *plain.action_space.shape)):
        np.testing.assert_array_equal(plain.advance(action), varied.advance(action))


@pytest.mark.parametrize("task", envs.TASKS)
def test_starts_and_goals_are_paired(make, task):
    # But for layouts: a place may be in a wall of another one.
    pinned = {"layout": "default"} if "layout" in make(task).factors else {}
    plain, varied = make(task), make(task, all="sampled", **pinned)
    names = set()
    for seed in (3, None, None):  # also when the generator goes on
        obs, info = plain.reset(seed=seed)
        varied_obs, varied_info = varied.reset(seed=seed)
        np.testing.assert_array_equal(obs["state"], varied_obs["state"])
        np.testing.assert_array_equal(info["goal"]["state"], varied_info["goal"]["state"])
        assert info["distance"] == pytest.approx(varied_info["distance"], abs=1e-6)
        names.add(tuple(varied_info["variation"].values()))
    assert len(names) == 3


def test_equal_seeds_give_equal_draws_whatever_else_varies(make):
    everything, again, table = make(all="sampled"), make(all="sampled"), make(table="sampled")
    for seed in range(5):
        (obs, info), (obs_again, info_again) = everything.reset(seed=seed), again.reset(seed=seed)
        assert info["variation"] == info_again["variation"]
        np.testing.assert_array_equal(obs["image"], obs_again["image"])
        only = table.reset(seed=seed)[1]["variation"]
        assert only == {factor: "default" for factor in info["variation"]} | {"table": info["variation"]["table"]}


def test_every_value_is_drawn_and_only_what_was_asked_for():
    rng = np.random.default_rng(0)
    for mode, group in (("sampled", "training"), ("held_out", "held_out")):
        chosen = VariationConfig(all=mode, light="dim").chosen(VALUES)
        drawn = [draw(chosen, VALUES, rng) for _ in range(300)]
        for factor, values in VALUES.items():
            expected = {"dim"} if factor == "light" else set(getattr(values, group))
            assert {names[factor] for names in drawn} == expected


@pytest.mark.parametrize("task", ["push", "point_maze"])
def test_saved_state_brings_its_variation_to_another_environment(make, task):
    env, other = make(task, all="held_out"), make(task, all="sampled")
    env.reset(seed=1)
    other.reset(seed=2)
    saved = env.get_state()
    other.set_state(saved)
    np.testing.assert_array_equal(other.render(), env.render())
    np.testing.assert_array_equal(other.get_state(), saved)
    rng = np.random.default_rng(0)
    for action in rng.uniform(env.action_space.low, env.action_space.high, (20, *env.action_space.shape)):
        info, other_info = env.step(action)[4], other.step(action)[4]
        assert other_info["variation"] == info["variation"]
        np.testing.assert_array_equal(other.get_state(), env.get_state())
    np.testing.assert_array_equal(other.render(), env.render())


def look(saved, results):
    """Restore a state in a plain environment of this process and return its picture and push."""
    env = envs.make("push", image_size=64)
    env.reset(seed=0)
    env.set_state(saved)
    results.put((env.render(), np.stack([env.advance(np.full(7, 0.02)) for _ in range(10)])))
    env.close()


def test_saved_state_brings_its_variation_to_another_process(make):
    env = make(all="held_out")
    env.reset(seed=4)
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    process = context.Process(target=look, args=(env.get_state(), results))
    process.start()
    picture, states = results.get(timeout=60)
    process.join()
    np.testing.assert_array_equal(picture, env.render())
    np.testing.assert_array_equal(states, np.stack([env.advance(np.full(7, 0.02)) for _ in range(10)]))


def test_goal_picture_is_under_the_same_variation(make):
    env = make(all="held_out")
    _, info = env.reset(seed=3)
    options = {"start": info["goal"]["state"], "start_object": info["goal"]["object"]}
    obs, again = env.reset(seed=3, options=options)
    assert again["variation"] == info["variation"]
    np.testing.assert_array_equal(obs["image"], info["goal"]["image"])


def test_only_the_main_camera_moves(make):
    plain, moved = make(cameras=("front", "side")), make(cameras=("front", "side"), camera="far_left")
    obs, moved_obs = plain.reset(seed=0)[0], moved.reset(seed=0)[0]
    np.testing.assert_array_equal(obs["image_side"], moved_obs["image_side"])
    model = moved._scene.model
    before, after = plain._scene.model.camera("front").pos, model.camera("front").pos
    middle = model.geom("table").pos * [1, 1, 0]
    assert np.linalg.norm(after - middle) == pytest.approx(np.linalg.norm(before - middle))
    assert after[2] == pytest.approx(before[2])


def test_rays_show_variation_as_opengl_does(make):
    for seed in range(3):
        pair = [make(all="sampled", renderer=renderer).reset(seed=seed)[0]["image"] for renderer in ("auto", "ray")]
        assert np.abs(np.subtract(*[picture.astype(int) for picture in pair])).mean() < 1.5


def test_no_model_is_compiled_at_reset(make, monkeypatch):
    env = make(all="sampled")
    monkeypatch.setattr(mujoco.MjModel, "from_xml_path", None)
    model = env._scene.model
    for seed in range(3):
        env.reset(seed=seed)
        assert env._scene.model is model


def test_distractors_touch_nothing_and_are_out_of_reach(make):
    env = make()
    model, workspace = env._scene.model, env.workspace
    geoms = [k for k in range(model.ngeom) if model.body(model.geom_bodyid[k]).name.startswith("distractor_")]
    assert len({model.geom_bodyid[k] for k in geoms}) == 8
    assert not np.isin(geoms, [model.pair_geom1, model.pair_geom2]).any()
    assert not model.geom_contype[geoms].any() and not model.geom_conaffinity[geoms].any()
    to_tool = np.maximum(np.maximum(workspace.low[:2] - SPOTS, SPOTS - workspace.high[:2]), 0.0)
    assert (np.linalg.norm(to_tool, axis=1) > 0.15).all()
    assert (np.linalg.norm(SPOTS, axis=1) > 0.2).all()  # nor in the arm's foot


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (
            {"table": "gray"},
            "variation.table has no value 'gray', did you mean 'grey'. known are: default, sampled, held_",
        ),
        (
            {"camera": "overhead"},
            "variation.camera has no value 'overhead'; known are: default, sampled, held_out, drawn, half_drawn, left,",
        ),
        ({"friction": "2"}, "variation.friction has no value '2'"),
        ({"all": "yes"}, "variation.all has no value 'yes'; known are: default, sampled, held_out"),
    ],
)
def test_unknown_values(chosen, message):
    with pytest.raises(ValueError, match=message):
        VariationConfig(**chosen)


@pytest.mark.parametrize(
    ("task", "chosen", "message"),
    [
        ("reach", {"mass": "sampled"}, "no factor 'mass' in this task, whose factors are: table, light, camera, distr"),
        ("reach", {"object": "default"}, "no factor 'object' in this task"),
        ("push", {"layout": "held_out"}, "no factor 'layout' in this task"),
        ("point_maze", {"layout": "spirale"}, "variation.layout has no value 'spirale', did you mean 'spiral'"),
        ("two_room", {"friction": "0.5"}, "no factor 'friction' in this task, whose factors are: table, object, light"),
    ],
)
def test_what_a_task_lacks(make, task, chosen, message):
    with pytest.raises(ValueError, match=message):
        make(task, **chosen)


def test_gymnasium_makes_it_vary():
    envs.register()
    env = gymnasium.make("vjepa_wm/point_maze-v0", image_size=32, variation=VariationConfig(layout="spiral"))
    assert env.reset(seed=0)[1]["variation"]["layout"] == "spiral"
    env.close()


def test_a_camera_on_the_hand_does_not_vary(make):
    with pytest.raises(ValueError, match="no factor 'camera' in this task, whose factors are: table, object, light"):
        make(cameras=("wrist",), camera="left")
