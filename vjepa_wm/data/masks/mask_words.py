"""Mask settings as single words of the command line, for example parts,context=0.8:0.2,targets=0.2:0.8.

Why this file exists: which options a setting has depends on its kind, so that a list of settings of any kinds cannot be
spelled as ordinary options.
"""

from __future__ import annotations

import dataclasses
from types import NoneType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from vjepa_wm.checks import did_you_mean
from vjepa_wm.data.masks.multi_block import MultiBlockMask
from vjepa_wm.data.masks.parts import PartsMask
from vjepa_wm.data.masks.samplers import FutureMask, ImageBlockMask, MaskSetting, TubeMask
from vjepa_wm.one_word import one_word

KINDS: dict[str, type[MaskSetting]] = {
    "blocks": MultiBlockMask,
    "tubes": TubeMask,
    "images": ImageBlockMask,
    "future": FutureMask,
    "parts": PartsMask,
}
_FORM = "KIND,option=value,..."


def parse_mask(text: str) -> MaskSetting:
    """Read a setting as it stands on the command line; several numbers of an option are parted by colons.

    Raises:
        ValueError: if the kind or an option is unknown, or a value cannot be.
    """
    kind, *parts = text.split(",")
    if kind not in KINDS:
        raise ValueError(
            f"a mask must be {_FORM}, unknown kind {kind!r}{did_you_mean(kind, KINDS)} there are {', '.join(KINDS)}"
        )
    hints = get_type_hints(KINDS[kind])
    values: dict[str, Any] = {}
    for part in parts:
        name, _, value = part.partition("=")
        if name not in hints:
            raise ValueError(
                f"a mask of kind {kind} has no option {name!r}{did_you_mean(name, hints)} it has {', '.join(hints)}"
            )
        try:
            values[name] = _read(hints[name], value)
        except (KeyError, ValueError):
            raise ValueError(f"{name} of the mask {text!r} cannot be {value!r}") from None
    return KINDS[kind](**values)


def mask_text(mask: MaskSetting) -> str:
    """Return what `parse_mask` reads: the kind, and the options that are not as they are by themselves."""
    kind = next(name for name, cls in KINDS.items() if type(mask) is cls)
    words = [kind]
    for field in dataclasses.fields(mask):
        value = getattr(mask, field.name)
        if value != field.default:
            numbers = value if isinstance(value, tuple) else (value,)
            words.append(f"{field.name}={':'.join(str(number).lower() for number in numbers)}")
    return ",".join(words)


def _read(hint: object, text: str) -> object:
    """Return the value of an option of that type."""
    if get_origin(hint) is tuple:
        return tuple(float(number) for number in text.split(":"))
    kinds = set(get_args(hint)) - {NoneType} or {hint}
    if bool in kinds:
        return {"true": True, "false": False}[text]
    for number in (int, float):
        if number in kinds:
            return number(text)
    return text


MaskWord = Annotated[MaskSetting, one_word(tuple(KINDS.values()), _FORM, parse_mask, mask_text)]
"""A mask setting as one word of the command line."""
