"""What draws: the choice of it, that both renderers draw the same, and that one of them needs no graphics library."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import logging
import os
import subprocess
import sys

import mujoco
import numpy as np
import pytest

from vjepa_wm import envs
from vjepa_wm.envs.render.back_end import _draws, choose_renderer
from vjepa_wm.envs.render.ray_renderer import RayRenderer
from vjepa_wm.envs.render.renderers import GLRenderer, make_renderer

SCENE = """
<mujoco>
  <visual>
    <quality numslices="96" numstacks="96" shadowsize="256" offsamples="0"/>
    <headlight ambient="0.2 0.1 0.2" diffuse="0.1 0.2 0.1" specular="0.2 0.2 0.2"/>
  </visual>
  <asset>
    <material name="dull" rgba="0.5 0.3 0.2 1" specular="0"/>
    <material name="bright" rgba="0.1 0.5 0.2 1" specular="0.8" shininess="0.3" emission="0.2"/>
    <material name="glass" rgba="1 1 1 0" specular="0"/>
  </asset>
  <worldbody>
    {light}
    <camera name="front" pos="0 -2 2" xyaxes="1 0 0 0 0.7 0.7"/>
    <camera name="amid" pos="-0.1 0 0.1" xyaxes="0 -1 0 0 0 1" fovy="80"/>
    <geom type="plane" size="0.8 0.8 1" pos="0 0 -0.6" rgba="0.3 0.4 0.3 1"/>
    <geom name="ball" type="sphere" size="0.4" pos="-0.5 0.3 0" material="dull"/>
    <geom type="sphere" size="0.1" pos="-0.5 -0.4 0" group="3" rgba="1 0 0 1"/>
    <geom name="ghost" type="sphere" size="0.1" pos="0.3 0 0.8" rgba="1 1 0 0"/>
    <geom name="glass" type="sphere" size="0.2" pos="-0.5 -0.5 0.5" material="glass"/>
    <body pos="0.5 0.4 0"><freejoint/><geom type="ellipsoid" size="0.2 0.15 0.4" rgba="0.2 0.3 0.9 1"/></body>
    <body pos="0.1 -0.5 0.1" euler="20 30 40">
      <joint/>
      <geom name="box" type="box" size="0.25 0.2 0.15" material="bright"/>
    </body>
    <body pos="0.9 0 0"><joint/><geom type="capsule" size="0.05 0.3" rgba="0.9 0.8 0.1 1"/></body>
    <body name="hand" mocap="true" pos="0.6 -0.6 0.2"><geom type="cylinder" size="0.1 0.1" material="dull"/></body>
    <body name="shelf" pos="0 0.8 0.1">
      <geom type="box" size="0.5 0.05 0.1" rgba="0.9 0.1 0.8 1"/>
      <geom name="knob" size="0.1" pos="0.2 0 0.15" material="dull"/>
    </body>
  </worldbody>
</mujoco>
"""
DIRECTIONAL = (
    '<light type="directional" dir="0.3 0.4 -1" castshadow="false" diffuse="0.5 0.4 0.3" specular="0.4 0.4 0.4"/>'
)
SPOT = (
    '<light pos="0 -1 3" dir="0 0.3 -1" castshadow="false" attenuation="0.4 0.1 0.1" cutoff="40" exponent="3" '
    'ambient="0.1 0 0" diffuse="0.7 0.7 0.7" specular="0 0 0"/>'
)


needs_gl = pytest.mark.skipif(choose_renderer() == "ray", reason="this machine has no OpenGL library")


def load(light=DIRECTIONAL):
    model = mujoco.MjModel.from_xml_string(SCENE.format(light=light))
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    return model, data


def difference(a, b):
    """Return the difference of two pictures per pixel, that of the worst colour channel."""
    return np.abs(a.astype(int) - b.astype(int)).max(axis=-1)


@pytest.fixture
def libraries(monkeypatch):
    """Pretend that mujoco is yet to be imported on a machine with the libraries that the test puts into the set."""
    present = set()
    monkeypatch.delenv("MUJOCO_GL")
    monkeypatch.delitem(sys.modules, "mujoco")
    monkeypatch.setattr("vjepa_wm.envs.render.back_end._can_load", lambda library: library in present)
    monkeypatch.setattr("vjepa_wm.envs.render.back_end.SOFTWARE_DRIVERS", ("/*",))
    return present


@pytest.mark.parametrize(
    ("present", "library"),
    [
        ({"libEGL.so.1", "libOpenGL.so.0", "libOSMesa.so.8"}, "egl"),
        ({"libEGL.so.1", "libGL.so.1"}, "egl"),
        ({"libEGL.so.1", "libOSMesa.so.8"}, "osmesa"),
        ({"libOSMesa.so"}, "osmesa"),
    ],
)
def test_a_library_that_is_there_is_taken(libraries, monkeypatch, present, library):
    libraries |= present
    assert choose_renderer("ray") == "ray"
    assert choose_renderer() == choose_renderer("gl") == "gl"
    assert os.environ["MUJOCO_GL"] == library


def test_rays_where_there_is_no_library(libraries, caplog):
    libraries.add("libEGL.so.1")
    with caplog.at_level(logging.INFO):
        assert choose_renderer() == "ray"
    assert "drawn with rays, not with OpenGL: this machine has neither" in caplog.text
    with pytest.raises(RuntimeError, match=r"EGL or OSMesa, but MUJOCO_GL is 'disable'; .*apt install libegl1"):
        choose_renderer("gl")


def test_a_library_without_a_driver_is_found_out(libraries, monkeypatch):
    libraries |= {"libEGL.so.1", "libGL.so.1"}
    monkeypatch.setattr("vjepa_wm.envs.render.back_end.SOFTWARE_DRIVERS", ())
    monkeypatch.setenv("MUJOCO_EGL_DEVICE_ID", "99")  # there is none of that number
    with pytest.raises(RuntimeError, match=r"'gl' needs EGL or OSMesa, but this machine has neither; .* 'ray'"):
        choose_renderer("gl")
    assert choose_renderer() == "ray"


@needs_gl
def test_a_library_with_a_driver_draws():
    assert _draws(os.environ["MUJOCO_GL"])


@pytest.mark.parametrize(("value", "renderer"), [("osmesa", "gl"), ("OFF", "ray"), ("glfw", "gl"), ("0", "ray")])
def test_a_chosen_library_is_kept(libraries, monkeypatch, value, renderer):
    libraries |= {"libEGL.so.1", "libGL.so.1", "libOSMesa.so"}
    monkeypatch.setenv("MUJOCO_GL", value)
    assert choose_renderer() == renderer
    assert os.environ["MUJOCO_GL"] == value


def test_a_chosen_library_that_lacks(libraries, monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "egl")
    with pytest.raises(RuntimeError, match=r"MUJOCO_GL is 'egl', which this machine lacks, .* unset it, or on Debian"):
        choose_renderer("ray")


def test_mujoco_imported_too_early(monkeypatch):
    for name in ("MUJOCO_GL", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert choose_renderer() == "ray"
    with pytest.raises(RuntimeError, match=r"'gl' needs .* mujoco was imported before .* call choose_renderer before"):
        choose_renderer("gl")


def test_other_systems_have_their_own_library(libraries, monkeypatch):
    monkeypatch.setattr("sys.platform", "darwin")
    assert choose_renderer() == choose_renderer("gl") == "gl"
    assert "MUJOCO_GL" not in os.environ
    monkeypatch.setenv("MUJOCO_GL", "disable")
    assert choose_renderer() == "ray"


def test_unknown_renderer():
    with pytest.raises(ValueError, match="renderer must be one of auto, gl, ray, got 'opengl'"):
        choose_renderer("opengl")


@needs_gl
@pytest.mark.parametrize("camera", ["front", "amid"])
@pytest.mark.parametrize("light", [DIRECTIONAL, SPOT, DIRECTIONAL + SPOT], ids=["directional", "spot", "both"])
def test_both_draw_the_same_to_one_grey_level(light, camera):
    model, data = load(light)
    if "cutoff" in light:
        model.geom_rgba[model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE, 3] = 0.0  # OpenGL lights its corners only
    gl, ray = make_renderer(model, 96, "gl"), make_renderer(model, 96, "ray")
    picture = ray.render(data, camera)
    off = difference(gl.render(data, camera), picture)
    gl.close()
    assert picture.shape == (96, 96, 3) and picture.dtype == np.uint8 and picture.std() > 20
    assert (off > 1).mean() < 0.02  # edges
    assert off.mean() < 1.0


@needs_gl
@pytest.mark.parametrize("task", envs.TASKS)
def test_the_tasks_look_the_same(task):
    with contextlib.closing(envs.make(task)) as env:
        model = env.unwrapped._scene.model
        cameras = [model.camera(k).name for k in range(model.ncam)]
    gl, ray = (envs.make(task, image_size=64, cameras=cameras, renderer=name) for name in ("gl", "ray"))
    (obs, info), (ray_obs, ray_info) = gl.reset(seed=1), ray.reset(seed=1)
    names = [name for name in obs if name.startswith("image")]
    assert len(names) == len(cameras)
    for a, b in ((obs[name], ray_obs[name]) for name in names):
        assert np.abs(a.astype(int) - b.astype(int)).mean() < 1.0
        assert (difference(a, b) > 8).mean() < 0.03
        assert a.std() > 10
    assert np.abs(info["goal"]["image"].astype(int) - ray_info["goal"]["image"].astype(int)).mean() < 1.0
    np.testing.assert_array_equal(obs["state"], ray_obs["state"])
    gl.close()


@pytest.mark.parametrize("camera", ["front", "amid"])
def test_rays_left_out_would_have_met_nothing(monkeypatch, camera):
    model, data = load()
    generator = np.random.default_rng(0)
    few, all_rays = RayRenderer(model, 48), RayRenderer(model, 48)
    monkeypatch.setattr(all_rays, "_pixels_of_moving", lambda data, camera: np.arange(48**2))
    num_rays = []
    for _ in range(10):
        data.qpos[:] = generator.normal(0, 0.7, model.nq)
        mujoco.mj_forward(model, data)
        np.testing.assert_array_equal(few.render(data, camera), all_rays.render(data, camera))
        num_rays.append(few._pixels_of_moving(data, model.camera(camera).id).size)
    assert (min(num_rays) < 48**2 / 2) == (camera == "front")  # around a box that the camera's plane cuts: all


def change_pose(model, data):
    data.qpos[:3] += 0.1


def change_colour(model, data):
    model.geom("ball").rgba[:] = 0.9, 0.1, 0.1, 1.0


def change_material(model, data):
    model.mat_rgba[0] = 0.1, 0.1, 0.9, 1.0


def change_visibility(model, data):
    model.geom("box").rgba[:] = 1.0, 1.0, 1.0, 0.0
    model.geom("ghost").rgba[3] = model.mat_rgba[2, 3] = 1.0


def change_light(model, data):
    model.light_diffuse[0] = 0.1


def change_headlight(model, data):
    model.vis.headlight.active = 0


def change_camera(model, data):
    model.cam_pos[0] += 0.1


def change_field_of_view(model, data):
    model.cam_fovy[0] = 30.0


def change_fixed_body(model, data):
    model.body("shelf").pos[0] = 0.3


def change_fixed_geom(model, data):
    model.geom("knob").pos[:] = -0.6, -0.1, 0.5


def change_mocap(model, data):
    data.mocap_pos[0, 0] = 0.3


@pytest.mark.parametrize(
    "change",
    [
        change_pose, change_colour, change_material, change_visibility, change_light, change_headlight, change_camera,
        change_field_of_view, change_fixed_body, change_fixed_geom, change_mocap,
    ],
)  # fmt: skip
def test_changes_are_seen_at_once(change):
    model, data = load()
    kept = RayRenderer(model, 48)
    before = kept.render(data, "front")
    change(model, data)
    mujoco.mj_forward(model, data)
    after = kept.render(data, "front")
    np.testing.assert_array_equal(after, RayRenderer(model, 48).render(data, "front"))
    assert (difference(before, after) > 8).sum() > 10
    if choose_renderer() == "gl":
        gl = GLRenderer(model, 48)
        assert (difference(gl.render(data, "front"), after) > 8).mean() < 0.02
        gl.close()


@pytest.mark.parametrize("name", [pytest.param("gl", marks=needs_gl), "ray"])
def test_cameras_take_turns_and_closing_is_no_end(name):
    model, data = load()
    renderer = make_renderer(model, 700, name)  # more than the 640 x 480 that OpenGL has unless asked
    front, amid = renderer.render(data, "front"), renderer.render(data, "amid")
    kept = front.copy()
    assert (difference(front, amid) > 8).mean() > 0.3
    renderer.close()
    np.testing.assert_array_equal(renderer.render(data, "front"), kept)
    np.testing.assert_array_equal(front, kept)
    with pytest.raises(ValueError, match="camera"):
        renderer.render(data, "back")
    renderer.close()


def test_rays_draw_no_orthographic_camera():
    model, data = load()
    model.cam_projection[0] = mujoco.mjtProjection.mjPROJ_ORTHOGRAPHIC
    with pytest.raises(ValueError, match="camera must be the name of a perspective camera of the model, got 'front'"):
        RayRenderer(model, 32).render(data, "front")


WITHOUT_LIBRARIES = """
import ctypes, hashlib, os
load = ctypes.CDLL
def refuse(name, *args):
    if name and any(part in name for part in ("EGL", "OpenGL", "libGL", "OSMesa", "glfw")):
        raise OSError(name)
    return load(name, *args)
ctypes.CDLL = refuse

from vjepa_wm import envs
for task in envs.TASKS:
    env = envs.make(task, image_size=64)
    obs, info = env.reset(seed=0)
    after = env.step(env.action_space.high)[0]
    for image in (obs["image"], after["image"], info["goal"]["image"], env.render()):
        assert image.std() > 5, task
    print(task, hashlib.sha256(after["image"]).hexdigest())
    env.close()
assert os.environ["MUJOCO_GL"] == "disable"
loaded = open("/proc/self/maps").read()
assert "libmujoco" in loaded
assert not [name for name in ("EGL", "OpenGL", "libGL", "OSMesa", "glfw") if name in loaded], loaded
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_all_tasks_run_without_any_graphics_library(monkeypatch):
    monkeypatch.delenv("MUJOCO_GL")
    done = subprocess.run([sys.executable, "-c", WITHOUT_LIBRARIES], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pictures = dict(line.split() for line in done.stdout.splitlines())
    assert set(pictures) == set(envs.TASKS)
    for task in envs.TASKS:  # and the pictures are those of a process that has a library
        env = envs.make(task, image_size=64, renderer="ray")
        env.reset(seed=0)
        image = env.step(env.action_space.high)[0]["image"]
        assert hashlib.sha256(image).hexdigest() == pictures[task]


@pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="triton, which comes with torch for GPUs, is not installed"
)
def test_torch_builds_a_model_without_memory_after_a_picture_was_drawn():
    # Mesa's LLVM and triton's in one process: in the wrong order it ends with a segmentation fault
    code = """
import torch
from vjepa_wm import envs

env = envs.make("reach", image_size=32)
env.reset(seed=0)
env.render()
with torch.device("meta"):
    torch.nn.init.normal_(torch.empty(3))
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
