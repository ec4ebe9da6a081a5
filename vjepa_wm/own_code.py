"""What a user's own file has under a name, `module:name` on the command line: a task, a planner, a cost.

Why this file exists: whoever extends this package should not have to change it.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path


def load_own(name: str, what: str, example: str) -> object:
    """Return what a module has under a name; the module can be imported, here or from the working directory.

    Args:
        name: `module:name`.
        what: what it shall be, for messages.
        example: how such a name looks, for messages.

    Returns:
        Whatever it is; None if the module has no such name.

    Raises:
        ValueError: if it is not written so, or the module cannot be imported.
    """
    module, _, attribute = name.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), attribute)):
        raise ValueError(f"{what} {name} must be written as in Python, for example {example}")
    here = str(Path.cwd())
    if here not in sys.path:  # where an installed command does not look; its worker processes take over this path
        sys.path.append(here)
    try:
        return getattr(import_module(module), attribute, None)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"{what} {name} needs the module {error.name!r}, which cannot be imported; it is written as in "
            f"Python, for example {example} for {example.split(':')[1]} in {example.split(':')[0]}.py in {here}"
        ) from error
    except (ImportError, SyntaxError) as error:
        raise ValueError(f"{what} {name} cannot be imported: {type(error).__name__}: {error}") from error
