"""Dense probes and tracking: on pictures of squares whose labels are known, and against counting."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from vjepa_wm.cli import main
from vjepa_wm.data.labelled.dense_labels import DensePair, read_labels, read_pair, square_labels
from vjepa_wm.data.labelled.labelled_set import LabelError
from vjepa_wm.models.checkpoint import VIDEO_ENCODER, save_model
from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.encoder_config import VideoEncoderConfig
from vjepa_wm.training.dense.dense_probe import DenseFeatures, measure_depth, measure_segmentation
from vjepa_wm.training.dense.object_measures import boundary_measure, region_similarity
from vjepa_wm.training.dense.propagation import PropagationOptions, propagate

SIZE = VideoEncoderConfig(image_size=32, patch_size=8, embed_dim=48, depth=1, num_heads=2)
COLORS = np.array([(40, 40, 40), (220, 60, 60), (60, 60, 220)], np.uint8)


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Squares of two colours on the grid of patches: classes, depths in millimetres, and a video of one that moves."""
    root = tmp_path_factory.mktemp("dense")
    torch.manual_seed(0)
    save_model(VideoEncoder(SIZE), VIDEO_ENCODER, SIZE, root / "encoder")
    rng = np.random.default_rng(0)
    for kind in ("classes", "depths"):
        for part in ("images", "labels"):
            (root / kind / part).mkdir(parents=True)
        for k in range(10):
            labels = rng.integers(0, 3, (4, 4)).repeat(8, 0).repeat(8, 1)
            Image.fromarray(COLORS[labels]).save(root / kind / f"images/{k}.png")
            if kind == "classes":
                Image.fromarray(labels.astype(np.uint8)).save(root / f"classes/labels/{k}.png")
            else:
                np.save(root / f"depths/labels/{k}.npy", (1000 * labels).astype(np.uint16))  # 0 is not known
    for part in ("images", "labels"):
        (root / "video" / part / "one").mkdir(parents=True)
    for t in range(4):
        labels = np.zeros((32, 32), np.uint8)
        labels[8:16, 8 * t : 8 * t + 8] = 1
        Image.fromarray(COLORS[labels]).save(root / f"video/images/one/{t}.png")
        palette = Image.fromarray(labels, "P") if t == 0 else Image.fromarray(labels)
        palette.save(root / f"video/labels/one/{t}.png")
    return root


def measured(places, tmp_path, data, *options):
    words = ["--data", str(places / data), "--encoder", str(places / "encoder"), "--out", str(tmp_path / "out")]
    assert main(["dense", *words, "--precision", "fp32", *options]) == 0
    return json.loads((tmp_path / "out/results.json").read_text())


def test_classes_of_patches_are_told(places, tmp_path):
    found = measured(places, tmp_path, "classes", "--steps", "150")
    assert found["num_train"] == 8 and found["num_test"] == 2 and set(found["tried"]) == {"0.01", "0.001"}
    assert found["pixel_accuracy"] > 0.7 and found["miou"] > 0.5


def test_depths_of_patches_are_told_where_they_are_known(places, tmp_path):
    found = measured(places, tmp_path, "depths", "--task", "depth", "--depth-unit", "0.001", "--steps", "150")
    assert found["rmse_m"] < 0.4  # of 1 and 2 m, whose mean would be 0.5 off


def test_an_object_is_followed_by_its_features(places, tmp_path):
    found = measured(places, tmp_path, "video", "--task", "tracking")
    assert found["j_mean"] > 0.6 and found["f_mean"] > 0.5  # 0 if it stood still
    assert found["j_and_f"] == pytest.approx((found["j_mean"] + found["f_mean"]) / 2)
    assert found["videos"]["one"] == {"j": [found["j_mean"]], "f": [found["f_mean"]]}


def test_labels_follow_the_most_similar_patches():
    features = torch.zeros(3, 1, 4, 4)
    for t in range(3):
        features[t, 0, [t, 3 - t] if t != 1 else [1, 2], [0, 1]] = 1.0
        features[t, 0, :, 2] = 0.05
    first = torch.nn.functional.one_hot(torch.tensor([[1, 0, 0, 2]]), 3).float()
    one = PropagationOptions(neighbours=1, temperature=0.01)
    told = propagate(features, first, one).argmax(-1)
    assert told[1].tolist() == [[0, 1, 2, 0]]
    near = PropagationOptions(neighbours=1, temperature=0.01, radius=1, context=1)
    assert propagate(features, first, near)[1, 0].argmax(-1).tolist()[1:3] == [1, 2]


def test_measures_against_counting():
    truth = torch.tensor([[[0, 1], [1, 1]], [[2, 0], [0, 0]]])
    told = torch.tensor([[[1, 1], [0, 1]], [[2, 2], [0, 0]]])
    assert region_similarity(told, truth, 2).tolist() == [
        pytest.approx((2 / 4 + 1) / 2),
        pytest.approx((1 + 1 / 2) / 2),
    ]
    head = torch.nn.Linear(3, 3)
    torch.nn.init.eye_(head.weight), torch.nn.init.zeros_(head.bias)
    patches = torch.nn.functional.one_hot(told, 3).float()
    labels = truth.clone()
    labels[0, 0, 0] = 255
    found = measure_segmentation(head.requires_grad_(False), DenseFeatures(patches=patches, labels=labels), 3)
    assert found["pixel_accuracy"] == pytest.approx(5 / 7)
    assert found["miou"] == pytest.approx(np.mean([2 / 4, 2 / 3, 1 / 2]))
    depth = torch.nn.Linear(1, 1)
    torch.nn.init.ones_(depth.weight), torch.nn.init.zeros_(depth.bias)
    values = DenseFeatures(patches=torch.full((1, 2, 2, 1), 3.0), labels=torch.tensor([[[2.0, torch.nan], [4.0, 3.0]]]))
    assert measure_depth(depth.requires_grad_(False), values)["rmse_m"] == pytest.approx((2 / 3) ** 0.5)
    assert measure_depth(depth, values)["abs_rel"] == pytest.approx((1 / 2 + 1 / 4) / 3)


def left_of(*columns):
    """A mask of 64 x 64 pixels that ends before a column; given two, the second is that of the lower half."""
    mask = torch.zeros(1, 64, 64, dtype=torch.int64)
    for part, column in zip(mask.chunk(len(columns), dim=1), columns, strict=True):
        part[..., :column] = 1
    return mask


@pytest.mark.parametrize(
    ("told", "truth", "expected"),
    [
        (left_of(20), left_of(20), 1.0),
        (left_of(21), left_of(20), 1.0),  # as near as counts: 0.008 of the diagonal is 0.72 px, rounded up
        (left_of(22), left_of(20), 0.0),
        # The step of the told boundary is 10 px long: 33 of its 74 pixels are near, and 33 of the true one's 64.
        (left_of(20, 30), left_of(20), 2 * 33 / (74 + 64)),
        (left_of(20), left_of(20, 30), 2 * 33 / (74 + 64)),
        (left_of(0), left_of(20), 0.0),
        (left_of(20), left_of(0), 0.0),
        (left_of(0), left_of(0), 1.0),
        (left_of(64), left_of(0), 1.0),  # the edge of the frame is no boundary
    ],
)
def test_boundaries_with_known_answers(told, truth, expected):
    assert boundary_measure(told, truth, 1).tolist() == [pytest.approx(expected)]


def test_boundaries_of_several_objects_against_measuring_every_distance():
    rng = np.random.default_rng(0)

    def blobs():
        centres = rng.uniform(20, 140, (2, 2))
        far = np.linalg.norm(np.stack(np.mgrid[:160, :160], -1)[:, :, None] - centres, axis=-1)
        return np.where(far.min(-1) < 18, 1 + far.argmin(-1), 0)

    def edge(mask):
        rows, columns = [], []
        for r in range(160):
            for c in range(160):
                near = [mask[min(r + dr, 159), min(c + dc, 159)] for dr, dc in ((0, 1), (1, 0), (1, 1))]
                if any(one != mask[r, c] for one in near):
                    rows.append(r), columns.append(c)
        return np.stack((rows, columns), 1)

    def share_near(mine, other):
        return (np.linalg.norm(mine[:, None] - other[None], axis=-1).min(1) <= 2).mean()  # 0.008 * 226 px, rounded up

    truth = np.stack([blobs() for _ in range(2)])
    told = np.roll(truth, (2, 1), (1, 2))
    told[1, 100:] = 0
    expected = []
    for one in (1, 2):
        frames = [(edge(a == one), edge(b == one)) for a, b in zip(told, truth, strict=True) if (a == one).any()]
        precision, recall = (np.array([share_near(*pair[::way]) for pair in frames]) for way in (1, -1))
        expected.append((2 * precision * recall / (precision + recall)).sum() / 2)
    found = boundary_measure(torch.from_numpy(told), torch.from_numpy(truth), 2)
    assert found.tolist() == pytest.approx(expected)
    assert min(expected) > 0.2 and max(expected) < 1.0


def test_labels_are_cut_as_pictures_are():
    labels = np.arange(6 * 4).reshape(6, 4)
    assert square_labels(labels, 2).tolist() == [[labels[2, 1], labels[2, 3]], [labels[4, 1], labels[4, 3]]]


def test_broken_labels_are_told(places, tmp_path, capsys):
    np.save(tmp_path / "float.npy", np.ones((4, 4), np.float32))
    np.save(tmp_path / "colour.npy", np.ones((4, 4, 3), np.uint8))
    with pytest.raises(LabelError, match=r"float.npy must hold whole numbers as classes, got float32"):
        read_labels(tmp_path / "float.npy")
    with pytest.raises(LabelError, match=r"colour.npy must hold a number for each pixel, got uint8 \(4, 4, 3\)"):
        read_labels(tmp_path / "colour.npy", 1.0)
    with pytest.raises(LabelError, match=r"must be as large as its picture, \(32, 32\), got \(4, 4\)"):
        read_pair(DensePair(places / "classes/images/0.png", tmp_path / "float.npy"), 32, 1.0)
    words = ["dense", "--encoder", str(places / "encoder"), "--out", str(tmp_path / "out"), "--data"]
    (tmp_path / "one/images").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "one/images/a.png")
    for data, message in (
        (tmp_path / "one", "a.png has no labels"),
        (places / "video", "must hold pictures in images/"),
    ):
        assert main([*words, str(data)]) == 1
        assert message in capsys.readouterr().err
