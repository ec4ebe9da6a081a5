"""One episode towards a goal picture."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np

from vjepa_wm.checks import check_at_least
from vjepa_wm.data.media.pictures import read_picture
from vjepa_wm.data.media.video import write_video
from vjepa_wm.envs import find_task
from vjepa_wm.evaluation.drawing import draw_episode
from vjepa_wm.evaluation.evaluated_episode import play_episode
from vjepa_wm.evaluation.protocol import make_protocol
from vjepa_wm.evaluation.protocol_files import load_protocol, shipped_protocols
from vjepa_wm.models.precision import Precision
from vjepa_wm.safe_files import write_bytes
from vjepa_wm.stages.planner_options import PlannerOptions
from vjepa_wm.stages.planning import StandRecipe

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class PlanConfig:
    """Bring the robot to one goal picture and write a video of it."""

    out: Path
    """Folder for `plan.mp4`, `plan.gif` and `goal.png`."""
    env: str = "reach"
    """Which task; `vjepa-wm envs` lists them. One of your own: module:name."""
    goal_image: Path | None = None
    """Picture to reach (png or jpg, as the environment's camera sees it; of one of another size the centre square is
    taken and resized); none: one is rendered from an exact state."""
    checkpoint: str | None = None
    """World model: a folder, a file of V-JEPA 2-AC weights, or their name; none: the released one of the task."""
    planner: PlannerOptions = field(default_factory=PlannerOptions)
    """How to plan."""
    steps: int | None = None
    """Actions to take; none: as many as the task's protocol has."""
    seed: int = 0
    """Decides start, goal and candidates."""
    precision: Precision = "auto"
    """auto takes bf16 where the processor has it."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_at_least(1, steps=self.steps)
        check_at_least(0, seed=self.seed)


def centre_square(goal_image: np.ndarray, camera: tuple[int, ...]) -> np.ndarray:
    """Return what of a goal picture is looked at, and say so where it is not as the camera's pictures are.

    Args:
        goal_image: (height, width, 3) uint8.
        camera: shape of the camera's pictures.

    Returns:
        The largest square in its middle, (S, S, 3); what encodes it also resizes it.
    """
    height, width = goal_image.shape[:2]
    if goal_image.shape == camera:
        return goal_image
    side = min(height, width)
    logger.warning(
        "the goal picture has %d x %d pixels, the camera's pictures have %d x %d; its centre square of %d x %d is "
        "taken and resized",
        *(width, height, camera[1], camera[0], side, side),
    )
    top, left = (height - side) // 2, (width - side) // 2
    return goal_image[top : top + side, left : left + side]


def run_plan(config: PlanConfig) -> None:
    """Play one episode towards a goal picture, printing every step, and write its video.

    Raises:
        FileNotFoundError: if the goal picture does not exist.
        ValueError: if the world model does not fit the task.
    """
    goal_image = None if config.goal_image is None else read_picture(config.goal_image)
    task = find_task(config.env)
    recipe = StandRecipe(
        task=config.env, checkpoint=config.checkpoint, planner=config.planner, precision=config.precision
    )
    agent, env, _ = recipe.make_stand("world_model")
    if goal_image is not None:
        goal_image = centre_square(goal_image, env.observation_space["image"].shape or ())
    settings: dict[str, Any] = {"steps": task.usual_steps}
    if config.env in shipped_protocols():  # whose budget, and whose way of showing ordered pictures, is the task's
        shipped = load_protocol(config.env)
        settings = {"steps": shipped.steps, "goal_steps": shipped.goal_steps}
    protocol = make_protocol(env, name="plan", task=task.name, num_episodes=1, seed=config.seed, **settings)
    protocol = protocol.with_steps(config.steps or protocol.steps)
    played = play_episode(agent, env, protocol, protocol.episodes[0], seed=config.seed, goal_image=goal_image)
    result = played.result
    for step, (energy, distance) in enumerate(zip(result.energies or (), result.distances, strict=True)):
        known = "" if goal_image is not None else f"   distance {100 * distance:5.1f} cm"
        print(f"step {step:2d}   energy {energy:.4f}{known}")
    print(f"{result.seconds_per_action:.2f} s per action; the video is {config.out / 'plan.mp4'}")
    pictures = draw_episode(played)
    write_video(config.out / "plan.mp4", pictures, env.control_hz)
    gif = iio.imwrite("<bytes>", pictures, extension=".gif", duration=1000 // env.control_hz, loop=0)
    write_bytes(config.out / "plan.gif", gif)
    goal = iio.imwrite("<bytes>", played.goal_pictures[max(played.goal_pictures)], extension=".png")
    write_bytes(config.out / "goal.png", goal)
    env.close()
