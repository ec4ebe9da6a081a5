"""Preprocessing against numbers that OpenCV 4.14 and torchvision 0.28 gave, and against plain geometry."""

import pytest
import torch
import torch.nn.functional as F

from vjepa_wm.models.pixels import (
    IMAGE_MEAN,
    IMAGE_STD,
    normalize_pixels,
    prepare_clip,
    prepare_frames,
    prepare_views,
    short_side_size,
)

# cv2.resize(pattern(height, width), ..., interpolation=cv2.INTER_LINEAR) to a short side of 8, centre 7 x 7:
# the red values and the sum of each colour.
OPENCV = {
    (11, 13): (
        [
            [162, 40, 148, 53, 166, 89, 153],
            [136, 164, 130, 92, 135, 149, 145],
            [111, 180, 131, 53, 117, 153, 86],
            [137, 179, 178, 87, 75, 74, 116],
            [143, 51, 130, 158, 90, 170, 136],
            [134, 35, 131, 12, 133, 229, 135],
            [139, 146, 122, 82, 154, 130, 110],
        ],
        [6009, 6620, 6163],
    ),
    (3, 4): (
        [
            [45, 82, 118, 155, 165, 99, 33],
            [48, 85, 121, 158, 169, 104, 38],
            [64, 102, 141, 179, 192, 128, 64],
            [80, 120, 160, 200, 214, 152, 89],
            [86, 108, 145, 187, 207, 166, 124],
            [82, 67, 96, 139, 171, 170, 168],
            [77, 26, 47, 92, 135, 174, 212],
        ],
        [5984, 6251, 7130],
    ),
    (17, 9): (
        [
            [125, 121, 149, 158, 174, 90, 86],
            [85, 159, 100, 97, 127, 141, 141],
            [35, 175, 74, 85, 129, 52, 142],
            [75, 229, 142, 55, 113, 138, 51],
            [168, 96, 103, 206, 134, 61, 197],
            [115, 56, 78, 195, 137, 78, 172],
            [156, 111, 114, 176, 131, 86, 125],
        ],
        [5943, 6152, 6077],
    ),
}
# The same from torchvision's resize of a uint8 tensor with antialias=True.
TORCHVISION = (
    [
        [155, 87, 141, 100, 167, 116, 143],
        [133, 158, 129, 121, 133, 134, 141],
        [121, 155, 139, 106, 105, 113, 114],
        [141, 161, 174, 97, 81, 95, 114],
        [138, 92, 137, 128, 91, 136, 149],
        [145, 71, 126, 85, 122, 177, 138],
        [142, 134, 121, 103, 158, 128, 124],
    ],
    [6219, 6652, 6169],
)


def pattern(height, width):
    y, x, c = torch.meshgrid(torch.arange(height), torch.arange(width), torch.arange(3), indexing="ij")
    return ((y * y * 37 + x * 91 + c * 53 + x * y * 11) % 256).to(torch.uint8)


def grey_levels(images):
    """Undo the normalisation of (3, T, S, S)."""
    mean, std = (torch.tensor(values).view(3, 1, 1, 1) for values in (IMAGE_MEAN, IMAGE_STD))
    levels = (images * std + mean) * 255
    torch.testing.assert_close(levels, levels.round(), atol=1e-3, rtol=0)
    return levels.round().int()


def dotted(height, width, row, column):
    """One frame, black but for a white square of 5 x 5 around a point."""
    frames = torch.zeros(1, height, width, 3, dtype=torch.uint8)
    frames[:, row - 2 : row + 3, column - 2 : column + 3] = 255
    return frames


def centre(image):
    """Centre of brightness (row, column) of (3, S, S)."""
    light = grey_levels(image[:, None])[:, 0].sum(dim=0).double()
    places = torch.arange(len(light), dtype=torch.float64)
    return float((light.sum(1) * places).sum() / light.sum()), float((light.sum(0) * places).sum() / light.sum())


@pytest.mark.parametrize(("size", "expected"), OPENCV.items())
def test_a_clip_has_the_grey_levels_of_opencv(size, expected):
    levels = grey_levels(prepare_clip(pattern(*size)[None], 7))
    assert levels[0, 0].tolist() == expected[0]
    assert levels.sum(dim=(1, 2, 3)).tolist() == expected[1]


def test_an_antialiased_clip_has_the_grey_levels_of_torchvision():
    levels = grey_levels(prepare_clip(pattern(11, 13)[None], 7, antialias=True))
    assert levels[0, 0].tolist() == TORCHVISION[0]
    assert levels.sum(dim=(1, 2, 3)).tolist() == TORCHVISION[1]


@pytest.mark.parametrize("antialias", [False, True])
def test_a_clip_of_the_right_short_side_is_only_cut_and_normalised(antialias):
    frames = torch.stack([pattern(36, 43), 255 - pattern(36, 43)])  # int(256 / 224 * 32) is 36
    expected = normalize_pixels(frames[:, 2:34, 6:38].permute(0, 3, 1, 2).float() / 255).transpose(0, 1)
    # Half of 11 spare columns, 5.5, is rounded to the even 6.
    assert torch.equal(prepare_clip(frames, 32, antialias=antialias), expected)
    turned = prepare_clip(frames.transpose(1, 2).contiguous(), 32, antialias=antialias)
    assert torch.equal(turned, expected.transpose(2, 3))


@pytest.mark.parametrize("antialias", [False, True])
def test_clips_of_a_batch_are_prepared_like_single_ones(antialias):
    frames = torch.stack([pattern(40, 50), pattern(40, 50).flip(0), 255 - pattern(40, 50)])[:, None].repeat(
        1, 2, 1, 1, 1
    )
    batch = prepare_clip(frames, 16, antialias=antialias)
    assert batch.shape == (3, 3, 2, 16, 16)
    assert batch.dtype == torch.float32
    for one, clip in zip(frames, batch, strict=True):
        assert torch.equal(prepare_clip(one, 16, antialias=antialias), clip)


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize(("row", "column"), [(100, 160), (60, 200), (150, 90)])
def test_a_dot_is_found_where_scale_and_crop_put_it(antialias, row, column):
    image = prepare_clip(dotted(200, 320, row, column), 112, antialias=antialias)[:, 0]
    scale = 128 / 200  # the short side becomes 128, the long one 204
    expected = ((row + 0.5) * scale - 0.5 - 8, (column + 0.5) * 204 / 320 - 0.5 - 46)
    assert centre(image) == pytest.approx(expected, abs=0.15)


def test_views_lie_along_the_long_side():
    frames = dotted(112, 196, 50, 100)
    views = prepare_views(frames, 112)
    assert views.shape == (3, 3, 1, 112, 112)
    for start, view in zip((0, 42, 84), views, strict=True):
        assert centre(view[:, 0]) == pytest.approx((50, 100 - start))
    lying = frames.transpose(1, 2).contiguous()
    for view, turned in zip(views, prepare_views(lying, 112), strict=True):
        assert torch.equal(view[:, 0], turned[:, 0].transpose(1, 2))


def test_views_have_no_margin_and_keep_the_grey_levels_of_opencv():
    # A crop of 8 px has the short side that prepare_clip gives to one of 7 px.
    views = prepare_views(pattern(17, 9)[None], 8, num_views=2)
    levels = grey_levels(views[0])
    assert levels[0, 0, 4:, :7].tolist() == OPENCV[17, 9][0][:4]
    batch = prepare_views(pattern(17, 9)[None, None].repeat(2, 1, 1, 1, 1), 8, num_views=2)
    assert batch.shape == (2, 2, 3, 1, 8, 8)
    assert torch.equal(batch[1], views)


def test_the_long_side_is_rounded_down():
    assert short_side_size(480, 640, 292) == (292, 389)
    assert short_side_size(640, 480, 292) == (389, 292)
    assert short_side_size(50, 50, 292) == (292, 292)


def test_frames_for_the_action_conditioned_model_may_leave_antialiasing_out():
    frames = pattern(40, 60)[None]
    square = normalize_pixels(frames[:, :, 10:50].permute(0, 3, 1, 2).float() / 255)
    plain = F.interpolate(square, size=(16, 16), mode="bilinear", align_corners=False)
    torch.testing.assert_close(prepare_frames(frames, 16, antialias=False), plain, atol=1e-5, rtol=1e-5)
    assert (prepare_frames(frames, 16) - plain).abs().max() > 0.1


def test_frames_that_are_no_frames_are_refused():
    with pytest.raises(ValueError, match=r"frames must be non-empty \(\[B,\] T, .* got \(2, 8, 8, 3\) torch.float32"):
        prepare_clip(torch.zeros(2, 8, 8, 3), 8)
    with pytest.raises(ValueError, match=r"frames must be .*, got \(8, 8, 3\)"):
        prepare_clip(pattern(8, 8), 8)
    with pytest.raises(ValueError, match=r"frames must be non-empty .*, got \(0, 8, 8, 3\)"):
        prepare_views(torch.zeros(0, 8, 8, 3, dtype=torch.uint8), 8)
    with pytest.raises(ValueError, match=r"image_size must be at least 1, got 0"):
        prepare_clip(pattern(8, 8)[None], 0)
    with pytest.raises(ValueError, match=r"num_views must be at least 2 .* got 1"):
        prepare_views(pattern(8, 8)[None], 8, num_views=1)


@pytest.mark.parametrize("antialias", [False, True])
def test_of_a_long_strip_only_the_middle_counts(antialias):
    strip = torch.randint(0, 256, (1, 2, 20_000, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    middle = strip[:, :, 10_000 - 16 : 10_000 + 16]
    assert torch.equal(prepare_clip(strip, 16, antialias=antialias), prepare_clip(middle, 16, antialias=antialias))
    upright = strip.transpose(1, 2)
    assert torch.equal(
        prepare_clip(upright, 16, antialias=antialias), prepare_clip(middle.transpose(1, 2), 16, antialias=antialias)
    )
