"""Probes on labelled clips: what they compute, what they cost, and that a run loses nothing."""

import json
import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from interruption import interrupted_at
from moving_squares import write_squares
from PIL import Image
from several_processes import finish, start
from small_actions import write_actions

from vjepa_wm.cli import main
from vjepa_wm.data.clips.bad_files import BadFiles
from vjepa_wm.data.labelled.class_folders import read_class_folders
from vjepa_wm.data.labelled.clip_views import ClipOptions, clip_frames, item_views
from vjepa_wm.data.labelled.feature_store import FeatureStore, FeatureStoreError
from vjepa_wm.models.checkpoint import VIDEO_ENCODER, CheckpointError, save_model
from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.encoder_config import VideoEncoderConfig, vit_large
from vjepa_wm.models.linear_classifier import LinearClassifier, LinearClassifierConfig
from vjepa_wm.models.load import load_encoder, load_linear_classifier, load_probe
from vjepa_wm.training.classification.config import ClassifyConfig, preset
from vjepa_wm.training.classification.finetuning import FinetuneOptions, FineTuner, parameter_groups, unfreeze
from vjepa_wm.training.classification.head_grid import HeadGrid, HeadSetting, cosine_factor
from vjepa_wm.training.classification.heads import FeatureForm, answer, focal_loss, head_loss, make_head, probabilities
from vjepa_wm.training.classification.measures import measure
from vjepa_wm.training.classification.neighbours import neighbour_scores
from vjepa_wm.training.classification.trained_heads import match_classes
from vjepa_wm.training.run.distributed import World

pytestmark = pytest.mark.usefixtures("without_curves")
SIZE = VideoEncoderConfig(image_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=2)
CLASSES = {"class": ("a", "b", "c")}
SMALL = [
    "--clips.num-frames",
    "4",
    "--epochs",
    "2",
    "--batch-size",
    "8",
    "--evaluations",
    "2",
    "--precision",
    "fp32",
    "--validation-share",
    "0.25",
]
ONE_CLIP = FeatureForm(num_clips=1, num_views=1, class_token=False)


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    root = tmp_path_factory.mktemp("labelled")
    torch.manual_seed(0)
    save_model(VideoEncoder(SIZE), VIDEO_ENCODER, SIZE, root / "encoder")
    write_squares(root / "clips")
    return root


def command(places, out, *options, data=None):
    words = ["--data", str(data or places / "clips"), "--encoder", str(places / "encoder"), "--out", str(out)]
    return ["classify", *words, *SMALL, *options]


@pytest.fixture(scope="module")
def finished(places, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "run"
    assert main(command(places, out)) == 0
    return out


def test_a_folder_of_clips_becomes_numbers_pictures_and_heads(finished):
    results = json.loads((finished / "results.json").read_text())
    assert results["classes"] == {"class": ["down", "left", "right", "up"]}
    assert (results["train"]["num_items"], results["test"]["num_items"]) == (20, 4)
    assert results["chosen_on"] == "chosen on 4 held-out training items"
    assert set(results["heads"]) == {"linear", "attentive-1", "knn"}
    for kind, one in results["heads"].items():
        accuracy = one["test"]["class"]
        confusion = np.array(accuracy["confusion"])
        assert confusion.sum() == 4 and np.trace(confusion) / 4 == accuracy["top1"]
        assert (finished / f"confusion_{kind}.png").stat().st_size > 1000
    assert len(results["heads"]["linear"]["tried"]) == 2
    assert (finished / "linear/model.safetensors").is_file() and (finished / "attentive-1/classifier.json").is_file()
    header, *rows = (finished / "metrics.csv").read_text().splitlines()
    assert header == "step,linear_loss,attentive_1_loss,linear_train,attentive_1_train,linear_val,attentive_1_val"
    assert [row.split(",")[0] for row in rows] == ["1", "3"]


def test_what_is_encoded_is_encoded_once(places, finished, tmp_path, monkeypatch):
    monkeypatch.setattr(VideoEncoder, "forward", lambda *inputs: pytest.fail("encoded again"))
    assert main(command(places, tmp_path / "again")) == 0
    again, before = (json.loads((out / "results.json").read_text()) for out in (tmp_path / "again", finished))
    assert again == before


def test_a_run_that_was_stopped_goes_on_to_the_same_heads(places, finished, tmp_path, capsys):
    with interrupted_at(HeadGrid, 3):
        assert main(command(places, tmp_path / "run")) == 130
    assert not (tmp_path / "run/results.json").exists()
    assert main(command(places, tmp_path / "run", "--seed", "1")) == 1
    assert "holds another run: data " in capsys.readouterr().err  # another seed is another split
    assert main(command(places, tmp_path / "run")) == 0
    for name in ("results.json", "metrics.csv", "linear/model.safetensors", "attentive-1/model.safetensors"):
        assert (tmp_path / "run" / name).read_bytes() == (finished / name).read_bytes(), name


def test_bad_items_are_named_and_counted(places, tmp_path, capsys):
    data = shutil.copytree(places / "clips", tmp_path / "clips", ignore=shutil.ignore_patterns(".vjepa_wm"))
    (data / "up/0.mp4").write_bytes(b"<html>not found")
    options = ["--heads", "knn", "--read.max-bad-share"]
    assert main(command(places, tmp_path / "few", *options, "0.1", data=data)) == 0
    assert "1 of 24 opened labelled items are bad" in capsys.readouterr().out
    assert "0.mp4" in (tmp_path / "few/bad_files.csv").read_text()
    assert main(command(places, tmp_path / "many", *options, "0.01", data=data)) == 1
    assert "1 of 24 labelled items are bad, max_bad_share is 0.01" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--clips.num-frames 3", "num_frames must be 1 or a multiple of the encoder's tubelet_size 2, got 3"),
        ("--clips.image-size 36", "image_size must be a multiple of the encoder's patch_size 8, got 36"),
        ("--readout class_token", "readout must be mean for an encoder without a class token"),
        ("--levels 3", "levels must be from 1 to 2, got 3"),
        ("--heads knn knn", "heads must be named once each"),
        ("--learning-rates -1", "learning_rates must be at least 0, got -1"),
        ("--data nowhere", "labelled data do not exist: nowhere"),
    ],
)
def test_what_does_not_suit_is_told(options, message, places, tmp_path, capsys):
    try:
        code = main(command(places, tmp_path / "out", *options.split()))
    except SystemExit as stop:
        code = stop.code
    assert code in (1, 2)
    assert message in " ".join(capsys.readouterr().err.split())


def count(module, *, trainable):
    return sum(p.numel() for p in module.parameters() if p.requires_grad == trainable)


def test_published_sizes_of_a_probe_on_a_class_token():
    config = VideoEncoderConfig(**{**vit_large().__dict__, "class_token": True})
    with torch.device("meta"):
        encoder = VideoEncoder(config).requires_grad_(False)
        head = make_head("linear", config, {"class": tuple(map(str, range(1000)))}, readout="class_token")
        attentive = make_head("attentive-4", vit_large(), {"class": tuple(map(str, range(174)))})
    assert (count(head, trainable=True), count(head, trainable=False)) == (1_025_000, 0)
    assert (count(encoder, trainable=True), count(encoder, trainable=False)) == (0, 303_886_336)
    assert count(encoder.requires_grad_(True), trainable=True) == 303_886_336
    assert count(attentive, trainable=True) == 49_514_670


def test_presets_have_the_grids_of_the_papers():
    where = {"data": "d", "encoder": "e", "out": "o"}
    ssv2, diving, epic = (preset(name, **where) for name in ("ssv2", "diving48", "ek100"))
    assert (len(ssv2.settings), ssv2.epochs, ssv2.batch_size, ssv2.heads) == (20, 20, 256, ("attentive-4",))
    assert (ssv2.clips.clips, ssv2.clips.views, ssv2.clips.num_frames) == (2, 3, 16)
    assert (diving.levels, diving.epochs, len(diving.settings)) == (4, 100, 3)
    assert epic.read.anticipation_s == 1.0 and max(epic.weight_decays) == 0.1
    assert preset("small", **where) == ClassifyConfig(**where)


def test_a_picture_is_seen_as_one_or_as_several_times_the_same(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    one = item_views(tmp_path / "a.png", ClipOptions(num_frames=1), 32)
    assert one.shape == (1, 3, 1, 32, 32)
    four = item_views(tmp_path / "a.png", ClipOptions(num_frames=4, clips=2), 32)
    assert torch.equal(four, one.expand(2, 3, 4, 32, 32))


@pytest.fixture
def features():
    return torch.randn(6, 1, 5, 24, generator=torch.Generator().manual_seed(1))


def test_heads_of_a_grid_do_not_touch_each_other(features):
    labels = torch.tensor([[0], [1], [2], [0], [1], [2]])

    def train(rates):
        settings = [HeadSetting(kind="attentive-1", learning_rate=rate, weight_decay=0.1) for rate in rates]
        grid = HeadGrid(
            settings,
            lambda kind: make_head(kind, SIZE, CLASSES),
            seed=0,
            device=torch.device("cpu"),
            world=World(),
        )
        losses = [grid.step(step, 4, features, labels, ONE_CLIP) for step in range(4)]
        return grid.heads, torch.stack(losses)

    together, losses = train([1e-3, 1e-2])
    for number, rate in enumerate([1e-3, 1e-2]):
        alone, of_one = train([rate])
        assert torch.equal(losses[:, number], of_one[:, 0])
        for name, value in alone[0].state_dict().items():
            assert torch.equal(value, together[number].state_dict()[name]), name
    assert losses[0, 0] == losses[0, 1] and losses[-1, 1] < losses[0, 1]


def test_a_head_that_diverges_stops_and_the_others_go_on(features):
    settings = [HeadSetting(kind="linear", learning_rate=rate, weight_decay=0.0) for rate in (1e-2, 1e-2)]
    grid = HeadGrid(
        settings, lambda kind: make_head(kind, SIZE, CLASSES), seed=0, device=torch.device("cpu"), world=World()
    )
    with torch.no_grad():
        grid.heads[0].linear.bias[0] = torch.nan
    before = grid.heads[0].linear.weight.clone(), grid.heads[1].linear.weight.clone()
    grid.step(0, 2, features, torch.zeros(6, 1, dtype=torch.int64), ONE_CLIP)
    assert grid.diverged == {0: 0}
    assert torch.equal(grid.heads[0].linear.weight, before[0])
    assert not torch.equal(grid.heads[1].linear.weight, before[1])


def test_the_rate_falls_along_a_cosine_to_zero():
    factors = [cosine_factor(step, 4) for step in range(4)]
    np.testing.assert_allclose(factors, [(1 + 2**-0.5) / 2, 0.5, (1 - 2**-0.5) / 2, 0.0], atol=1e-12)


def test_clips_are_read_at_once_and_views_averaged():
    form = FeatureForm(num_clips=2, num_views=3, class_token=True)
    features = torch.randn(2, 6, 5, 24, generator=torch.Generator().manual_seed(2))
    head = make_head("attentive-1", SIZE, CLASSES).eval()
    scores = probabilities(answer(head, features, form))["class"]
    by_view = [head(torch.cat([features[:, view], features[:, 3 + view]], dim=1)).softmax(1) for view in range(3)]
    torch.testing.assert_close(scores, sum(by_view) / 3)
    linear = make_head("linear", SIZE, CLASSES, readout="class_token")
    wanted = [linear((features[:, view, 0] + features[:, 3 + view, 0]) / 2).softmax(1) for view in range(3)]
    torch.testing.assert_close(probabilities(answer(linear, features, form))["class"], sum(wanted) / 3)
    pooled = FeatureForm(num_clips=2, num_views=3, class_token=True, pooled=True)
    for readout in ("mean", "class_token"):
        vectors = pooled.vectors(form.pool(features), readout)
        torch.testing.assert_close(vectors, form.vectors(features, readout))


def test_linear_probe_standardises_what_it_reads():
    vectors = 5 + 3 * torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    head = LinearClassifier(LinearClassifierConfig(embed_dim=4, num_classes=2))
    head.fit_scale(vectors)
    read = (vectors - head.mean) / head.scale
    torch.testing.assert_close(read.mean(dim=0), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(read.std(dim=0, correction=0), torch.ones(4))
    torch.testing.assert_close(head(vectors), F.linear(read, head.linear.weight, head.linear.bias))


def test_losses_of_classes_and_of_anticipation():
    scores = torch.randn(3, 2, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([[1], [0], [3]])
    wanted = F.cross_entropy(scores.flatten(0, 1), labels[:, 0].repeat_interleave(2))
    torch.testing.assert_close(head_loss({"class": scores}, labels), wanted)
    p, y = scores[:, 0].sigmoid(), F.one_hot(labels[:, 0], 4)
    naive = -(0.25 * y * (1 - p) ** 2 * p.log() + 0.75 * (1 - y) * p**2 * (1 - p).log()).sum()
    torch.testing.assert_close(focal_loss(scores[:, 0], labels[:, 0]), naive)
    three = {name: scores[:, :1] for name in ("verb", "noun", "action")}
    torch.testing.assert_close(head_loss(three, labels.repeat(1, 3)), 3 * naive)


def test_measures_against_counting():
    generator = torch.Generator().manual_seed(0)
    scores, labels = torch.rand(40, 8, generator=generator), torch.randint(0, 7, (40,), generator=generator)
    found = measure(scores, labels)
    ranks = [(row > row[label]).sum().item() for row, label in zip(scores, labels, strict=True)]
    assert found.top1 == pytest.approx(np.mean([rank == 0 for rank in ranks]))
    assert found.top5 == pytest.approx(np.mean([rank < 5 for rank in ranks]))
    recalls = [np.mean([rank < 5 for rank, of in zip(ranks, labels, strict=True) if of == k]) for k in range(7)]
    assert found.recall5 == pytest.approx(np.mean(recalls))
    assert found.per_class[7] is None and found.confusion.sum() == 40
    assert found.confusion.diagonal().sum() / 40 == pytest.approx(found.top1)


def test_neighbours_vote_by_their_similarity():
    train = torch.tensor([[1.0, 0.0], [3.0, 0.1], [0.0, 1.0]])
    votes = neighbour_scores(
        train, torch.tensor([0, 1, 2]), torch.tensor([[2.0, 0.0]]), num_neighbours=2, num_classes=3
    )
    weights = torch.softmax(torch.tensor([1.0, 3 / (9.01**0.5)]) / 0.07, 0)
    torch.testing.assert_close(votes[0], torch.tensor([weights[0], weights[1], 0.0]))


def test_clips_spread_over_a_video():
    times = np.arange(20) / 10
    assert clip_frames(times, ClipOptions(num_frames=4)).tolist() == [[2, 7, 12, 17]]
    assert clip_frames(times, ClipOptions(num_frames=4, fps=10)).tolist() == [[8, 9, 10, 11]]
    spread = clip_frames(times, ClipOptions(num_frames=4, fps=10, clips=3))
    assert spread[:, 0].tolist() == [0, 8, 16] and spread[2].tolist() == [16, 17, 18, 19]
    assert clip_frames(times, ClipOptions(num_frames=4, fps=1)).tolist() == [[0, 10, 19, 19]]
    assert clip_frames(times, ClipOptions(num_frames=4, still=True)).tolist() == [[12] * 4]


class Store:
    """A store of the mean of each frame of the moving squares."""

    def __init__(self, folder, items):
        self.store, self.items, self.encoded = FeatureStore(folder, {"encoder": "mean"}), items, 0

    def read(self, items=None):
        chosen = self.items if items is None else items
        bad = BadFiles("items", [chosen], 0.5)
        options = ClipOptions(num_frames=4)
        return self.store.features(
            chosen,
            read=lambda item: item_views(item, options, 32),
            encode=self.encode,
            batch_size=3,
            bad=bad,
            which=0,
        )

    def encode(self, views):
        self.encoded += len(views)
        return views.mean(dim=(4, 5))


def test_a_store_finds_rows_by_their_item(places, tmp_path):
    items = read_class_folders(places / "clips").items
    store = Store(tmp_path, items)
    some = store.read(items[::2])
    whole = store.read()
    assert store.encoded == len(items)
    assert torch.equal(
        whole.read(np.arange(0, 24, 2), torch.device("cpu")), some.read(np.arange(12), torch.device("cpu"))
    )
    missing = [*items[:3], places / "none.png"]
    assert store.read(missing).numbers.tolist() == [0, 1, 2]
    (store.store.folder / "features.bin").write_bytes(b"")
    with pytest.raises(FeatureStoreError, match=r"features.bin is damaged.*delete the folder"):
        store.read()


TUNE = ["--finetune.blocks", "1", "--finetune.learning-rate", "0.01", "--encode-batch-size", "3"]


def test_fine_tuning_moves_the_last_blocks_alone_and_goes_on_after_a_stop(places, tmp_path, capsys):
    assert main(command(places, tmp_path / "whole", *TUNE)) == 0
    with interrupted_at(FineTuner, 4):
        assert main(command(places, tmp_path / "run", *TUNE)) == 130
    assert main(command(places, tmp_path / "run", *TUNE)) == 0
    for name in ("results.json", "metrics.csv", "finetuned/encoder/model.safetensors", "finetuned/model.safetensors"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    before, after = (load_encoder(one).state_dict() for one in (places / "encoder", tmp_path / "run/finetuned/encoder"))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if name.startswith(("blocks.1.", "norm."))}
    assert main(command(places, tmp_path / "run", "--finetune.blocks", "3")) == 1
    assert "blocks must be from 0 to 2, got 3" in capsys.readouterr().err


def test_rates_fall_towards_the_pixels_and_matrices_alone_decay():
    encoder, head = VideoEncoder(SIZE), make_head("linear", SIZE, CLASSES)
    unfreeze(encoder, "all")
    groups = parameter_groups(encoder, head, FinetuneOptions(blocks="all", layer_decay=0.5))
    of = {id(value): group for group in groups for value in group["params"]}
    assert len(of) == len(list(encoder.parameters())) + 2
    scales = [
        of[id(value)]["scale"] for value in (head.linear.weight, encoder.norm.weight, encoder.blocks[1].norm1.bias)
    ]
    assert scales == [1.0, 1.0, 0.5]
    assert of[id(encoder.blocks[0].attn.qkv.weight)]["scale"] == 0.25
    assert of[id(encoder.patch_embed.proj.weight)]["scale"] == 0.125
    assert {of[id(value)]["weight_decay"] for value in (head.linear.weight, encoder.blocks[0].mlp.fc1.weight)} == {0.05}
    assert {of[id(value)]["weight_decay"] for value in (head.linear.bias, encoder.norm.weight)} == {0.0}


def test_two_processes_train_as_one(places, finished, tmp_path):
    finish(start(["-m", "vjepa_wm", *command(places, tmp_path / "two")]))
    for kind, load in (("linear", load_linear_classifier), ("attentive-1", load_probe)):
        alone, together = (load(out / kind).state_dict() for out in (finished, tmp_path / "two"))
        for name, value in alone.items():
            torch.testing.assert_close(together[name], value, atol=1e-5, rtol=1e-4, msg=name)
    one, two = (json.loads((out / "results.json").read_text()) for out in (finished, tmp_path / "two"))
    assert one == two


def test_a_trained_head_is_measured_again_without_training(places, finished, tmp_path, capsys):
    assert main(command(places, tmp_path / "out", "--probe", str(finished / "linear"))) == 0
    again, before = (json.loads((out / "results.json").read_text())["heads"] for out in (tmp_path / "out", finished))
    assert again["probe"]["test"] == before["linear"]["test"]
    more = shutil.copytree(places / "clips", tmp_path / "clips", ignore=shutil.ignore_patterns(".vjepa_wm"))
    shutil.copytree(more / "up", more / "zigzag")
    assert main(command(places, tmp_path / "more", "--probe", str(finished / "linear"), data=more)) == 1
    assert f"{finished / 'linear'} has 4 classes, but the data have 5" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("told", "asked", "wanted"),
    [
        (("a", "b", "c"), ("c", "a"), [2, 0]),
        (("0", "1", "2"), ("x", "y"), [0, 1]),
        (("a", "b"), ("a", "x"), "no class 'x'"),
    ],
)
def test_classes_are_found_by_name_or_by_number(told, asked, wanted):
    if isinstance(wanted, list):
        assert match_classes({"class": told}, {"class": asked}, "head") == {"class": wanted}
    else:
        with pytest.raises(CheckpointError, match=wanted):
            match_classes({"class": told}, {"class": asked}, "head")


def test_verb_noun_and_action_are_anticipated(places, tmp_path, capsys):
    options = write_actions(tmp_path)
    words = command(places, tmp_path / "out", *options, "--learning-rates", "0.001", data=tmp_path / "train.csv")
    assert main(words) == 0
    table = capsys.readouterr().out
    results = json.loads((tmp_path / "out/results.json").read_text())
    assert results["classes"]["action"] == ["v0 n0", "v0 n1", "v0 n2", "v1 n0", "v1 n1", "v1 n2"]
    found = results["heads"]["attentive-4"]["test"]
    assert set(found) == {"verb", "noun", "action"} and found["noun"]["recall5"] == 1.0  # there are three
    assert [f"attentive-4 {question}" in table for question in found] == [True] * 3
    assert main([*words, "--heads", "linear"]) == 1
    assert "heads must be attentive to answer verb, noun, action, got linear" in capsys.readouterr().err
