import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import tyro
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import load_file

from vjepa_wm.data.media.video import read_frames, write_video
from vjepa_wm.evaluation.features.extraction import extract_features
from vjepa_wm.evaluation.features.input_clips import clip_frames, find_inputs, name_inputs, read_clips
from vjepa_wm.evaluation.features.pca import FeaturePanel, color_features, draw_pca, fit_pca
from vjepa_wm.models.checkpoint import save_model
from vjepa_wm.models.encoder import VideoEncoder
from vjepa_wm.models.encoder_config import VideoEncoderConfig
from vjepa_wm.models.pixels import fit_clip_channels, prepare_clip
from vjepa_wm.stages.features import FeaturesConfig, run_features, summarize

CONFIG = VideoEncoderConfig(image_size=32, embed_dim=48, depth=2, num_heads=2)


def tiny_encoder(**changes):
    torch.manual_seed(0)
    return VideoEncoder(replace(CONFIG, **changes)).eval()


def moving_square(num_frames, height=40, width=60):
    frames = np.full((num_frames, height, width, 3), 60, dtype=np.uint8)
    for k, frame in enumerate(frames):
        frame[10:25, k % 40 : k % 40 + 15] = (250, 120, 10)
    return frames


@pytest.fixture
def inputs(tmp_path):
    """A folder with two videos, 2 s and 5 s long, and two pictures."""
    folder = tmp_path / "in"
    write_video(folder / "a.mp4", moving_square(20), fps=10)
    write_video(folder / "sub" / "b.mp4", moving_square(50, 48, 48)[::-1], fps=10)
    Image.fromarray(moving_square(1)[0]).save(folder / "c.png")
    Image.fromarray(moving_square(31)[30]).save(folder / "d.bmp")
    return folder


def settings(inputs, **changes):
    fixed = {"num_frames": 4, "fps": 2.0, "precision": "fp32", "device": "cpu", "picture": False, "model": "tiny"}
    return FeaturesConfig(inputs=(inputs,), out=inputs.parent / "out", **{**fixed, **changes})


def extract(encoder, config):
    return extract_features(encoder, find_inputs(config.inputs), config)


def direct(encoder, path, ids):
    """Features of chosen frames of a video, without the code under test."""
    frames, times = read_frames(path)
    clip = prepare_clip(torch.from_numpy(frames[ids]), 32)
    with torch.no_grad():
        return encoder(clip[None])[0].numpy(), times[ids]


def test_files_hold_what_the_encoder_gives(inputs):
    encoder = tiny_encoder()
    report = extract(encoder, settings(inputs))
    assert [path.name for path in report.files] == [f"{name}.safetensors" for name in "acdb"]
    for name, path in (("a", inputs / "a.mp4"), ("b", inputs / "sub/b.mp4")):
        stored = load_file(inputs.parent / f"out/{name}.safetensors")
        features, times = direct(encoder, path, [0, 5, 10, 15])
        assert stored["features"].shape == (1, 8, 48)
        assert stored["features"].dtype == np.float32
        np.testing.assert_allclose(stored["features"][0], features, atol=1e-5)
        np.testing.assert_array_equal(stored["times"], times[None])
    stored = load_file(inputs.parent / "out/c.safetensors")
    picture = prepare_clip(torch.from_numpy(moving_square(1)), 32)
    with torch.no_grad():
        np.testing.assert_allclose(stored["features"][0], encoder(picture[None])[0].numpy(), atol=1e-5)
    assert stored["times"].tolist() == [[0.0]]
    assert not list((inputs.parent / "out").glob("*.tmp"))


def test_metadata_says_how_it_was_made(inputs):
    extract(tiny_encoder(), settings(inputs, layers=(0, -1), num_frames=8))
    with safe_open(inputs.parent / "out/a.safetensors", framework="np") as file:
        info = file.metadata()
        assert file.get_slice("features").get_shape() == [1, 2, 16, 48]
    assert info["source"] == str((inputs / "a.mp4").absolute())
    assert (info["grid"], info["grid_axes"]) == ("4,2,2", "time,rows,columns")
    assert info["axes"] == "clips,layers,tokens,width"
    assert (info["model"], info["pool"], info["image_size"], info["layers"]) == ("tiny", "none", "32", "0,-1")


def test_clips_follow_each_other_to_the_end(inputs):
    encoder = tiny_encoder()
    extract(encoder, settings(inputs, clips="all"))
    stored = load_file(inputs.parent / "out/b.safetensors")
    assert stored["features"].shape == (3, 8, 48)
    for k, ids in enumerate(([0, 5, 10, 15], [20, 25, 30, 35], [40, 45, 49, 49])):
        features, times = direct(encoder, inputs / "sub/b.mp4", ids)
        np.testing.assert_allclose(stored["features"][k], features, atol=1e-5)
        np.testing.assert_array_equal(stored["times"][k], times)


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_the_batch_size_changes_nothing(inputs, batch_size):
    encoder = tiny_encoder()
    extract(encoder, settings(inputs, clips="all", batch_size=2))
    extract(encoder, settings(inputs, clips="all", batch_size=batch_size, format="npy"))
    for name in "abcd":
        expected = load_file(inputs.parent / f"out/{name}.safetensors")["features"]
        np.testing.assert_allclose(np.load(inputs.parent / f"out/{name}.npy"), expected, atol=1e-5)


def test_no_more_clips_than_asked_are_encoded_at_once(inputs):
    encoder, sizes = tiny_encoder(), []
    encoder.register_forward_pre_hook(lambda module, arguments: sizes.append(arguments[0].shape[0]))
    extract(encoder, settings(inputs, clips="all", batch_size=2))
    assert sizes == [1, 2, 2, 1]  # a.mp4, the two pictures, the three clips of b.mp4


def test_pooling_averages_the_patches_and_leaves_the_class_token_out(inputs):
    encoder = tiny_encoder(class_token=True)
    report = extract(encoder, settings(inputs, layers=(0, 1), picture=True))
    tokens = load_file(inputs.parent / "out/a.safetensors")["features"]
    assert tokens.shape == (1, 2, 9, 48)
    assert report.picture.is_file()
    report = extract(encoder, settings(inputs, layers=(0, 1), pool="mean", picture=True))
    pooled = load_file(inputs.parent / "out/a.safetensors")["features"]
    assert report.files[inputs.parent / "out/a.safetensors"] == pooled.shape == (1, 2, 48)
    np.testing.assert_allclose(pooled, tokens[:, :, 1:].mean(axis=2), atol=1e-5)
    assert report.picture.is_file()


def test_npy_keeps_the_rest_in_a_json_file(inputs):
    extract(tiny_encoder(), settings(inputs, format="npy"))
    assert np.load(inputs.parent / "out/a.npy").shape == (1, 8, 48)
    info = json.loads((inputs.parent / "out/a.json").read_text())
    assert info["times"] == [[0.0, 0.5, 1.0, 1.5]]
    assert (info["grid"], info["pool"]) == ("2,2,2", "none")


def test_broken_inputs_are_left_out_and_named(inputs):
    (inputs / "sub/text.jpg").write_text("no picture")
    content = (inputs / "sub/b.mp4").read_bytes()
    (inputs / "sub/cut.mp4").write_bytes(content[: len(content) // 2])
    (inputs / "sub/gone.mp4").symlink_to(inputs / "nowhere.mp4")
    config = settings(inputs, batch_size=2, picture=True)
    report = extract(tiny_encoder(), config)
    assert len(report.files) == 4
    assert set(report.broken) == {inputs / "sub/text.jpg", inputs / "sub/cut.mp4", inputs / "sub/gone.mp4"}
    text = summarize(report, config)
    assert "4 of 7 inputs" in text
    assert "left out 3" in text
    assert "text.jpg" in text
    assert "cut.mp4" in text
    assert "video does not exist" in report.broken[inputs / "sub/gone.mp4"]


def test_a_video_that_breaks_off_later_is_left_out_as_a_whole(inputs):
    content = bytearray((inputs / "sub/b.mp4").read_bytes())
    start = content.index(b"mdat") + 4
    media = int.from_bytes(content[start - 8 : start - 4], "big") - 8
    content[start + media * 2 // 3 : start + media] = bytes(media - media * 2 // 3)
    (inputs / "late.mp4").write_bytes(content)
    report = extract(tiny_encoder(), settings(inputs, clips="all", batch_size=1))
    assert list(report.broken) == [inputs / "late.mp4"]
    assert not (inputs.parent / "out/late.safetensors").exists()
    assert load_file(inputs.parent / "out/b.safetensors")["features"].shape[0] == 3


def test_nothing_but_broken_inputs_is_an_error(tmp_path):
    for name in ("x.png", "y.mp4"):
        (tmp_path / name).write_text("nothing")
    with pytest.raises(ValueError, match=r"none of the 2 inputs could be read:\n.*x\.png.*\n.*y\.mp4"):
        extract(tiny_encoder(), replace(settings(tmp_path), out=tmp_path / "out"))


def test_features_that_are_no_numbers_are_not_written(inputs):
    encoder = tiny_encoder()
    torch.nn.init.constant_(encoder.norm.weight, float("nan"))
    with pytest.raises(FloatingPointError, match=r"features of .*a\.mp4 are not finite"):
        extract(encoder, settings(inputs))
    assert [path.name for path in (inputs.parent / "out").iterdir()] == [".lock"]


def test_inputs_that_do_not_suit_the_encoder_are_refused(inputs):
    for changes, message in (
        ({"image_size": 40}, r"image_size must be a multiple of the encoder's patch_size 16, got 40"),
        ({"num_frames": 5}, r"num_frames must be 1 or a multiple of the encoder's tubelet_size 2, got 5"),
        ({"layers": (2,)}, r"layers must be from -2 to 1, got 2"),
        ({"num_frames": 10**9}, r"num_frames 1000000000 of image_size \d+ .* would take [\d,]+ GB of memory, this"),
    ):
        with pytest.raises(ValueError, match=message):
            extract(tiny_encoder(), settings(inputs, **changes))
    for changes, message in (
        ({"fps": 0.0}, r"fps must be positive and finite, got 0"),
        ({"batch_size": 0}, r"batch_size must be at least 1, got 0"),
        ({"pool": "max"}, r"pool must be none or mean, got 'max'"),
        ({"format": "pt"}, r"format must be safetensors or npy, got 'pt'"),
    ):
        with pytest.raises(ValueError, match=message):
            settings(inputs, **changes)
    with pytest.raises(ValueError, match=r"inputs must name at least one"):
        FeaturesConfig(inputs=(), model="tiny", out=Path("out"))


def test_rectangular_patches_have_their_own_rows_and_columns(inputs):
    encoder = tiny_encoder(patch_size=16, patch_width=8)
    report = extract(encoder, settings(inputs, picture=True))
    with safe_open(inputs.parent / "out/a.safetensors", "np") as stored:
        assert stored.metadata()["grid"] == "2,2,4"
        features = stored.get_tensor("features")
    np.testing.assert_allclose(features[0], direct(encoder, inputs / "a.mp4", [0, 5, 10, 15])[0], atol=1e-5)
    with Image.open(report.picture) as picture:
        assert picture.height > 192
    with pytest.raises(ValueError, match="image_size must be a multiple of the encoder's patch_width 24, got 32"):
        extract(tiny_encoder(image_size=48, patch_width=24), settings(inputs, image_size=32))


def test_an_encoder_of_grey_input_sees_the_frames_grey(inputs):
    grey = tiny_encoder(in_channels=1)
    report = extract(grey, settings(inputs / "a.mp4", picture=True))
    ((path, shape),) = report.files.items()
    frames, _ = read_frames(inputs / "a.mp4")
    clip = fit_clip_channels(prepare_clip(torch.from_numpy(frames[[0, 5, 10, 15]]), 32)[None], 1)
    with torch.no_grad():
        expected = grey(clip).numpy()
    assert shape == (1, 8, 48) and clip.shape == (1, 1, 4, 32, 32)
    np.testing.assert_allclose(load_file(path)["features"], expected, atol=1e-5)


def test_other_image_sizes_and_single_frames_work(inputs):
    report = extract(tiny_encoder(), settings(inputs / "a.mp4", image_size=64, num_frames=1, clips="all"))
    assert list(report.files.values()) == [(4, 16, 48)]


def test_the_stage_loads_a_model_and_tells_how_to_read_the_result(inputs, capsys):
    encoder = tiny_encoder()
    save_model(encoder, "video_encoder", encoder.config, inputs.parent / "model")
    config = replace(settings(inputs / "a.mp4", picture=True), model=str(inputs.parent / "model"))
    run_features(config)
    printed = capsys.readouterr().out
    assert "1 of 1 inputs" in printed
    assert "(1, 8, 48)" in printed
    assert "pca.png" in printed
    path = printed.split('load_file("')[1].split('"')[0]
    np.testing.assert_allclose(
        load_file(path)["features"][0], direct(encoder, inputs / "a.mp4", [0, 5, 10, 15])[0], atol=1e-5
    )


def test_inputs_come_first_on_a_command_line():
    config = tyro.cli(FeaturesConfig, args=["a.mp4", "folder", "--model", "m", "--out", "o", "--layers", "3", "-1"])
    assert config.inputs == (Path("a.mp4"), Path("folder"))
    assert config.layers == (3, -1)


def test_inputs_are_found_once_and_in_order(tmp_path):
    for name in ("b.MP4", "a/c.webp", "a/notes.txt", "a/d.doc", ".hidden.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("no path")
    (tmp_path / "list.csv").write_text("path,label\na/c.webp,0\nb.MP4,1\n")
    found = find_inputs((tmp_path / "b.MP4", tmp_path, tmp_path / "a"))
    assert found == [tmp_path / "b.MP4", tmp_path / "a/c.webp"]
    assert find_inputs((tmp_path / "list.csv",)) == [tmp_path / "a/c.webp", tmp_path / "b.MP4"]
    with pytest.raises(ValueError, match=r"source must be a folder, a list .* or a file .*\.mp4.*, got .*d\.doc"):
        find_inputs((tmp_path / "a/d.doc",))
    with pytest.raises(FileNotFoundError, match=r"source of videos and pictures does not exist: .*none"):
        find_inputs((tmp_path / "none",))
    with pytest.raises(FileNotFoundError, match=r"no video or picture .* in .*notes\.txt"):
        find_inputs((tmp_path / "a/notes.txt",))
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no video or picture .* in .*empty"):
        find_inputs((tmp_path / "empty",))


def test_equal_names_are_told_apart():
    paths = [Path(name) for name in ("x/a.mp4", "x/b.mp4", "x/b.png", "y/c.mp4", "z/C.mp4", "1/z/d.png", "2/z/d.png")]
    names = name_inputs(paths)
    assert names[:5] == ["a", "b_mp4", "b_png", "y_c", "z_C"]
    assert len({name.casefold() for name in names}) == len(paths)
    assert name_inputs([Path("p/q_a.png"), Path("q/a.png"), Path("r/a.png")]) == ["q_a", "q_a_png", "r_a"]


def test_files_of_equal_name_do_not_overwrite_each_other(inputs):
    write_video(inputs / "other" / "a.mp4", moving_square(20)[::-1], fps=10)
    Image.fromarray(moving_square(1)[0]).save(inputs / "a.png")
    encoder = tiny_encoder()
    report = extract(encoder, settings(inputs))
    assert len(set(report.files)) == 6
    for path in report.files:
        with safe_open(path, framework="np") as file:
            source, features = Path(file.metadata()["source"]), file.get_tensor("features")
        if source.suffix == ".mp4":
            np.testing.assert_allclose(features[0], direct(encoder, source, [0, 5, 10, 15])[0], atol=1e-5)


def test_clips_are_laid_over_the_time():
    times = np.arange(50) / 10
    np.testing.assert_array_equal(clip_frames(times, 4, 10.0, False), [[0, 1, 2, 3]])
    assert clip_frames(times, 4, 10.0, True).tolist() == np.append(np.arange(50), [49, 49]).reshape(13, 4).tolist()
    assert clip_frames(times[:9], 4, 10.0, True).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]  # 1 of 4 left: dropped
    assert clip_frames(times + 3, 2, 5.0, False).tolist() == [[0, 2]]  # from the first frame, not from second 0
    assert clip_frames(times[:1], 3, 5.0, True).tolist() == [[0, 0, 0]]


def test_a_short_video_repeats_its_last_frame_and_says_so(tmp_path, caplog):
    write_video(tmp_path / "x.mp4", moving_square(3), fps=10)
    with caplog.at_level(logging.WARNING):
        ((frames, times),) = read_clips(tmp_path / "x.mp4", num_frames=4, fps=2.0)
    assert frames.shape == (4, 40, 60, 3)
    np.testing.assert_allclose(times, [0, 0.2, 0.2, 0.2])
    assert "less than half a clip" in caplog.text


def test_directions_are_those_of_a_singular_value_decomposition():
    features = np.random.default_rng(0).normal(size=(200, 12)) @ np.diag(np.linspace(5, 0.5, 12)) + 3
    mean, directions = fit_pca(torch.from_numpy(features))
    np.testing.assert_allclose(mean.numpy(), features.mean(axis=0))
    _, _, expected = np.linalg.svd(features - features.mean(axis=0), full_matrices=False)
    for direction, other in zip(directions.numpy(), expected[:3], strict=True):
        assert direction[np.abs(direction).argmax()] > 0
        np.testing.assert_allclose(direction * np.sign(direction @ other), other, atol=1e-8)
    with pytest.raises(ValueError, match=r"features must be \(at least 2, at least 3\), got \(1, 8\)"):
        fit_pca(torch.zeros(1, 8))


def test_colours_are_shared_by_all_panels():
    source = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, 4, 4, 8, generator=source), torch.randn(1, 4, 4, 8, generator=source)
    second[0, 0, 0] = first[1, 2, 3]
    colors = color_features([first, second])
    assert [color.shape for color in colors] == [(2, 4, 4, 3), (1, 4, 4, 3)]
    np.testing.assert_array_equal(colors[1][0, 0, 0], colors[0][1, 2, 3])
    assert min(color.min() for color in colors) == 0
    assert max(color.max() for color in colors) == 255
    assert np.all(color_features([torch.ones(1, 4, 8)])[0] == 0)


def test_the_picture_shows_frames_beside_their_patches():
    frames = np.full((4, 32, 32, 3), 200, dtype=np.uint8)
    features = torch.zeros(4, 2, 2, 3)
    features[:, 0, 0, 0], features[:, 1, 1, 1] = 2, 1
    video = FeaturePanel(title="video " * 99, frames=frames, features=features)
    picture = FeaturePanel(title="picture", frames=frames[:1], features=features[:1])
    drawn = np.array(draw_pca([video, picture, picture]))
    lone = np.array(draw_pca([picture]))
    assert drawn.shape[0] == 2 * lone.shape[0]  # two pictures share the second line
    assert np.array(draw_pca([picture] * 4)).shape == (lone.shape[0], drawn.shape[1], 3)  # four fill a line
    top, tile = 26, 192
    np.testing.assert_array_equal(lone[top + 5, 6 + 5], (200, 200, 200))
    left = 6 + tile + 6
    quarters = {tuple(lone[top + r, left + c]) for r in (10, 180) for c in (10, 180)}
    assert len(quarters) == 3  # two patches have equal features
    block = lone[top : top + tile // 2, left : left + tile // 2]
    assert np.all(block == block[0, 0])
