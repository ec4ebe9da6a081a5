"""From raw video to a robot that reaches a goal picture: V-JEPA 2 encoders, latent world models, planning.

The functions that load models, and the training step, are here by their short names; torch is imported when the first
of them is asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vjepa_wm.models.load import (
        load_ac_predictor,
        load_encoder,
        load_linear_classifier,
        load_predictor,
        load_probe,
        load_world_model,
    )
    from vjepa_wm.training.pretrain.vjepa import VJEPA

__version__ = "0.1.0"
__all__ = [
    "VJEPA",
    "load_ac_predictor",
    "load_encoder",
    "load_linear_classifier",
    "load_predictor",
    "load_probe",
    "load_world_model",
]


def __getattr__(name: str) -> object:
    """Import what has a short name when it is first used."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(
        import_module("vjepa_wm.training.pretrain.vjepa" if name == "VJEPA" else "vjepa_wm.models.load"), name
    )


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
