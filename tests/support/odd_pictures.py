"""Pictures as cameras, scanners and mistakes leave them. Each function writes one and returns its path."""

import struct

import numpy as np
from PIL import Image


def corner(orientation):
    """Return a picture, 32 rows and 64 columns, whose top left quarter is white once it is turned upright."""
    upright = np.zeros((32, 64, 3), np.uint8)
    upright[:16, :32] = 255
    undo = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: np.rot90(upright),
        7: np.rot90(upright, 2).swapaxes(0, 1),
        8: np.rot90(upright, -1),
    }
    return Image.fromarray(np.ascontiguousarray(undo[orientation]))


def phone(orientation, *tags, name="phone.jpg"):
    """Write a picture with an orientation and further tags (number, type, count, value) in its EXIF."""

    def make(folder):
        entries = ((0x112, 3, 1, orientation), *tags)
        packed = b"".join(struct.pack("<HHII", *entry) for entry in entries)
        exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(entries)) + packed + bytes(4)
        corner(orientation if orientation in range(1, 9) else 1).save(folder / name, exif=exif, quality=95)
        return folder / name

    return make


def exif_of(content, name="phone.jpg"):
    """Write an upright picture whose EXIF is any bytes."""

    def make(folder):
        corner(1).save(folder / name, exif=b"Exif\0\0" + content, quality=95)
        return folder / name

    return make


def scan(name, dtype, mode=None):
    """Write a picture with more than eight bits per colour."""

    def make(folder):
        Image.fromarray(np.full((32, 64), 0.5 if dtype == np.float32 else 40000, dtype)).save(folder / name)
        return folder / name

    return make


def transparent(folder):
    """Write a white corner on a transparent black ground."""
    pixels = np.array(corner(1))
    pixels = np.dstack([pixels, pixels[..., 0]])
    Image.fromarray(pixels).save(folder / "transparent.png")
    return folder / "transparent.png"


def strip(width, height):
    """Write a red strip."""

    def make(folder):
        Image.new("RGB", (width, height), "red").save(folder / "strip.png")
        return folder / "strip.png"

    return make


def bytes_called(name, content):
    """Write any bytes under a name."""

    def make(folder):
        (folder / name).write_bytes(content)
        return folder / name

    return make


def cut(name, share):
    """Write the first part of a picture file."""

    def make(folder):
        generator = np.random.default_rng(0)
        Image.fromarray(generator.integers(0, 256, (64, 64, 3), np.uint8)).save(folder / name)
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(share * len(content))])
        return folder / name

    return make


def drawn_by_a_program(folder):
    """Write a picture that is a program, which Pillow gives Ghostscript to run, under a harmless name."""
    Image.new("RGB", (8, 8)).save(folder / "a.eps")
    return (folder / "a.eps").rename(folder / "a.jpg")
