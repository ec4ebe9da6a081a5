"""Colours of lit surfaces by the formula of MuJoCo's OpenGL renderer (without textures, shadows and fog).

Letters: N points, G geoms.
"""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

DIRECTIONAL, SPOT = int(mujoco.mjtLightType.mjLIGHT_DIRECTIONAL), int(mujoco.mjtLightType.mjLIGHT_SPOT)
NO_COLOUR = np.array([0.5, 0.5, 0.5, 1.0], np.float32)  # the rgba of a geom that takes its material's


@dataclass(frozen=True, kw_only=True)
class Surfaces:
    """How the geoms of a model look now."""

    rgba: np.ndarray
    """Colour, (G, 4) float32 in 0..1."""
    emission: np.ndarray
    """Share of the colour that shines by itself, (G,)."""
    specular: np.ndarray
    """Brightness of highlights, (G,)."""
    shininess: np.ndarray
    """0 wide .. 1 small highlights, (G,)."""

    @classmethod
    def of(cls, model: mujoco.MjModel) -> Surfaces:
        """Read the surfaces of a model."""
        rgba, emission = model.geom_rgba.copy(), np.zeros(model.ngeom, np.float32)
        specular, shininess = np.full_like(emission, 0.5), np.full_like(emission, 0.5)  # of a geom without material
        has_material = model.geom_matid >= 0
        material = model.geom_matid[has_material]
        emission[has_material] = model.mat_emission[material]
        specular[has_material] = model.mat_specular[material]
        shininess[has_material] = model.mat_shininess[material]
        takes_colour = has_material & (rgba == NO_COLOUR).all(axis=1)
        rgba[takes_colour] = model.mat_rgba[model.geom_matid[takes_colour]]
        return cls(rgba=rgba, emission=emission, specular=specular, shininess=shininess)


@dataclass(frozen=True, kw_only=True)
class Light:
    """One light now."""

    kind: int
    """`DIRECTIONAL` or `SPOT`."""
    position: np.ndarray
    """(3,) [m]."""
    direction: np.ndarray
    """Where it shines, a unit vector, (3,)."""
    ambient: np.ndarray
    """(3,) in 0..1."""
    diffuse: np.ndarray
    """(3,) in 0..1."""
    specular: np.ndarray
    """(3,) in 0..1."""
    attenuation: np.ndarray
    """Of a spot, constant, per metre and per square metre, (3,)."""
    cutoff: float
    """Of a spot, half the angle of its cone [deg]."""
    exponent: float
    """Of a spot, how much dimmer it is off its axis."""


def read_lights(model: mujoco.MjModel, data: mujoco.MjData, camera: int) -> list[Light]:
    """Return the lights of a model, those of a kind OpenGL draws, and the headlight of a camera, by its index."""
    lights = [
        Light(
            kind=int(model.light_type[i]),
            position=data.light_xpos[i],
            direction=data.light_xdir[i],
            ambient=model.light_ambient[i],
            diffuse=model.light_diffuse[i],
            specular=model.light_specular[i],
            attenuation=model.light_attenuation[i],
            cutoff=model.light_cutoff[i],
            exponent=model.light_exponent[i],
        )
        for i in np.flatnonzero((model.light_active != 0) & np.isin(model.light_type, (DIRECTIONAL, SPOT)))
    ]
    head = model.vis.headlight
    if head.active:
        headlight = Light(
            kind=DIRECTIONAL,
            position=data.cam_xpos[camera],
            direction=-data.cam_xmat[camera].reshape(3, 3)[:, 2],
            ambient=head.ambient,
            diffuse=head.diffuse,
            specular=head.specular,
            attenuation=np.array([1.0, 0.0, 0.0]),
            cutoff=180.0,
            exponent=0.0,
        )
        lights.append(headlight)
    return lights


def shade(
    surfaces: Surfaces, lights: list[Light], geoms: np.ndarray, points: np.ndarray, normals: np.ndarray, eye: np.ndarray
) -> np.ndarray:
    """Return the colours of points on geoms.

    Args:
        surfaces: of the G geoms.
        lights: that shine on them.
        geoms: index of the geom of each point, (N,).
        points: (N, 3) [m].
        normals: unit vectors that point outward, (N, 3).
        eye: position of the camera, (3,) [m].

    Returns:
        Colours, (N, 3) uint8.
    """
    brightness = np.repeat(surfaces.emission[geoms, None], 3, axis=1).astype(np.float64)
    highlight = np.zeros_like(brightness)
    specular = surfaces.specular[geoms]
    for light in lights:
        toward, strength = _arriving(light, points)
        facing = np.maximum((normals * toward).sum(axis=1), 0.0)
        brightness += strength * (light.ambient + facing[:, None] * light.diffuse)
        if light.specular.any() and specular.any():
            half = _unit(toward + _unit(eye - points))
            glint = np.maximum((normals * half).sum(axis=1), 0.0) ** (128.0 * surfaces.shininess[geoms])
            highlight += strength * (glint * specular * (facing > 0.0))[:, None] * light.specular
    colours = surfaces.rgba[geoms, :3] * brightness + highlight
    return np.rint(np.clip(colours, 0.0, 1.0) * 255.0).astype(np.uint8)


def _arriving(light: Light, points: np.ndarray) -> tuple[np.ndarray, np.ndarray | float]:
    """Return the unit vectors from points toward a light, (3,) or (N, 3), and how much of it arrives, 1 or (N, 1)."""
    if light.kind == DIRECTIONAL:
        return -light.direction, 1.0
    offset = light.position - points
    distance = np.linalg.norm(offset, axis=1, keepdims=True)
    toward = offset / distance
    along = -(toward @ light.direction)[:, None]
    inside = along >= np.cos(np.radians(light.cutoff))
    fading = distance ** np.arange(3) @ light.attenuation
    return toward, np.where(inside, np.maximum(along, 0.0) ** light.exponent, 0.0) / fading[:, None]


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
