"""Published checkpoints by name: what each is, where it comes from, and where it may already lie on this machine.

Nothing is downloaded here. A name is looked for in the places where downloads usually end up; if it is in none of
them, the error tells the address and where to put the file.

Sources: facebookresearch/vjepa2, facebookresearch/jepa, facebookresearch/jepa-wms (hub files), huggingface.co/facebook.
"""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from pathlib import Path

import torch

from vjepa_wm.models.checkpoint import CheckpointError

CACHE_VARIABLE = "VJEPA_WM_CACHE"
_META = "https://dl.fbaipublicfiles.com"
_ENCODER = "video encoder and masked predictor"
_AC = "video encoder and action-conditioned predictor"
_PROBE = "attentive probe"


@dataclass(frozen=True)
class Release:
    """One published checkpoint."""

    name: str
    """Name of its torch hub function, name of its file, or Hugging Face id."""
    files: tuple[str, ...]
    """File names it is published under; none for a Hugging Face folder."""
    url: str
    """Where to fetch it."""
    holds: str
    """What it is, for people."""
    image_size: int
    """Side of the pictures it was made for [px]."""
    num_frames: int
    """Frames of the clips it was made for."""
    family: str = "V-JEPA 2"
    """V-JEPA 1, V-JEPA 2 or V-JEPA 2.1."""


def _vjepa2(name: str, file: str, size: str, image_size: int = 256, holds: str = _ENCODER) -> Release:
    return Release(name, (file,), f"{_META}/vjepa2/{file}", f"V-JEPA 2 {size}: {holds}", image_size, 64)


def _vjepa21(name: str, file: str, size: str) -> Release:
    url = f"{_META}/vjepa2/{file}"
    return Release(name, (file,), url, f"V-JEPA 2.1 {size}: {_ENCODER}", 384, 64, "V-JEPA 2.1")


def _vjepa1(name: str, size: str, image_size: int) -> Release:
    file = f"{name}.pth.tar"
    url = f"{_META}/jepa/{name}/{file}"
    return Release(name, (file,), url, f"V-JEPA {size}: {_ENCODER}", image_size, 16, "V-JEPA 1")


def _probe(name: str, what: str, image_size: int, num_frames: int) -> Release:
    return Release(
        name, (f"{name}.pt",), f"{_META}/vjepa2/evals/{name}.pt", f"V-JEPA 2 {_PROBE}: {what}", image_size, num_frames
    )


def _jepa_wms(name: str, file: str, what: str) -> Release:
    files = (file, f"{name}.pth.tar")
    return Release(name, files, f"{_META}/jepa-wms/{file}", f"action-conditioned predictor on ViT-g, {what}", 256, 64)


def _huggingface(name: str, what: str, image_size: int, num_frames: int) -> Release:
    url = f"https://huggingface.co/facebook/{name}"
    return Release(f"facebook/{name}", (), url, f"V-JEPA 2 {what}", image_size, num_frames)


RELEASES = (
    _vjepa2("vjepa2_vit_large", "vitl.pt", "ViT-L"),
    _vjepa2("vjepa2_vit_huge", "vith.pt", "ViT-H"),
    _vjepa2("vjepa2_vit_giant", "vitg.pt", "ViT-g"),
    _vjepa2("vjepa2_vit_giant_384", "vitg-384.pt", "ViT-g", 384),
    _vjepa2("vjepa2_ac_vit_giant", "vjepa2-ac-vitg.pt", "ViT-g", holds=_AC),
    _vjepa21("vjepa2_1_vit_base_384", "vjepa2_1_vitb_dist_vitG_384.pt", "ViT-B"),
    _vjepa21("vjepa2_1_vit_large_384", "vjepa2_1_vitl_dist_vitG_384.pt", "ViT-L"),
    _vjepa21("vjepa2_1_vit_giant_384", "vjepa2_1_vitg_384.pt", "ViT-g"),
    _vjepa21("vjepa2_1_vit_gigantic_384", "vjepa2_1_vitG_384.pt", "ViT-G"),
    _vjepa1("vitl16", "ViT-L", 224),
    _vjepa1("vith16", "ViT-H", 224),
    _vjepa1("vith16-384", "ViT-H", 384),
    _jepa_wms("vjepa2_ac_droid", "droid_vj2ac_noprop.pth.tar", "trained again by jepa-wms, without a state token"),
    _jepa_wms("vjepa2_ac_oss", "droid_vj2ac_oss-prop.pth.tar", "the V-JEPA 2-AC release packed again by jepa-wms"),
    _probe("ssv2-vitl-16x2x3", "Something-Something v2 on ViT-L", 256, 16),
    _probe("ssv2-vitg-384-64x2x3", "Something-Something v2 on ViT-g at 384 px", 384, 64),
    _probe("diving48-vitl-256", "Diving48 on ViT-L", 256, 32),
    _probe("diving48-vitg-384-32x4x3", "Diving48 on ViT-g at 384 px", 384, 32),
    _probe("ek100-vitl-256", "EPIC-KITCHENS-100 anticipation on ViT-L", 256, 32),
    _probe("ek100-vitg-384", "EPIC-KITCHENS-100 anticipation on ViT-g at 384 px", 384, 32),
    _huggingface("vjepa2-vitl-fpc64-256", f"ViT-L: {_ENCODER}", 256, 64),
    _huggingface("vjepa2-vith-fpc64-256", f"ViT-H: {_ENCODER}", 256, 64),
    _huggingface("vjepa2-vitg-fpc64-256", f"ViT-g: {_ENCODER}", 256, 64),
    _huggingface("vjepa2-vitg-fpc64-384", f"ViT-g: {_ENCODER}", 384, 64),
    _huggingface("vjepa2-vitl-fpc16-256-ssv2", f"ViT-L: {_ENCODER}, Something-Something v2 probe", 256, 16),
    _huggingface("vjepa2-vitg-fpc64-384-ssv2", f"ViT-g: {_ENCODER}, Something-Something v2 probe", 384, 64),
    _huggingface("vjepa2-vitl-fpc32-256-diving48", f"ViT-L: {_ENCODER}, Diving48 probe", 256, 32),
    _huggingface("vjepa2-vitg-fpc32-384-diving48", f"ViT-g: {_ENCODER}, Diving48 probe", 384, 32),
)


def release_of(path: Path) -> Release | None:
    """Return the release whose file name `path` has, or None."""
    return next((release for release in RELEASES if path.name in release.files), None)


def find_release(name: str) -> Release | None:
    """Return the release with this name, file name (ending or not) or Hugging Face id (owner or not), or None."""
    return next((release for release in RELEASES if name in spellings(release)), None)


def spellings(release: Release) -> tuple[str, ...]:
    """Return what a release may be called."""
    stems = (file.split(".", 1)[0] for file in release.files)
    return (release.name, release.name.removeprefix("facebook/"), *release.files, *stems)


def resolve(source: str | Path) -> Path:
    """Return the local file or folder that `source` means.

    Args:
        source: an existing path, or the name, file name or Hugging Face id of a published checkpoint, which is looked
            for in `$VJEPA_WM_CACHE` (default `~/.cache/vjepa_wm`), the torch hub and the Hugging Face caches.

    Raises:
        CheckpointError: if there is no such path, and the name is not known or its checkpoint nowhere on this machine.
    """
    path = Path(source).expanduser()
    if path.exists():
        return path
    release = find_release(str(source))
    if release is None:
        raise CheckpointError(unknown_name(str(source)))
    places = list(candidates(release))
    for place in places:
        if place.exists():
            return place
    looked = "\n".join(f"  {place}" for place in places)
    into = own_cache() / (release.files[0] if release.files else release.name.rsplit("/", maxsplit=1)[-1])
    raise CheckpointError(
        f"{source!s} ({release.holds}) is not on this machine; looked for\n{looked}\nFetch {release.url} and put it at "
        f"{into}, or name the path where it is"
    )


def own_cache() -> Path:
    """Return the folder for downloaded checkpoints."""
    return Path(os.environ.get(CACHE_VARIABLE) or "~/.cache/vjepa_wm").expanduser()


def huggingface_cache() -> Path:
    """Return the folder in which Hugging Face keeps its downloads."""
    if hub := os.environ.get("HF_HUB_CACHE"):
        return Path(hub).expanduser()
    return Path(os.environ.get("HF_HOME") or "~/.cache/huggingface").expanduser() / "hub"


def candidates(release: Release) -> list[Path]:
    """Return the places where a download of `release` may lie, best first."""
    cache = own_cache()
    if not release.files:
        folder = release.name.removeprefix("facebook/")
        return [cache / folder, cache / "facebook" / folder, snapshot(release.name)]
    places = [folder / file for folder in (cache, Path(torch.hub.get_dir()) / "checkpoints") for file in release.files]
    if "/jepa-wms/" in release.url:
        places += [snapshot("facebook/jepa-wms") / file for file in release.files]
    return places


def snapshot(model_id: str) -> Path:
    """Return the snapshot of a Hugging Face model in its cache: the one of `main`, or the only one.

    If there is none, the path says where it would be.
    """
    folder = huggingface_cache() / f"models--{model_id.replace('/', '--')}"
    head = folder / "refs" / "main"
    if head.is_file():
        return folder / "snapshots" / head.read_text().strip()
    found = sorted((folder / "snapshots").glob("*"))
    return found[0] if len(found) == 1 else folder / "snapshots" / "main"


def unknown_name(name: str) -> str:
    """Return the message for a source that is neither a path nor a known name."""
    if "/" in name and not name.startswith("facebook/"):
        return f"no checkpoint at {name}: there is no such file or folder"
    known = [release.name for release in RELEASES]
    close = difflib.get_close_matches(name, [spelling for release in RELEASES for spelling in spellings(release)], n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return (
        f"no file or folder at {name!r} and no published checkpoint of that name{hint or '.'} Known: {', '.join(known)}"
    )
