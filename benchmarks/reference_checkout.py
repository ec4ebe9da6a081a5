"""Make a checkout of facebookresearch/vjepa2 importable; for the scripts beside this one, to compare with it."""

from __future__ import annotations

import sys
import types
import warnings


def open_checkout(folder: str) -> None:
    """Put `folder` on the import path, and names in place of what needs timm or torchvision, which nothing calls."""
    warnings.filterwarnings("ignore", category=FutureWarning)
    sys.path.insert(0, folder)
    timm = types.ModuleType("timm.models.layers")
    timm.drop_path = None
    augmentation = types.ModuleType("evals.video_classification_frozen.utils")  # the one that needs torchvision
    augmentation.make_transforms = None
    sys.modules |= {"timm": timm, "timm.models": timm, "timm.models.layers": timm, augmentation.__name__: augmentation}
