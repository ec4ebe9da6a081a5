"""Files that this package reads, damaged: each case was found by scripts/fuzz.py, which makes thousands of them.

A case is one line: the kind and the name of a border in `scripts/fuzzing/`, what is changed in its file, and
the words of the error.
"""

import json
import zlib
from io import BytesIO

import fuzz
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fuzzing.border import Border
from fuzzing.borders import BORDERS
from fuzzing.label_borders import EPIC, KINETICS

from vjepa_wm.data.media.pictures import read_picture


def text(content):
    """Replace all of the file."""
    return lambda old: content


def entry(path, value):
    """Replace an entry of a json file, by the keys on the way to it."""

    def change(old):
        values = json.loads(old)
        *way, last = path
        owner = values
        for key in way:
            owner = owner[key]
        owner[last] = value
        return json.dumps(values).encode()

    return change


def without(key):
    """Leave an entry of a json file out."""
    return lambda old: json.dumps({name: value for name, value in json.loads(old).items() if name != key}).encode()


def other_sum(old):
    """Give a part of a png another check sum."""
    end = old.rindex(b"IEND") - 4
    return old[: end - 4] + zlib.crc32(b"other").to_bytes(4, "big") + old[end:]


def cells(name, value):
    """Replace what stands in a column of a parquet file."""

    def change(old):
        table, file = pq.read_table(BytesIO(old)), BytesIO()
        place = table.column_names.index(name)
        pq.write_table(table.set_column(place, name, pa.array([value] * len(table))), file)
        return file.getvalue()

    return change


def action(values):
    """Replace the actions of EPIC-KITCHENS by one."""
    return lambda old: EPIC.encode() + b"\nP01_1," + values + b",put,cup\n"


DEEP = b"[" * 99_999
DAMAGED = [
    ("csv", "list", text("a.mp4\n".encode("utf-16")[:-1]), r"list\.csv begins as UTF-16 does and goes on as no text"),
    ("csv", "list", text(b"x" * 999 + b"\nnotes.md\n"), r"line 2 of .*list\.csv must begin with a path"),
    ("csv", "labels", text(b"\xff"), r"list\.csv is no text in UTF-8 or UTF-16"),
    ("csv", "labels", text("a.mp4,x\nb.mp4,y\nc.mp4\n".encode("utf-16")), r"line 3 of .*list\.csv must be the path"),
    ("csv", "labels", text(b"a.mp4,0\nb.mp4,999999999999\n"), r"line 2 of .*list\.csv: the number of a class must be"),
    ("csv", "labels", text(b"a.mp4,0\nb.mp4," + b"9" * 5000 + b"\n"), r"list\.csv: the number of a class must be"),
    ("csv", "labels, Kinetics", text(KINETICS.encode() + b'\nb,"x'), r"line 2 of .*k\.csv is no csv"),
    (
        "csv",
        "labels, Kinetics",
        text(KINETICS.encode() + b"\nb,x,inf,2,train\n"),
        r"line 2 of .*k\.csv must have the n",
    ),
    ("csv", "labels, EPIC-KITCHENS", text(EPIC.encode() + b'\na,"'), r"line 2 of .*e\.csv is no csv"),
    ("csv", "labels, EPIC-KITCHENS", action(b"00:00:01,00:00:inf,0,1"), r"line 2 of .*e\.csv is no annotation"),
    (
        "csv",
        "labels, EPIC-KITCHENS",
        action(b"00:00:01,00:00:02,0,1000000000000"),
        r"line 2 of .*e\.csv: the number",
    ),
    ("csv", "names", text(b"\xff\xfe\n"), r"names\.txt is no text"),
    ("csv", "metrics", text(b"\xff\xfe\n"), r"metrics\.csv is damaged"),
    ("csv", "metrics", text(b"step,loss\n1," + b"9" * 200_000 + b"\n"), r"metrics\.csv is damaged: field larger"),
    ("csv", "metrics", text(b'step,loss\n1,"2\n'), r"metrics\.csv is damaged: unexpected end"),
    ("csv", "metrics, gone on with", text(b"loss\n1\n"), r"metrics\.csv must have a column 'step'"),
    ("csv", "metrics, gone on with", text(b"step,step\n1,1\n"), r"metrics\.csv must have no column twice"),
    ("csv", "metrics, gone on with", text(b"step,loss\n1e999,1\n"), r"metrics\.csv is damaged: row 1"),
    ("csv", "metrics, gone on with", text(b"step,loss\n1,1,1\n"), r"metrics\.csv is damaged: row 1"),
    ("picture", "png", other_sum, r"picture\.png as a picture: broken PNG"),
    ("picture", "classes of pixels", other_sum, r"labels\.png cannot be read as labels: broken PNG"),
    ("parquet", "tasks, appended to", text(b"PAR1"), r"tasks\.parquet as parquet"),
    ("parquet", "numbers", cells("timestamp", True), r"'timestamp' must hold one number a row in .*file-000\.parquet"),
    ("parquet", "rows of episodes", cells("length", 2**58), r"length must be at most 10,000,000, got 288"),
    ("json", "train", text(DEEP), r"train\.json is not valid json"),
    ("json", "labels", text(DEEP), r"labels\.json is not valid json"),
    ("json", "encoder", text(DEEP), r"config\.json is not valid json"),
    ("json", "latents", text(DEEP), r"store\.json is damaged"),
    ("json", "latents", entry(["arrays", "z", "dtype"], None), r"store\.json is damaged"),
    ("json", "latents", entry(["arrays", "z", "dtype"], "object"), r"store\.json is damaged"),
    ("json", "latents", entry(["arrays", "z", "shape"], [-1, 2]), r"store\.json is damaged"),
    ("json", "latents", entry(["arrays"], {}), r"store\.json is damaged"),
    ("json", "latents", entry(["episodes_done"], "3"), r"store\.json is damaged"),
    ("json", "latents", entry(["episodes_done"], float("inf")), r"store\.json is damaged"),
    ("json", "evaluation", text(DEEP), r"evaluation\.json is damaged"),
    ("json", "table of results", text(DEEP), r"results\.json is damaged"),
    ("json", "record", entry(["distances"], "far"), r"000\.json is damaged: distances .* must not be .far"),
    ("json", "record", entry(["reached"], [0, 0, 1]), r"000\.json is damaged: reached"),
    ("json", "record", entry(["states"], [[1], [1, 2], [1]]), r"000\.json is damaged: states"),
    ("json", "record", entry(["seed"], None), r"000\.json is damaged: seed"),
    ("json", "protocol", text(DEEP), r"protocol\.json is not a protocol"),
    ("json", "diagnosis", text(b'[["env", 1]]'), r"diagnosis_settings\.json is damaged: it must hold a json object"),
    ("json", "run", entry(["steps"], "many"), r"run\.json is not the record of a run"),
    ("json", "run", entry(["content"], 3), r"run\.json is not the record of a run"),
    ("json", "state", entry(["shards"], 10**12), r"state\.json is damaged"),
    ("json", "data set, appended to", without("total_frames"), r"total_frames must be a count in .*info\.json"),
    ("json", "data set, appended to", entry(["total_frames"], 14), r"total_frames is 14 in .*the episodes have \[15\]"),
    ("json", "statistics, appended to", text(b"{}"), r"must be numbers of shape .* in .*stats\.json"),
    ("json", "statistics, appended to", entry(["action", "mean"], [1.0]), r"mean of 'action' .* in .*stats\.json"),
]


@pytest.mark.parametrize(("kind", "name", "change", "words"), DAMAGED)
def test_it_is_named_with_what_is_wrong(kind, name, change, words, tmp_path):
    border = next(border for border in BORDERS[kind] if border.name == name)
    path = border.make(tmp_path)
    path = path if border.file is None else tmp_path / border.file
    border.read(tmp_path)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(border.errors, match=words):
        border.read(tmp_path)


@pytest.mark.parametrize("kind", ["csv", "json", "picture"])
def test_a_few_of_the_files_that_the_script_makes(kind, tmp_path):
    found = {}
    for seed in range(2 * len(BORDERS[kind])):
        border, path = fuzz.make_file(kind, seed, tmp_path, tmp_path / f"{seed}")
        found[seed] = fuzz.judge(border, tmp_path / f"{seed}", path)
    assert {seed: verdict for seed, verdict in found.items() if verdict[0] not in fuzz.FINE} == {}
    assert {verdict[0] for verdict in found.values()} == set(fuzz.FINE)


def test_the_script_tells_what_is_wrong(tmp_path):
    border, path = fuzz.make_file("picture", 1, tmp_path, tmp_path / "here")
    path.write_bytes(b"no picture")
    assert fuzz.judge(border, path.parent, path) == ("refused", "")
    accepts = Border("any", make=border.make, read=lambda folder: None, errors=(), reference=read_picture)
    assert fuzz.judge(accepts, path.parent, path)[0] == "accepted"
    fails = Border("any", make=border.make, read=lambda folder: 1 / 0, errors=(ValueError,))
    assert fuzz.judge(fails, path.parent, path)[0] == "traceback"
