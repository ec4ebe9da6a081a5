"""One interface to the two back ends that draw a scene: OpenGL and rays.

Letter: S image size.
"""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cache
from importlib import import_module
from typing import Any, ClassVar, Protocol

import mujoco
import numpy as np

from vjepa_wm.checks import MachineError
from vjepa_wm.envs.render.back_end import RendererName, choose_renderer, why_not_drawn
from vjepa_wm.envs.render.ray_renderer import RayRenderer


class Renderer(Protocol):
    """What draws the pictures of one model. Colours, lights and cameras are read from it at every picture."""

    def render(self, data: mujoco.MjData, camera: str) -> np.ndarray:
        """Return what a camera sees.

        Args:
            data: state of the model, its kinematics up to date (`mj_kinematics`, `mj_comPos`, `mj_camlight`).
            camera: name of a camera of the model.

        Returns:
            A new picture, (S, S, 3) uint8.
        """
        ...

    def close(self) -> None:
        """Free what was taken; a later picture takes it again."""
        ...


class GLRenderer:
    """Draws with OpenGL. Bound to the thread of its first picture, after which the process must not be forked.

    A copy, pickled or not, draws with a context of its own.
    """

    _drawing_process: ClassVar[int | None] = None
    """The process that made the first context; one that is forked from it would wait for ever for the next."""

    def __init__(self, model: mujoco.MjModel, image_size: int) -> None:
        """Keep what is needed; the OpenGL context is made at the first picture.

        Args:
            model: the scene; its off-screen buffer is enlarged to the size of the pictures where it is smaller.
            image_size: height and width S of the pictures [px].
        """
        self._model = model
        self._image_size = image_size
        self._renderer: mujoco.Renderer | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy is made of."""
        return self.__dict__ | {"_renderer": None}

    def render(self, data: mujoco.MjData, camera: str) -> np.ndarray:
        """Return what a camera sees; see `Renderer.render`.

        Raises:
            MachineError: if OpenGL does not draw here, or this process was forked from one that has drawn.
        """
        if GLRenderer._drawing_process not in (None, os.getpid()):
            raise MachineError(
                "this process was forked from one that has drawn with OpenGL, which would hang; start it with spawn, "
                'for example gymnasium.make_vec(..., vector_kwargs={"context": "spawn"}), or take renderer \'ray\''
            )
        # Made at the first picture: a scene that only serves as dynamics needs no graphics.
        if self._renderer is None:
            buffer, size = self._model.vis.global_, self._image_size
            buffer.offwidth, buffer.offheight = max(buffer.offwidth, size), max(buffer.offheight, size)
            self._renderer = _open_gl(self._model, size)
        self._renderer.update_scene(data, camera=camera)
        return self._renderer.render()

    def close(self) -> None:
        """Free the OpenGL context."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None


@cache
def _load_triton() -> None:
    """Load triton, where it is installed, before anything draws.

    Mesa's software renderer brings LLVM, and so does triton, which torch loads when it first compiles or builds a model
    without memory: loaded after the renderer's, it ends the process with a segmentation fault (Mesa 22.3, triton 3.7).
    """
    with suppress(ImportError):
        import_module("triton")


def _open_gl(model: mujoco.MjModel, size: int) -> mujoco.Renderer:
    """Make what draws with OpenGL, square pictures of a size [px]."""
    _load_triton()
    try:
        opened = mujoco.Renderer(model, size, size)
    except (RuntimeError, ImportError, ValueError, AttributeError, mujoco.FatalError) as error:
        raise MachineError(why_not_drawn(error)) from error
    GLRenderer._drawing_process = os.getpid()
    return opened


def make_renderer(model: mujoco.MjModel, image_size: int, name: RendererName = "auto") -> Renderer:
    """Make a renderer of a model.

    Args:
        model: the scene.
        image_size: height and width S of the pictures [px].
        name: as for `vjepa_wm.envs.render.back_end.choose_renderer`, which is best called before mujoco is imported.

    Returns:
        The renderer.

    Raises:
        ValueError: if the name is unknown.
        RuntimeError: if OpenGL is asked for and there is none.
    """
    if choose_renderer(name) == "gl":
        return GLRenderer(model, image_size)
    return RayRenderer(model, image_size)
