"""Make a checkout of facebookresearch/vjepa2 importable; for the scripts beside this one, to compare with it."""

from __future__ import annotations

import sys
import types
import warnings


def open_checkout(folder: str) -> None:
    """Put `folder` on the import path, with what the reference needs of timm, a name that nothing calls here."""
    warnings.filterwarnings("ignore", category=FutureWarning)
    sys.path.insert(0, folder)
    timm = types.ModuleType("timm.models.layers")
    timm.drop_path = None
    sys.modules |= {"timm": timm, "timm.models": timm, "timm.models.layers": timm}
