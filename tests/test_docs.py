"""The examples of the documentation, executed as they are written."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"


def examples() -> list[tuple[str, str]]:
    """Return the Python blocks of all pages, each with the name of its page."""
    found = []
    for page in sorted(DOCS.glob("*.md")):
        found += [(page.stem, code) for code in re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S)]
    return found


@pytest.mark.parametrize("code", [pytest.param(code, id=page) for page, code in examples() if page == "pretraining"])
def test_the_step_in_your_own_loop_runs(code, capsys):
    exec(compile(code, "docs/pretraining.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["0", "1", "2"]
    assert all(0.0 < float(line.split()[1]) < 10.0 for line in lines)
