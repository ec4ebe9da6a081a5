"""Choice of the OpenGL library MuJoCo draws with.

It must be made before mujoco is imported; a library that this machine lacks breaks the import itself.
"""

from __future__ import annotations

import ctypes
import os


def choose_render_backend() -> str:
    """Set the environment variable MUJOCO_GL, if it is unset, to a library this machine has.

    EGL comes first; OSMesa, which newer Mesa no longer has, second.

    Returns:
        The value of MUJOCO_GL: what it was, or "egl" or "osmesa".

    Raises:
        RuntimeError: if MUJOCO_GL is unset and neither library is installed.
    """
    if os.environ.get("MUJOCO_GL"):
        return os.environ["MUJOCO_GL"]
    if _can_load("libEGL.so.1") and (_can_load("libOpenGL.so.0") or _can_load("libGL.so.1")):
        backend = "egl"
    elif _can_load("libOSMesa.so.8") or _can_load("libOSMesa.so"):
        backend = "osmesa"
    else:
        raise RuntimeError(
            "rendering needs EGL or OSMesa, found neither; on Debian or Ubuntu: "
            "apt install libegl1 libopengl0 libgl1-mesa-dri (or set MUJOCO_GL yourself)"
        )
    os.environ["MUJOCO_GL"] = backend
    return backend


def _can_load(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
