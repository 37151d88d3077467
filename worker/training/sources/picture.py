"""What an encoded image says of itself, read from its first bytes before anything is decoded."""

import struct
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from shared.errors import BadData

#: Pixels of an image, and bytes of its file, at most.
PIXELS_MOST, BYTES_MOST = 1 << 25, 1 << 26
_CHANNELS = {"grayscale": 1, "rgb": 3, "rgba": 4}
#: Bits of a pixel that is a gray, or a color of a palette.
_GRAY_BITS = 8
#: Cyan, magenta, yellow, black.
_INKS = 4
#: JPEG's markers of a frame, which hold its size.
_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})


@dataclass(frozen=True)
class Head:
    """The format, and the size in pixels."""

    form: str
    height: int
    width: int
    #: Whether it is in colors of print (CMYK).
    printed: bool = False


def head(data: bytes, label: str) -> Head:
    """Return what an image says of itself. Raise `BadData` when it is none, or too large to be decoded."""
    try:
        found = _sniffed(data)
    except (struct.error, IndexError):
        found = None
    if found is None:
        raise BadData(f"{label} is no JPEG, PNG, GIF or BMP image.")
    if found.form == "bmp" and _indexed(data):
        raise BadData(f"{label} is a BMP image whose pixels stand for colors of a palette; save it as PNG.")
    if found.height <= 0 or found.width <= 0 or found.height * found.width > PIXELS_MOST:
        raise BadData(f"{label} has {found.width} by {found.height} pixels; at most {PIXELS_MOST:,} are read.")
    return found


def _sniffed(data: bytes) -> Head | None:
    if data.startswith(b"\x89PNG\r\n\x1a\n") and data[12:16] == b"IHDR":
        width, height = struct.unpack_from(">II", data, 16)
        return Head("png", height, width)
    if data.startswith((b"GIF87a", b"GIF89a")):
        width, height = struct.unpack_from("<HH", data, 6)
        return Head("gif", height, width)
    if data.startswith(b"BM"):
        width, height = struct.unpack_from("<ii", data, 18)
        return Head("bmp", abs(height), width)
    return _jpeg(data) if data.startswith(b"\xff\xd8\xff") else None


def _indexed(data: bytes) -> bool:
    """Whether the pixels of a BMP are numbers of colors, other than those of gray: TensorFlow takes them for gray."""
    (header,), (bits,) = struct.unpack_from("<I", data, 14), struct.unpack_from("<H", data, 28)
    if bits > _GRAY_BITS:
        return False
    palette = np.frombuffer(data[14 + header :][: 4 << bits], np.uint8)
    grays = np.repeat(np.arange(1 << bits, dtype=np.uint8), 4).reshape(-1, 4)[:, :3]
    return bits < _GRAY_BITS or palette.size != 4 << bits or not np.array_equal(palette.reshape(-1, 4)[:, :3], grays)


def _jpeg(data: bytes) -> Head | None:
    at = 2
    while data[at] == 0xFF:  # noqa: PLR2004 - how every marker begins
        marker = data[at + 1]
        if marker == 0xFF:  # noqa: PLR2004 - filling
            at += 1
            continue
        (length,) = struct.unpack_from(">H", data, at + 2)
        if marker in _FRAMES:
            height, width, components = struct.unpack_from(">HHB", data, at + 5)
            return Head("jpeg", height, width, printed=components == _INKS)
        at += 2 + length
    return None


def _first_frame(data: bytes) -> bytes:
    """Return a GIF up to the end of its first image: decoders read all, and there may be thousands."""
    at = 13 + _table_bytes(data[10])
    while data[at] == 0x21:  # noqa: PLR2004 - an extension
        at = _after_blocks(data, at + 2)
    if data[at] != 0x2C:  # noqa: PLR2004 - an image
        raise IndexError
    at = _after_blocks(data, at + 11 + _table_bytes(data[at + 9]))
    return data[:at] + b";"


def _table_bytes(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _after_blocks(data: bytes, at: int) -> int:
    while data[at]:
        at += 1 + data[at]
    return at + 1


def decoded(data: bytes, color: str, label: str) -> tf.Tensor:
    """Return an image's pixels, uint8 of shape (height, width, channels). Raise `BadData` when they cannot be had."""
    found = head(data, label)
    channels = _CHANNELS[color]
    try:
        if found.form == "jpeg":
            # Colors of print are turned into red, green and blue only, not into gray.
            return _colored(tf.io.decode_jpeg(data, channels=3 if found.printed else min(channels, 3)), channels)
        if found.form == "png":
            return tf.io.decode_png(data, channels=channels)
        if found.form == "gif":
            return _colored(tf.io.decode_gif(_first_frame(data))[0], channels)
        return _colored(tf.io.decode_bmp(data), channels)
    except (tf.errors.OpError, IndexError, ValueError) as error:
        raise BadData(f"{label} is a damaged {found.form.upper()} image.") from error


def _colored(image: tf.Tensor, channels: int) -> tf.Tensor:
    """Return an image with so many channels: gray, color, and whether one sees through it."""
    if image.shape[-1] == channels:
        return image
    if channels == 1:
        return tf.image.rgb_to_grayscale(image[..., :3])
    if image.shape[-1] == 1:
        image = tf.image.grayscale_to_rgb(image)
    if channels == 3:  # noqa: PLR2004 - red, green, blue
        return image[..., :3]
    return image if image.shape[-1] == channels else tf.pad(image, [[0, 0], [0, 0], [0, 1]], constant_values=255)


def resized(image: tf.Tensor, height: int, width: int) -> np.ndarray:
    """Return an image in a size, float32 from 0 to 255, as `keras.utils.image_dataset_from_directory` does."""
    found: np.ndarray = tf.image.resize(image, (height, width), method="bilinear").numpy()
    return found
