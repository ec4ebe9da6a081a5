"""Pictures of a scene without any graphics library: MuJoCo casts a ray through each pixel, numpy lights what it hits.

They equal those of OpenGL but on round shapes, which OpenGL draws as polyhedra. Not drawn are textures, the sky,
shadows, sites, tendons, skins and flexes; what is not wholly transparent is opaque. A camera must be outside of all
geoms: it sees the inner side of one around it, which OpenGL leaves out.

Most of a picture stands still: what the geoms of the world look like is kept per camera until one of them, the camera,
a colour or a light changes, and rays are cast again only where a moving geom may be.

Letters: S image size, N = S * S pixels, R some of them, G geoms.
"""

from __future__ import annotations

import copy
import itertools
from dataclasses import dataclass

import mujoco
import numpy as np

from vjepa_wm.envs.render.lighting import Light, Surfaces, read_lights, shade

FIXED, MOVING, HIDDEN = 0, 1, 5  # the groups into which the renderer's own copy of the model sorts the geoms
SHOWN_GROUPS = 3  # MuJoCo's viewers show the geom groups 0, 1 and 2
PERSPECTIVE = int(mujoco.mjtProjection.mjPROJ_PERSPECTIVE)
CORNERS = np.array(list(itertools.product((-1.0, 1.0), repeat=3)))
NEAR, ENDLESS = 1e-3, 1e6  # [m]


@dataclass(frozen=True, kw_only=True)
class Hits:
    """What R rays from one point met."""

    geoms: np.ndarray
    """Index of the geom met first, -1 for none, (R,) int32."""
    distances: np.ndarray
    """To it, infinite for none, (R,) [m]."""
    normals: np.ndarray
    """Of its surface, unit vectors in the world frame, (R, 3)."""


@dataclass(kw_only=True)
class View:
    """What one camera sees of the geoms that stand still."""

    place: bytes
    """All that the hits depend on."""
    rays: np.ndarray
    """Unit vectors through the pixels, row by row, in the world frame, (N, 3)."""
    hits: Hits
    """Of these rays."""
    picture: np.ndarray
    """(N, 3) uint8."""
    look: bytes = b""
    """All that the picture depends on besides; empty until it is drawn."""


class RayRenderer:
    """Draws with rays. Bound to no thread, and safe to fork."""

    def __init__(self, model: mujoco.MjModel, image_size: int) -> None:
        """Sort the geoms.

        Args:
            model: the scene. Its colours, lights and cameras are read at every picture, the shapes of its geoms here.
            image_size: height and width S of the pictures [px].
        """
        self._model = model
        self._size = image_size
        self._views: dict[int, View] = {}
        # A copy in which geoms are hidden by their group alone, so that it follows colours that change.
        self._shapes = copy.copy(model)
        self._shapes.geom_matid[:] = -1
        self._shapes.geom_rgba[:, 3] = 1.0
        # And without the boxes around all geoms of a body: they do not follow geoms that are moved within it.
        self._shapes.bvh_aabb[model.body_bvhadr[model.body_bvhnum > 0]] = 0, 0, 0, ENDLESS, ENDLESS, ENDLESS
        body = model.geom_bodyid
        moving = (model.body_weldid[body] != 0) | (model.body_mocapid[body] >= 0)
        self._groups = np.where(moving, MOVING, FIXED)
        self._boxes = model.geom_aabb[:, None, :3] + CORNERS * model.geom_aabb[:, None, 3:]

    def render(self, data: mujoco.MjData, camera: str) -> np.ndarray:
        """Return what a camera sees; see `vjepa_wm.envs.render.renderers.Renderer.render`.

        Raises:
            ValueError: if the model has no such camera, or it is no perspective one.
        """
        index = mujoco.mj_name2id(self._model, mujoco.mjtObj.mjOBJ_CAMERA, camera)
        if index < 0 or int(self._model.cam_projection[index]) != PERSPECTIVE:
            raise ValueError(f"camera must be the name of a perspective camera of the model, got {camera!r}")
        surfaces, lights = Surfaces.of(self._model), read_lights(self._model, data, index)
        shown = (surfaces.rgba[:, 3] > 0.0) & (self._model.geom_group < SHOWN_GROUPS)
        self._shapes.geom_group[:] = np.where(shown, self._groups, HIDDEN)

        view = self._view(data, index, surfaces, lights)
        picture = view.picture.copy()
        pixels = self._pixels_of_moving(data, index)
        if pixels.size:
            rays = view.rays[pixels]
            hits = self._cast(data, data.cam_xpos[index], rays, MOVING)
            ahead = hits.distances < view.hits.distances[pixels]
            picture[pixels[ahead]] = _colours(surfaces, lights, data.cam_xpos[index], rays, hits, ahead)
        return picture.reshape(self._size, self._size, 3)

    def close(self) -> None:
        """Forget what was kept of the cameras' views."""
        self._views.clear()

    def _view(self, data: mujoco.MjData, camera: int, surfaces: Surfaces, lights: list[Light]) -> View:
        """Return a camera's view, brought up to date."""
        fixed = self._shapes.geom_group == FIXED
        place = _bytes(
            data.cam_xpos[camera], data.cam_xmat[camera], self._model.cam_fovy[camera], fixed,
            data.geom_xpos[fixed], data.geom_xmat[fixed],
        )  # fmt: skip
        view = self._views.get(camera)
        if view is None or view.place != place:
            rays = self._directions(self._model.cam_fovy[camera]) @ data.cam_xmat[camera].reshape(3, 3).T
            hits = self._cast(data, data.cam_xpos[camera], rays, FIXED)
            picture = np.zeros((self._size**2, 3), np.uint8)
            view = self._views[camera] = View(place=place, rays=rays, hits=hits, picture=picture)
        look = _bytes(*vars(surfaces).values(), *(part for light in lights for part in vars(light).values()))
        if view.look != look:
            view.look, view.picture[:] = look, 0
            met = view.hits.geoms >= 0
            view.picture[met] = _colours(surfaces, lights, data.cam_xpos[camera], view.rays, view.hits, met)
        return view

    def _directions(self, fovy: float) -> np.ndarray:
        """Return the unit vectors through the centres of the pixels in the camera's frame, (N, 3)."""
        steps = ((np.arange(self._size) + 0.5) * (2.0 / self._size) - 1.0) * np.tan(np.radians(fovy) / 2.0)
        x, y = np.meshgrid(steps, -steps)
        rays = np.stack([x, y, -np.ones_like(x)], axis=-1).reshape(-1, 3)
        return rays / np.linalg.norm(rays, axis=1, keepdims=True)

    def _cast(self, data: mujoco.MjData, origin: np.ndarray, rays: np.ndarray, group: int) -> Hits:
        """Return what rays from a point, (R, 3), meet of the geoms of a group."""
        num = len(rays)
        geoms, distances, normals = np.empty(num, np.int32), np.empty(num), np.empty((num, 3))
        groups = np.eye(6, dtype=np.uint8)[group]
        mujoco.mj_multiRay(
            self._shapes, data, origin, rays.ravel(), groups, True, -1, geoms, distances, normals.ravel(), num, np.inf
        )
        distances[geoms < 0] = np.inf
        return Hits(geoms=geoms, distances=distances, normals=normals)

    def _pixels_of_moving(self, data: mujoco.MjData, camera: int) -> np.ndarray:
        """Return the pixels in the rectangles around the boxes around the moving geoms that are shown, (R,)."""
        moving = self._shapes.geom_group == MOVING
        turns = data.geom_xmat[moving].reshape(-1, 3, 3)
        corners = self._boxes[moving] @ turns.transpose(0, 2, 1) + data.geom_xpos[moving][:, None]
        corners = (corners - data.cam_xpos[camera]) @ data.cam_xmat[camera].reshape(3, 3)
        depth = -corners[..., 2:]
        half = self._size / 2.0
        scale = half / np.tan(np.radians(self._model.cam_fovy[camera]) / 2.0)
        spots = corners[..., [1, 0]] * [-scale, scale] / np.maximum(depth, NEAR)  # row and column from the middle
        low, high = spots.min(axis=1), spots.max(axis=1)
        cut = (depth < NEAR).any(axis=(1, 2))
        low[cut], high[cut] = -half, half  # a box that the camera's plane cuts may be anywhere
        low = np.floor(np.clip(low, -half, half) + half).astype(int)
        high = np.ceil(np.clip(high, -half, half) + half).astype(int)
        mask = np.zeros((self._size, self._size), bool)
        for (top, left), (bottom, right) in zip(low, high, strict=True):
            mask[top:bottom, left:right] = True
        return np.flatnonzero(mask)


def _colours(
    surfaces: Surfaces, lights: list[Light], eye: np.ndarray, rays: np.ndarray, hits: Hits, chosen: np.ndarray
) -> np.ndarray:
    """Return the colours of the chosen ones of some hits, uint8."""
    points = eye + rays[chosen] * hits.distances[chosen, None]
    return shade(surfaces, lights, hits.geoms[chosen], points, hits.normals[chosen], eye)


def _bytes(*arrays: np.ndarray) -> bytes:
    return b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)
