import pytest
import torch

from vjepa_wm.data.clips.crops import AugmentationConfig, cut_clip, draw_crop, finish_clip
from vjepa_wm.models.pixels import normalize_pixels, prepare_frames


def augment(clip, image_size, config, generator):
    cut, flip = cut_clip(clip, config, generator)
    return finish_clip(cut, image_size, flip)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_crops_have_the_asked_area_and_aspect():
    config = AugmentationConfig(crop_scale=(0.3, 0.6), crop_aspect=(0.75, 1.35))
    source = generator()
    for _ in range(200):
        top, left, rows, columns = draw_crop(config, 120, 160, source)
        assert 0 <= top <= 120 - rows
        assert 0 <= left <= 160 - columns
        assert 0.29 <= rows * columns / (120 * 160) <= 0.61
        assert 0.73 <= columns / rows <= 1.38


def test_an_impossible_crop_falls_back_to_the_centre():
    config = AugmentationConfig(crop_scale=(1.0, 1.0), crop_aspect=(1.0, 1.0))
    assert draw_crop(config, 100, 200, generator()) == (0, 50, 100, 100)


def test_all_frames_share_one_crop_and_flip():
    frame = torch.randint(0, 256, (1, 40, 40, 3), dtype=torch.uint8, generator=generator())
    clip = augment(frame.expand(4, -1, -1, -1), 32, AugmentationConfig(), generator(1))
    assert clip.shape == (3, 4, 32, 32)
    assert all(torch.equal(clip[:, 0], clip[:, t]) for t in range(1, 4))


def test_without_augmentation_only_the_normalisation_is_left():
    config = AugmentationConfig(crop_scale=(1.0, 1.0), crop_aspect=(1.0, 1.0), flip_probability=0.0)
    frames = torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8, generator=generator())
    expected = normalize_pixels(frames.permute(0, 3, 1, 2).float() / 255).transpose(0, 1)
    torch.testing.assert_close(augment(frames, 32, config, generator()), expected)


def test_frames_are_cut_square_resized_and_normalised():
    frames = torch.full((2, 40, 60, 3), 128, dtype=torch.uint8)
    frames[:, :, :10] = 0
    frames[:, :, 50:] = 0
    images = prepare_frames(frames, 32)
    assert images.shape == (2, 3, 32, 32)
    expected = (128 / 255 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(images[0, :, 16, 1], expected, atol=1e-5, rtol=1e-5)


def test_floats_are_refused():
    with pytest.raises(ValueError, match=r"must be .* uint8, got"):
        prepare_frames(torch.zeros(1, 8, 8, 3), 8)
