"""The smallest task that a straight line does not solve: bring a point through a door into the other room."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vjepa_wm.envs.plane.geometry import POINT_RADIUS, WALL_HALF, are_clear
from vjepa_wm.envs.plane.layouts import TWO_ROOMS
from vjepa_wm.envs.plane.point_env import PointConfig, PointEnv
from vjepa_wm.envs.plane.point_scene import PointScene


@dataclass(frozen=True, kw_only=True)
class TwoRoomConfig(PointConfig):
    """Options of `TwoRoomEnv`."""


class TwoRoomEnv(PointEnv):
    """Bring a point through a door to where it is, in the other room, in a goal picture.

    A wall, 4 cm thick, divides it from top to
    bottom but for a door, 0.21 m wide. The point is a disc of 0.13 m in diameter.

    Frame and actions are those of `vjepa_wm.envs.plane.point_env.PointEnv`.

    Observation:

    | key   | entry | meaning                                  | range        | unit |
    | ----- | ----- | ---------------------------------------- | ------------ | ---- |
    | image |       | camera from above, uint8 (S, S, 3), RGB  |              |      |
    | state | 0-1   | x, y of the middle of the point, float32 | -0.5 .. 0.5  | m    |

    Start and goal: in different rooms, neither in the door, and a wall in the straight way from one to the other; apart
    from this each in one of the 4 x 4 parts of the plane, all as likely, at a place that is uniform among those where
    the point touches no wall. `options` of `reset` may give "start" and "goal", states (2,), anywhere. The goal picture
    is that of the exact goal state.

    Layouts, which are a factor of the variation; they say where the wall is, and in which of four rows from above it
    has its door:

    | use       | names                                                                               |
    | --------- | ----------------------------------------------------------------------------------- |
    | default   | default (middle, 4)                                                                 |
    | training  | default, middle_door_2, left_door_1, left_door_3, right_door_1, right_door_3        |
    | held out  | middle_door_3, left_door_2, left_door_4, right_door_2                               |
    | drawn     | row_1_doors_1 and so on: one wall, upright or level, one door or two; none is held out |

    Info:

    | key        | meaning                                                                          | unit |
    | ---------- | -------------------------------------------------------------------------------- | ---- |
    | goal       | `image` and `state` of the goal                                                  |      |
    | walls      | rectangles x_low, y_low, x_high, y_high of the layout's walls, float32 (W, 4)    | m    |
    | distance   | straight distance of the point to the goal                                       | m    |
    | is_success | `distance` <= `success_radius` (5 cm)                                            |      |

    The reward is minus the distance. `terminated` is always False, so that success can be judged at the last step of an
    episode as well as at any; `truncated` is True from step `max_steps`.

    Control rate: `control_hz` = 5.
    """

    def __init__(self, config: TwoRoomConfig | None = None) -> None:
        """Build the simulation.

        Args:
            config: options; None: the defaults.
        """
        config = config or TwoRoomConfig()
        super().__init__(config, PointScene(config, scene=Path(__file__).with_name("scene.xml"), layouts=TWO_ROOMS))

    def _are_apart(self, start: np.ndarray, goal: np.ndarray) -> bool:
        # After the four walls around come those inside, which stand in one line, across x or across y.
        middles = (self._plane.walls[4:, :2] + self._plane.walls[4:, 2:]) / 2
        across = int(np.ptp(middles, axis=0).argmin())
        sides = np.array([start[across], goal[across]]) - middles[0, across]
        if sides[0] * sides[1] > 0.0 or np.abs(sides).min() < WALL_HALF + POINT_RADIUS:
            return False
        return not are_clear(start[None], goal[None], self._plane.walls).all()
