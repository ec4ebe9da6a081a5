"""What may happen to a file on its way here: bits, ranges and numbers of any; entries of json, cells of tables."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

Mutation = Callable[[bytes, np.random.Generator], bytes]
NEAR = 256
"""Bytes at both ends of a file where headers and indices stand, and every other mutation lands."""
ODD_NUMBERS = (0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)
ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 0.5, -0.0, 1e308, float("nan"), float("inf"), 10**7, 10**12, 10**30, -(10**30)),
    *("", "a", "3", "\0", "../../etc/passwd", "/dev/zero", "x" * 10_000, "\ud800", "{0}", "{video_key.__class__}"),
    *([], [[]], [None], [0], ["a"], [1e999], [1, [2, 3]], {}, {"": {}}, {"a": None}),
)
ODD_CELLS = (
    "",
    " ",
    "nan",
    "inf",
    "-1",
    "1e999",
    "9" * 400,
    "a",
    '"',
    '""',
    "\0",
    "\ufeff",
    "x" * 200_000,
    "0x1f",
    "\u0661",
)


def mutate_bytes(content: bytes, rng: np.random.Generator) -> bytes:
    """Change a file without knowing what it is, once to three times."""
    for _ in range(int(rng.integers(1, 4))):
        content = BYTES[int(rng.integers(len(BYTES)))](content, rng) or b"\0"
    return content


def _place(content: bytes, rng: np.random.Generator) -> int:
    if rng.random() < 0.5:
        return int(rng.integers(len(content)))
    near = int(rng.integers(min(NEAR, len(content))))
    return near if rng.random() < 0.5 else len(content) - 1 - near


def _range(content: bytes, rng: np.random.Generator) -> tuple[int, int]:
    begin = _place(content, rng)
    return begin, min(len(content), begin + int(2 ** rng.uniform(0, 11)))


def _flip(content: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(content)
    for _ in range(int(rng.integers(1, 9))):
        changed[_place(content, rng)] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _cut(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: _place(content, rng)]


def _zero(content: bytes, rng: np.random.Generator) -> bytes:
    begin, end = _range(content, rng)
    return content[:begin] + bytes(end - begin) + content[end:]


def _noise(content: bytes, rng: np.random.Generator) -> bytes:
    begin, end = _range(content, rng)
    return content[:begin] + rng.bytes(end - begin) + content[end:]


def _repeat(content: bytes, rng: np.random.Generator) -> bytes:
    begin, end = _range(content, rng)
    return content[:end] + content[begin:end] * int(rng.integers(1, 4)) + content[end:]


def _drop(content: bytes, rng: np.random.Generator) -> bytes:
    begin, end = _range(content, rng)
    return content[:begin] + content[end:]


def _splice(content: bytes, rng: np.random.Generator) -> bytes:
    begin, end = _range(content, rng)
    to = _place(content, rng)
    return content[:to] + content[begin:end] + content[to + end - begin :]


def _number(content: bytes, rng: np.random.Generator) -> bytes:
    size, place = int(2 ** rng.integers(4)), _place(content, rng)
    value = int(rng.choice(len(ODD_NUMBERS)))
    order = "little" if rng.random() < 0.5 else "big"
    return content[:place] + (ODD_NUMBERS[value] % 2 ** (8 * size)).to_bytes(size, order) + content[place + size :]


BYTES: tuple[Mutation, ...] = (_flip, _flip, _cut, _zero, _noise, _repeat, _drop, _splice, _number, _number)


def mutate_json(content: bytes, rng: np.random.Generator) -> bytes:
    """Change entries of a json file; now and then its bytes."""
    if rng.random() < 0.25:
        return mutate_bytes(content, rng)
    values = json.loads(content)
    for _ in range(int(rng.integers(1, 3))):
        values = _change_entry(values, rng)
    return json.dumps(values).encode()


def _change_entry(values: Any, rng: np.random.Generator) -> Any:
    places = list(_places(values))
    if not places or rng.random() < 0.03:
        return copy.deepcopy(ODD_VALUES[int(rng.integers(len(ODD_VALUES)))])
    owner, key = places[int(rng.integers(len(places)))]
    what = rng.random()
    if what < 0.65:
        owner[key] = copy.deepcopy(ODD_VALUES[int(rng.integers(len(ODD_VALUES)))])
    elif what < 0.8:
        del owner[key]
    elif what < 0.9:
        owner[key] = _wrapped(owner[key], rng)
    elif isinstance(owner, dict):
        owner[f"{key}x"] = owner.pop(key)
    else:
        owner.append(copy.deepcopy(owner[key]))
    return values


def _places(values: Any) -> Iterator[tuple[Any, Any]]:
    entries = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    for key, value in entries:
        yield values, key
        yield from _places(value)


def _wrapped(value: Any, rng: np.random.Generator) -> Any:
    """Return a value of another form than it has, as those have who write json by hand."""
    forms: tuple[Callable[[Any], Any], ...] = (
        str,
        lambda one: [one],
        lambda one: {"value": one},
        lambda one: [one] * 9,
    )
    return forms[int(rng.integers(len(forms)))](value)


def mutate_csv(content: bytes, rng: np.random.Generator) -> bytes:
    """Change cells and rows of a table; now and then its bytes."""
    if rng.random() < 0.25:
        return mutate_bytes(content, rng)
    rows = [line.split(",") for line in content.decode().splitlines()]
    for _ in range(int(rng.integers(1, 4))):
        row = rows[int(rng.integers(len(rows)))]
        place, odd = int(rng.integers(len(row) or 1)), ODD_CELLS[int(rng.integers(len(ODD_CELLS)))]
        what = int(rng.integers(6))
        if what < 2:
            row[place : place + 1] = [odd]
        elif what == 2:
            row[place:place] = [odd]
        elif what == 3:
            del row[place : place + 1]
        elif what == 4:
            rows.insert(int(rng.integers(len(rows))), list(row))
        else:
            rows.reverse()
    ends = ("\n", "\r\n", "\r", "\n\n")[int(rng.integers(4))]
    encoding = ("utf-8", "utf-8-sig", "utf-16")[int(rng.choice(3, p=(0.8, 0.1, 0.1)))]
    return ends.join([",".join(row) for row in rows] + [""] * int(rng.integers(2))).encode(encoding)


def mutate_parquet(content: bytes, rng: np.random.Generator) -> bytes:
    """Change a column of a parquet file; in every other case its bytes."""
    if rng.random() < 0.5:
        return mutate_bytes(content, rng)
    table = pq.read_table(BytesIO(content))
    for _ in range(int(rng.integers(1, 3))):
        table = _change_column(table, int(rng.integers(table.num_columns)), rng)
    file = BytesIO()
    pq.write_table(table, file)
    return file.getvalue()


def _change_column(table: pa.Table, place: int, rng: np.random.Generator) -> pa.Table:
    name, values = table.column_names[place], table.column(place).to_pylist()
    what, row = rng.random(), int(rng.integers(len(values) or 1))
    if what < 0.15 and table.num_columns > 1:
        return table.remove_column(place)
    if what < 0.25:
        return table.slice(0, row)
    if what < 0.35:
        return pa.concat_tables([table, table.slice(row)])
    if what < 0.6:
        values[row : row + 1] = [None] * len(values[row : row + 1])
    elif what < 0.8:
        values = [copy.deepcopy(ODD_VALUES[int(rng.integers(len(ODD_VALUES)))])] * len(values)
    else:
        values = [_wrapped(value, rng) for value in values] if rng.random() < 0.5 else values[::-1]
    try:
        changed = table.set_column(place, name, pa.array(values))
        pq.write_table(changed, BytesIO())
        return changed
    except (pa.ArrowException, OverflowError, UnicodeError):  # no file can hold that
        return table.remove_column(place) if table.num_columns > 1 else table


def mutate_safetensors(content: bytes, rng: np.random.Generator) -> bytes:
    """Change entries of the header of a safetensors file; in every other case its bytes."""
    if rng.random() < 0.5:
        return mutate_bytes(content, rng)
    size = int.from_bytes(content[:8], "little")
    header = _change_entry(json.loads(content[8 : 8 + size]), rng)
    packed = json.dumps(header).encode()
    return len(packed).to_bytes(8, "little") + packed + content[8 + size :]
