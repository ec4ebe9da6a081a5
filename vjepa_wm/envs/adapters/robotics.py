"""Environments of gymnasium-robotics, which is an extra."""

from __future__ import annotations

import gymnasium


def make_robotics(name: str) -> gymnasium.Env:
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
