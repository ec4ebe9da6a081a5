"""Options that stand as one word on the command line.

Why this file exists: a list of settings of several fields each cannot be spelled as ordinary options; a type that is
annotated with `one_word` is read and written as a word of its own by the command line that is made from it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tyro.constructors import PrimitiveConstructorSpec


def one_word(
    kind: type | tuple[type, ...], form: str, parse: Callable[[str], Any], text: Callable[[Any], str]
) -> PrimitiveConstructorSpec[Any]:
    """Return what the command line needs to take a value as one word.

    Args:
        kind: class of the value, or classes.
        form: what help calls it.
        parse: reads the word; its ValueErrors are shown.
        text: writes it.
    """
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=form,
        instance_from_str=lambda texts: parse(texts[0]),
        is_instance=lambda value: isinstance(value, kind),
        str_from_instance=lambda value: [text(value)],
    )
