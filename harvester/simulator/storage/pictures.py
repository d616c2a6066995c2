"""Images whose number can be read back: 16 bits as black and white blocks, eight in each of two rows."""

import io
import struct
import zlib
from functools import cache

from PIL import Image

COLUMNS, ROWS = 8, 2  # blocks; bit 0 is at the top left
BLACK, WHITE = 16, 235  # as video has them


@cache
def blocks(number: int) -> bytes:
    """Return the brightness of each block, row by row."""
    return bytes(WHITE if number >> bit & 1 else BLACK for bit in range(COLUMNS * ROWS))


def drawn(number: int, width: int, height: int) -> Image.Image:
    """Return a grey image that shows the number (0 to 65535)."""
    small = Image.frombytes("L", (COLUMNS, ROWS), blocks(number))
    return small.resize((width, height), Image.Resampling.NEAREST)


def read_number(picture: Image.Image) -> int:
    """Return the number that an image, or a video frame as an image, shows."""
    grey = picture.convert("L")
    width, height = grey.size
    number = 0
    for bit in range(COLUMNS * ROWS):
        column, row = bit % COLUMNS, bit // COLUMNS
        place = ((2 * column + 1) * width // (2 * COLUMNS), (2 * row + 1) * height // (2 * ROWS))
        brightness = grey.getpixel(place)
        assert isinstance(brightness, int)
        number |= (brightness > (BLACK + WHITE) // 2) << bit
    return number


def jpeg(number: int, width: int, height: int) -> bytes:
    """Return a JPEG without its end marker."""
    return _saved(number, width, height, "JPEG")[:-2]


def jpeg_end(name: bytes) -> bytes:
    """Return a comment with the name, and the end marker."""
    return b"\xff\xfe" + struct.pack(">H", len(name) + 2) + name + b"\xff\xd9"


def png(number: int, width: int, height: int) -> bytes:
    """Return a PNG without its last chunk."""
    return _saved(number, width, height, "PNG", compress_level=1)[:-12]


def png_end(name: bytes) -> bytes:
    """Return a text chunk with the name, and the last chunk."""
    return _chunk(b"tEXt", b"Comment\x00" + name) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _saved(number: int, width: int, height: int, format: str, **options: int) -> bytes:
    out = io.BytesIO()
    drawn(number, width, height).convert("RGB").save(out, format, **options)
    return out.getvalue()
