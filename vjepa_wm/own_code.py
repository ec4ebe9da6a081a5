"""What a user's own file has under a name, `module:name` on the command line: a task, a planner, a cost, a proposal.

Why this file exists: whoever extends this package should not have to change it.
"""

from __future__ import annotations

import sys
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path

_WHILE_IMPORTED = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NameError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
)
"""What goes wrong when a user's file is run for the first time."""


def load_own(name: str, what: str, example: str) -> object:
    """Return what a module has under a name; the module can be imported, here or from the working directory.

    Args:
        name: `module:name`.
        what: what it shall be, for messages.
        example: how such a name looks, for messages.

    Returns:
        Whatever it is.

    Raises:
        ValueError: if it is not written so, the module cannot be imported or fails when it is, or has no such name.
    """
    module, _, attribute = name.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), attribute)):
        raise ValueError(f"{what} {name} must be written as in Python, for example {example}")
    here = str(Path.cwd())
    if here not in sys.path:  # where an installed command does not look; its worker processes take over this path
        sys.path.append(here)
    try:
        found = vars(import_module(module))
    except ModuleNotFoundError as error:
        raise ValueError(
            f"{what} {name} needs the module {error.name!r}, which cannot be imported; it is written as in "
            f"Python, for example {example} for {example.split(':')[1]} in {example.split(':')[0]}.py in {here}"
        ) from error
    except _WHILE_IMPORTED as error:
        raise ValueError(f"{what} {name} cannot be imported: {type(error).__name__}: {error}") from error
    if attribute not in found:
        close = get_close_matches(attribute, found, n=1)
        hint = f", did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"{what} {name} is not there: {module} has no {attribute!r}{hint}")
    return found[attribute]
