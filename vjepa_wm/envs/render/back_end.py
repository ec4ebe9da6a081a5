"""Choice of what draws the pictures: OpenGL, or rays that need no graphics library.

It must be made before mujoco is imported: mujoco loads its OpenGL library then, and one that this machine lacks breaks
the import itself. So this file imports no mujoco.
"""

from __future__ import annotations

import ctypes
import logging
import os
import subprocess
import sys
from glob import glob
from typing import Literal, get_args

from vjepa_wm.checks import MachineError

logger = logging.getLogger(__name__)

RendererName = Literal["auto", "gl", "ray"]

PACKAGES = "on Debian or Ubuntu: apt install libegl1 libopengl0 libgl1-mesa-dri"
KNOWN = ("egl", "osmesa", "glfw", "enable", "enabled", "on", "true", "1", "cgl", "wgl", "system")
"""Values of MUJOCO_GL that mujoco knows, and ours for the library that a system brings along."""
NO_OPENGL = ("disable", "disabled", "off", "false", "0")  # the values of MUJOCO_GL that keep mujoco from loading any

# Where Mesa keeps the driver that needs no graphics card; with it EGL works on any machine.
SOFTWARE_DRIVERS = ("/usr/lib*/dri/*swrast_dri.so", "/usr/lib/*/dri/*swrast_dri.so")


def choose_renderer(name: RendererName = "auto") -> Literal["gl", "ray"]:
    """Choose a renderer this machine has, and set MUJOCO_GL, if it is unset, to the OpenGL library found or to none.

    Whichever renderer is asked for, MUJOCO_GL gets the same value, so later calls may ask for another one. EGL comes
    first; OSMesa, which newer Mesa no longer has, second. A MUJOCO_GL that is set is respected.

    Args:
        name: `gl` (OpenGL), `ray` (`ray_renderer` beside this file), or `auto`: OpenGL where there is any, else rays.

    Returns:
        The renderer, for `vjepa_wm.envs.render.renderers.make_renderer`.

    Raises:
        ValueError: if the name is unknown.
        MachineError: if `gl` is asked for and there is no OpenGL, or MUJOCO_GL names a library this machine lacks.
    """
    if name not in get_args(RendererName):
        raise ValueError(f"renderer must be one of {', '.join(get_args(RendererName))}, got {name!r}")
    library = os.environ.get("MUJOCO_GL", "").lower().strip()
    why = f"MUJOCO_GL is {library!r}"
    if sys.platform != "linux":
        library = library or "system"  # other systems bring their own, which mujoco takes while MUJOCO_GL is unset
    elif not library and "mujoco" in sys.modules:
        # Too late to choose: with MUJOCO_GL unset, mujoco has taken the library that needs a screen.
        library = "glfw" if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") else "disable"
        why = "mujoco was imported before it could be chosen"
    elif not library:
        library = os.environ["MUJOCO_GL"] = _find_library()
        why = "this machine has neither"
    elif library in ("egl", "osmesa") and not _is_there(library):
        raise MachineError(f"{why}, which this machine lacks, so mujoco cannot be imported; unset it, or {PACKAGES}")
    if library not in (*KNOWN, *NO_OPENGL):
        raise MachineError(f"{why}, which mujoco does not know; egl, osmesa, glfw or disable would be right")
    if library not in NO_OPENGL:
        return "ray" if name == "ray" else "gl"
    if name == "gl":
        raise MachineError(
            f"renderer 'gl' needs EGL or OSMesa, but {why}; {PACKAGES}, and call choose_renderer before anything "
            "imports mujoco and with MUJOCO_GL unset; or take renderer 'ray', which needs neither"
        )
    if name == "auto":
        logger.info("pictures are drawn with rays, not with OpenGL: %s", why)
    return "ray"


def why_not_drawn(error: Exception) -> str:
    """Say why OpenGL could not begin to draw, and what would be right.

    Args:
        error: what was raised.
    """
    values = {name: os.environ.get(name) for name in ("MUJOCO_GL", "PYOPENGL_PLATFORM", "MUJOCO_EGL_DEVICE_ID")}
    told = ", ".join(f"{name} is {value!r}" for name, value in values.items() if value) or "MUJOCO_GL is not set"
    library, platform, device = values.values()
    if library == "egl" and (platform not in (None, "", "egl") or device):
        wrong = "PYOPENGL_PLATFORM" if platform not in (None, "", "egl") else "MUJOCO_EGL_DEVICE_ID"
        remedy = f"unset {wrong}"
    else:
        remedy = "without a screen MUJOCO_GL=egl would be right, or unset it"
    return f"OpenGL does not draw here: {told} ({error}); {remedy}, or take renderer 'ray', which needs no OpenGL"


def _find_library() -> str:
    """Return the value of MUJOCO_GL that is right for this machine."""
    if _is_there("egl") and (any(glob(pattern) for pattern in SOFTWARE_DRIVERS) or _draws("egl")):
        return "egl"
    return "osmesa" if _is_there("osmesa") else "disable"


def _is_there(library: str) -> bool:
    """Return whether the shared objects of `egl` or `osmesa` can be loaded."""
    if library == "egl":
        return _can_load("libEGL.so.1") and (_can_load("libOpenGL.so.0") or _can_load("libGL.so.1"))
    return _can_load("libOSMesa.so.8") or _can_load("libOSMesa.so")


def _can_load(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def _draws(library: str) -> bool:
    """Return whether a context of it can be made: without a driver it cannot.

    Asked in a process of its own, because a process in which a context was made can no longer be forked.
    """
    code = "import mujoco; context = mujoco.GLContext(16, 16); context.make_current(); context.free()"
    environment = os.environ | {"MUJOCO_GL": library}
    return (
        subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=False).returncode == 0
    )
