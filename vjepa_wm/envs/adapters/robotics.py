"""Environments of gymnasium-robotics, which is an extra."""

from __future__ import annotations

from typing import Any

import gymnasium

RoboticsEnv = Any
"""An environment of gymnasium-robotics, which has no types: its `data` and `model`, and what its task adds to them."""


def make_robotics(name: str) -> RoboticsEnv:
    """Make an environment of gymnasium-robotics, as its authors have it.

    Args:
        name: as for `gymnasium.make`.

    Returns:
        The environment, without wrappers.

    Raises:
        ModuleNotFoundError: if the extra is not installed.
    """
    try:
        import gymnasium_robotics
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{name} needs gymnasium-robotics, which the extra vjepa_wm[robotics] brings", name=error.name
        ) from error
    gymnasium.register_envs(gymnasium_robotics)
    return gymnasium.make(name).unwrapped
