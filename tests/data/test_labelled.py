"""Labels in the forms that data sets have them in: the same few files, described in every one of these forms."""

import io
import json
import pickle
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from vjepa_wm.data.clips.file_lists import ListedVideo
from vjepa_wm.data.labelled.cifar import read_array_pickle
from vjepa_wm.data.labelled.find_labelled import LabelOptions, find_labelled
from vjepa_wm.data.labelled.labelled_set import LabelError

SSV2_LABELS = {"Pushing something left": "1", "Holding something": "0"}


def touch(path, content=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def videos(root, names):
    for name in names:
        touch(root / name)


def class_tree(root):
    videos(root, ["b/3.mp4", "a/1.mp4", "a/2.png", "b/sub/4.MP4", "a/.hidden.mp4"])
    return root


def imagenet_tree(root):
    videos(root, ["train/a/1.jpg", "train/a/2.jpg", "train/b/3.jpg", "val/b/4.jpg"])
    return root


def plain_list(root):
    videos(root, ["x/1.mp4", "x/2.mp4", "x/two words.mp4", "y.mp4"])
    touch(root / "train.csv", "x/1.mp4 0\nx/2.mp4,1\n\nx/two words.mp4::2\n")
    touch(root / "val.csv", "y.mp4 1\n")
    return root / "train.csv", {"test": root / "val.csv"}


def kinetics_csv(root):
    videos(root, ["videos/play drums/abc_000005_000015.mp4", "videos/k_000000_000010.mp4"])
    header = "label,youtube_id,time_start,time_end,split,is_cc\n"
    touch(root / "k.csv", header + '"play drums",abc,5,15,train,0\nhug,gone,0,10,train,0\nhug,k,0,10,validate,0\n')
    return root / "k.csv", {"videos": root / "videos"}


def ucf101(root):
    touch(root / "classInd.txt", "1 ApplyLipstick\n2 Archery\n")
    for split in (1, 2, 3):
        touch(root / f"trainlist0{split}.txt", f"ApplyLipstick/v_{split}.avi 1\nArchery/v_a.avi 2\n")
        touch(root / f"testlist0{split}.txt", "Archery/v_b.avi\n")
    return root, {"split": 3}


def hmdb51(root):
    for name in ("cartwheel", "brush_hair"):
        touch(root / f"splits/{name}_test_split2.txt", f"{name}1.avi 1 \n{name}2.avi 2 \n{name}3.avi 0 \n")
    videos(root, ["cartwheel/cartwheel1.avi"])
    return root, {"split": 2}


def something(root):
    touch(root / "something-something-v2-labels.json", json.dumps(SSV2_LABELS))
    for part, ids in (("train", "12"), ("validation", "3")):
        entries = [
            {"id": k, "label": "holding a cup", "template": "Holding [something]"}
            if k != "1"
            else {"id": k, "template": "Pushing [something] left"}
            for k in ids
        ]
        touch(root / f"something-something-v2-{part}.json", json.dumps(entries))
    videos(root / "v", ["1.webm", "2.webm"])
    return root / "something-something-v2-train.json", {"videos": root / "v"}


EPIC = "narration_id,video_id,start_timestamp,stop_timestamp,start_frame,stop_frame,verb,verb_class,noun,noun_class\n"


def epic(root):
    touch(
        root / "train.csv", EPIC + "a,P01_01,00:00:10.50,00:01:02.00,1,2,take,0,cup,1\nb,P01_01,,,120,240,put,1,cup,1\n"
    )
    touch(root / "val.csv", EPIC + "c,P02_01,,,600,660,put,1,cup,1\nd,P02_01,,,600,660,put,1,lid,0\n")
    videos(root, ["P01/videos/P01_01.MP4"])
    return root / "train.csv", {"test": root / "val.csv", "anticipation_s": 1.0}


def cifar_files():
    pixels = np.arange(3 * 3072, dtype=np.uint32).astype(np.uint8).reshape(3, 3072)
    batch = {"data": pixels[:2], "labels": [1, 0]}
    files = {"data_batch_1": batch, "data_batch_2": batch, "test_batch": {"data": pixels[2:], "labels": [1]}}
    return files | {"batches.meta": {"label_names": ["plane", "car"]}}


def cifar10(root):
    root.mkdir(exist_ok=True)
    with tarfile.open(root / "cifar-10-python.tar.gz", "w:gz") as archive:
        for name, content in cifar_files().items():
            data = pickle.dumps(content, protocol=2)
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return root / "cifar-10-python.tar.gz", {}


def parquet(root):
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), (250, 0, 0)).save(stream, "PNG")
    named = {"info": {"features": {"label": {"names": ["plane", "car"], "_type": "ClassLabel"}}}}
    (root / "plain_text").mkdir(parents=True)
    for part, labels in (("train", [0, 1]), ("test", [1])):
        table = pa.table({"img": [{"bytes": stream.getvalue(), "path": None}] * len(labels), "label": labels})
        table = table.replace_schema_metadata({"huggingface": json.dumps(named)})
        pq.write_table(table, root / f"plain_text/{part}-00000-of-00001.parquet")
    return root, {}


def name_of(item):
    return (item if not hasattr(item, "label") else item.label).name


FORMS = [
    (plain_list, ("0", "1", "2"), [("1.mp4", 0), ("2.mp4", 1), ("two words.mp4", 2)], [("y.mp4", 1)]),
    (
        kinetics_csv,
        ("hug", "play drums"),
        [("abc_000005_000015.mp4", 1), ("gone_000000_000010.mp4", 0)],
        [("k_000000_000010.mp4", 0)],
    ),
    (ucf101, ("ApplyLipstick", "Archery"), [("v_3.avi", 0), ("v_a.avi", 1)], [("v_b.avi", 1)]),
    (
        hmdb51,
        ("brush_hair", "cartwheel"),
        [("brush_hair1.avi", 0), ("cartwheel1.avi", 1)],
        [("brush_hair2.avi", 0), ("cartwheel2.avi", 1)],
    ),
    (something, ("Holding something", "Pushing something left"), [("1.webm", 1), ("2.webm", 0)], [("3", 0)]),
    (lambda root: (imagenet_tree(root), {}), ("a", "b"), [("1.jpg", 0), ("2.jpg", 0), ("3.jpg", 1)], [("4.jpg", 1)]),
    (
        cifar10,
        ("plane", "car"),
        [(f"cifar-10-python.tar.gz#{k}", label) for k, label in enumerate([1, 0, 1, 0])],
        [("cifar-10-python.tar.gz#0", 1)],
    ),
    (
        parquet,
        ("plane", "car"),
        [("train-00000-of-00001.parquet#0", 0), ("train-00000-of-00001.parquet#1", 1)],
        [("test-00000-of-00001.parquet#0", 1)],
    ),
]


@pytest.mark.parametrize(("write", "names", "train", "test"), FORMS)
def test_every_form_gives_items_classes_and_splits(write, names, train, test, tmp_path):
    path, options = write(tmp_path)
    sets = find_labelled(path, LabelOptions(**options), 0)
    for one, wanted in zip(sets, (train, test), strict=True):
        assert one.classes == {"class": names}
        assert [(name_of(item), int(label)) for item, label in zip(one.items, one.labels[:, 0], strict=True)] == wanted


def test_a_folder_of_folders_is_split_in_every_class(tmp_path):
    train, test = find_labelled(class_tree(tmp_path), LabelOptions(test_share=0.3), 0)
    names = sorted(name_of(item) for item in (*train.items, *test.items))
    assert names == ["1.mp4", "2.png", "3.mp4", "4.MP4"]
    assert train.labels[:, 0].tolist() == test.labels[:, 0].tolist() == [0, 1]
    again = find_labelled(tmp_path, LabelOptions(test_share=0.3), 0)[1]
    assert again.items == test.items
    others = {tuple(find_labelled(tmp_path, LabelOptions(test_share=0.3), seed)[1].items) for seed in range(8)}
    assert len(others) > 1


def test_epic_kitchens_asks_for_verb_noun_and_action_and_shows_what_was_before(tmp_path):
    path, options = epic(tmp_path)
    train, test = find_labelled(path, LabelOptions(**options), 0)
    assert train.classes == {"verb": ("take", "put"), "noun": ("0", "cup"), "action": ("take cup", "put cup")}
    assert train.labels.tolist() == [[0, 1, 0], [1, 1, 1]]
    assert test.labels.tolist() == [[1, 1, 1]]  # the pair of d is not in training
    where = tmp_path / "P01/videos/P01_01.MP4"
    assert train.items == [
        ListedVideo(path=where, start_s=5.5, end_s=9.5),
        ListedVideo(path=where, start_s=0.0, end_s=1.0),
    ]


def test_pictures_of_cifar_are_turned_to_rows_and_colours(tmp_path):
    path, _ = cifar10(tmp_path)
    item = find_labelled(path, LabelOptions(), 0)[1].items[0]
    np.testing.assert_array_equal(
        item.read(0)[1, 2], cifar_files()["test_batch"]["data"][0][[34, 1024 + 34, 2048 + 34]]
    )


def test_a_pickle_runs_nothing():
    class Harm:
        def __reduce__(self):
            return (print, ("run",))

    with pytest.raises(LabelError, match=r"x is refused: it would run __builtin__.print; nothing was run"):
        read_array_pickle(pickle.dumps({"data": Harm()}, protocol=2), "x")


MISTAKES = [
    ("a.csv", "a.mp4 0\nb.mp4\n", "line 2 of PATH must be the path of a video or picture and a label, got 'b.mp4'"),
    ("a.csv", "a.mp4 0\nb.mp4 one\n", "line 2 of PATH: the label must be a number, as that of line 1 of PATH is"),
    ("a.csv", "a.mp4 one\nb.mp4 2\n", "line 2 of PATH: the label must be a name, as 'one' of line 1 of PATH is"),
    ("a.csv", "a.mp4 0\nb.mp4 0\n", "PATH must have items of at least two classes to tell apart, got 2 items of ['0']"),
    ("a.csv", "path,label\na.mp4,x\nb.mp4\n", "line 3 of PATH must have 2 values as the header has, got 1"),
    ("a.csv", "path,label\na.mp4,\n", "line 2 of PATH must have a path and a label"),
    ("a.csv", "\n", "PATH names no video or picture"),
    ("a.csv", "a.mp4 0\nb.mp4 1\n", "cannot be split with the share 0.2: class '0' has 1 item; give files of its own"),
    ("a.json", "[]", "labels must be a folder, a list (.csv, .tsv, .txt) or json, got PATH"),
    ("a.csv", EPIC + "a,P,00:00:1x.5,00:00:02.00,1,2,take,0,cup,1\n", "line 2 of PATH is no annotation of an action"),
]


@pytest.mark.parametrize(("name", "content", "message"), MISTAKES)
def test_a_broken_line_is_told_by_its_place(name, content, message, tmp_path):
    touch(tmp_path / name, content)
    with pytest.raises(LabelError) as error:
        find_labelled(tmp_path / name, LabelOptions(), 0)
    assert message.replace("PATH", str(tmp_path / name)) in str(error.value)


@pytest.mark.parametrize(
    ("write", "file", "content", "message"),
    [
        (plain_list, "val.csv", "y.mp4 3\n", "line 1 of PATH: unknown label '3'; there are 3 classes"),
        (
            ucf101,
            "trainlist03.txt",
            "Archry/v.avi 2\n",
            "line 1 of PATH: unknown label 'Archry', did you mean 'Archery'?",
        ),
        (ucf101, "testlist03.txt", "Archery/v.avi 2\n", "line 1 of PATH must have 1 word, got 'Archery/v.avi 2'"),
        (
            hmdb51,
            "splits/cartwheel_test_split2.txt",
            "x.avi 4\n",
            "line 1 of PATH must be a video and 0, 1 or 2, got '4'",
        ),
        (something, "something-something-v2-validation.json", '[{"id": 1}]', "entry 1 of PATH must have an id and a"),
        (something, "something-something-v2-validation.json", "{", "PATH is not valid json"),
    ],
)
def test_a_broken_split_file_is_told_by_its_place(write, file, content, message, tmp_path):
    path, options = write(tmp_path)
    touch(tmp_path / file, content)
    with pytest.raises(LabelError) as error:
        find_labelled(path, LabelOptions(**options), 0)
    assert message.replace("PATH", str(tmp_path / file)) in str(error.value)


def test_a_split_without_files_and_a_class_without_a_folder_are_told(tmp_path):
    path, _ = ucf101(tmp_path / "ucf")
    with pytest.raises(LabelError, match=r"split must be one that .* has files of, got 4: trainlist04.txt is missing"):
        find_labelled(path, LabelOptions(split=4), 0)
    videos(imagenet_tree(tmp_path / "tree"), ["val/c/1.jpg"])
    with pytest.raises(LabelError, match="val/c: unknown label 'c'; there are 2 classes"):
        find_labelled(tmp_path / "tree", LabelOptions(), 0)
