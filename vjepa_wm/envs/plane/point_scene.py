"""The simulated plane: a point that is moved by displacements, and walls whose layout changes without compiling again.

Letters: W walls. Walls are rectangles x_low, y_low, x_high, y_high [m].
"""

from __future__ import annotations

from pathlib import Path

import mujoco
import numpy as np

from vjepa_wm.envs.goal_env import GoalEnvConfig
from vjepa_wm.envs.plane.geometry import HALF_WIDTH
from vjepa_wm.envs.scene import Scene
from vjepa_wm.envs.variation.value_types import Values

# Of 5 ms each, together one control step at CONTROL_HZ: in the first the point goes; in the others it comes to rest,
# even if it is not there yet because it still slides around a corner.
GO_SUBSTEPS, REST_SUBSTEPS = 25, 15
BELOW_FLOOR = -0.2  # height of the middle of a wall that a layout lacks [m]


class PointScene(Scene):
    """A point among walls, seen from above.

    Attributes:
        layout: name of the one that is there now.
        num_cells: number of its cells in a row and in a column.
        walls: the walls of it, first the four around, (W, 4) float32.
    """

    def __init__(self, config: GoalEnvConfig, *, scene: Path, layouts: Values) -> None:
        """Load the model and put up the default layout.

        Args:
            config: what its pictures are like.
            scene: file that includes `plane.xml`.
            layouts: drawings of the layouts there are, of as many cells as the file.
        """
        super().__init__(
            scene,
            image_size=config.image_size,
            cameras=config.cameras,
            renderer=config.renderer,
        )
        self.factors["layout"] = layouts
        self.variation["layout"] = "default"
        names = [self.model.geom(k).name for k in range(self.model.ngeom)]
        self._inner = [k for k, name in enumerate(names) if name.startswith(("beside", "between"))]
        self._outer = [names.index(name) for name in ("west", "east", "south", "north")]
        self.set_layout("default")

    def set_layout(self, name: str) -> None:
        """Raise the walls that a layout has and lower the others into the floor, where nothing sees or touches them.

        Nothing else changes: the point stays where it is, which may then be in a wall, so place it again.

        Args:
            name: of the layout.

        Raises:
            ValueError: if there is none of that name.
        """
        layouts = self.factors["layout"]
        if name not in layouts:
            raise ValueError(f"layout must be one of {', '.join(layouts.names())}, got {name!r}")
        drawing = layouts[name].strip().splitlines()
        self.layout, self.num_cells = name, len(drawing) // 2
        for k in self._inner:
            x, y, _ = self.model.geom_pos[k]
            row, column = (round((HALF_WIDTH + along) * self.num_cells / HALF_WIDTH) for along in (-y, x))
            is_there = drawing[row][column] != " "
            self.model.geom_pos[k, 2] = self.model.geom_size[k, 2] if is_there else BELOW_FLOOR
        shown = self._outer + [k for k in self._inner if self.model.geom_pos[k, 2] > 0.0]
        middle, half = self.model.geom_pos[shown, :2], self.model.geom_size[shown, :2]
        self.walls = np.hstack([middle - half, middle + half]).astype(np.float32)
        self._refresh(self.data)

    def position(self) -> np.ndarray:
        """Return where the point is, (2,) float64 [m]."""
        return self.data.qpos.copy()

    def place(self, position: np.ndarray) -> None:
        """Put the point at rest exactly at a place, (2,) [m]."""
        self._set_at_rest(self.data, position)

    def move(self, action: np.ndarray) -> None:
        """Run one control step: head for the measured place plus a displacement, (2,) [m]."""
        self.data.ctrl[:] = self.data.qpos + action
        mujoco.mj_step(self.model, self.data, GO_SUBSTEPS)
        self.data.ctrl[:] = self.data.qpos
        mujoco.mj_step(self.model, self.data, REST_SUBSTEPS)
        self._refresh(self.data)

    def render_position(self, position: np.ndarray) -> dict[str, np.ndarray]:
        """Look at the point at rest at a place, leaving it where it is.

        Args:
            position: (2,) [m].

        Returns:
            The pictures, as `pictures` names them, and `state`, the place, (2,) float32.
        """
        self._set_at_rest(self._scratch, position)
        return self._pictures(self._scratch) | {"state": self._scratch.qpos.astype(np.float32)}

    def _set_at_rest(self, data: mujoco.MjData, position: np.ndarray) -> None:
        mujoco.mj_resetData(self.model, data)
        data.qpos[:] = data.ctrl[:] = position
        self._refresh(data)
