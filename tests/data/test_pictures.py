import numpy as np
import pytest
from PIL import Image

from vjepa_wm.data.media.pictures import PICTURE_SUFFIXES, PictureError, read_picture

COLORS = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[10, 20, 30], [200, 100, 50], [7, 7, 7]]], dtype=np.uint8)


@pytest.mark.parametrize("suffix", PICTURE_SUFFIXES)
def test_every_named_format_is_read(tmp_path, suffix):
    picture = np.kron(COLORS, np.ones((16, 16, 1), dtype=np.uint8))
    path = tmp_path / f"x{suffix}"
    Image.fromarray(picture).save(path, quality=95)
    read = read_picture(path)
    assert read.shape == (32, 48, 3)
    assert read.dtype == np.uint8
    assert np.abs(read[8::16, 8::16].astype(int) - COLORS).max() <= (0 if suffix in (".png", ".bmp") else 12)


def test_a_picture_is_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the file must be turned a quarter clockwise to be seen
    Image.fromarray(COLORS).save(tmp_path / "x.png", exif=exif)
    np.testing.assert_array_equal(read_picture(tmp_path / "x.png"), np.rot90(COLORS, -1))


def test_transparent_parts_become_white(tmp_path):
    alpha = np.array([[255, 0, 255], [0, 255, 255]], dtype=np.uint8)
    Image.fromarray(np.dstack([COLORS, alpha])).save(tmp_path / "x.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "x.png"), np.where(alpha[..., None] == 255, COLORS, 255))


def test_grey_and_palette_pictures_get_three_colours(tmp_path):
    grey = COLORS[..., 0]
    Image.fromarray(grey).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "grey.png"), np.repeat(grey[..., None], 3, axis=-1))
    palette = Image.fromarray(np.array([[0, 1, 2], [3, 4, 5]], dtype=np.uint8), mode=None).convert("P")
    palette.putpalette(COLORS.reshape(-1).tolist())
    palette.putdata(range(6))
    palette.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "palette.png"), COLORS)


def test_what_is_no_picture_is_named(tmp_path):
    (tmp_path / "text.png").write_text("not a picture")
    with pytest.raises(PictureError, match=r"cannot read .*text\.png as a picture"):
        read_picture(tmp_path / "text.png")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(tmp_path / "cut.png")
    content = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(PictureError, match=r"cannot read .*cut\.png"):
        read_picture(tmp_path / "cut.png")
    Image.fromarray(np.full((4, 4), 40000, dtype=np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(PictureError, match=r"8 bits per colour, got Pillow's mode I;16"):
        read_picture(tmp_path / "deep.png")
    with pytest.raises(FileNotFoundError, match=r"picture does not exist: .*none\.png"):
        read_picture(tmp_path / "none.png")
