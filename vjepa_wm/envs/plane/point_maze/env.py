"""A task of finding the way: bring a point through a maze to where the goal picture shows it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vjepa_wm.envs.plane.layouts import MAZES
from vjepa_wm.envs.plane.point_env import PointConfig, PointEnv
from vjepa_wm.envs.plane.point_scene import PointScene
from vjepa_wm.envs.plane.roadmap import Roadmap


@dataclass(frozen=True, kw_only=True)
class PointMazeConfig(PointConfig):
    """Options of `PointMazeEnv`."""

    min_path: float = 0.6
    """Shortest way around the walls between a sampled start and a sampled goal [m]; a cell is 0.2 m wide."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        super().__post_init__()
        if not self.success_radius < self.min_path <= 0.8:
            raise ValueError(f"min_path must be above success_radius and at most 0.8, got {self.min_path}")


class PointMazeEnv(PointEnv):
    """Bring a point through a maze to where it is in a goal picture.

    The maze has 5 x 5 cells of 0.2 m; thin
    walls, 4 cm thick, stand between some of them. The point is a disc of 0.13 m in diameter, so it just fits.

    Frame and actions are those of `vjepa_wm.envs.plane.point_env.PointEnv`.

    Observation:

    | key   | entry | meaning                                  | range        | unit |
    | ----- | ----- | ---------------------------------------- | ------------ | ---- |
    | image |       | camera from above, uint8 (S, S, 3), RGB  |              |      |
    | state | 0-1   | x, y of the middle of the point, float32 | -0.5 .. 0.5  | m    |

    Start and goal: each in a cell, all cells as likely, at a place that is uniform among those where the point touches
    no wall; the shortest way from one to the other is at least `min_path` (0.6 m) long. `options` of `reset` may give
    "start" and "goal", states (2,). The goal picture is that of the exact goal state.

    Layouts, which are a factor of the variation:

    | use       | names                                                                |
    | --------- | -------------------------------------------------------------------- |
    | default   | default (a U)                                                        |
    | training  | default, medium, rooms, loops, snake, comb, spiral, winding          |
    | held out  | ring, hall, pinwheel, knot, branches                                 |
    | drawn     | maze_0 to maze_9999, made by a rule; none is a held-out one                |

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

    config: PointMazeConfig

    def __init__(self, config: PointMazeConfig | None = None) -> None:
        """Build the simulation.

        Args:
            config: options; None: the defaults.
        """
        config = config or PointMazeConfig()
        super().__init__(config, PointScene(config, scene=Path(__file__).with_name("scene.xml"), layouts=MAZES))
        self._roadmaps: dict[str, Roadmap] = {}

    def _are_apart(self, start: np.ndarray, goal: np.ndarray) -> bool:
        layout = self._plane.layout
        if layout not in self._roadmaps:
            self._roadmaps[layout] = Roadmap(self._plane.walls)
        return self._roadmaps[layout].length(start, goal) >= self.config.min_path
