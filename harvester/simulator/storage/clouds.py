"""Point clouds (PCD) and recordings (MCAP)."""

import struct

POINTS = 90_000  # the most that a segmentation counts
_MAGIC = b"\x89MCAP0\r\n"


def pcd() -> bytes:
    """Return a binary point cloud: a line of points, repeated."""
    head = (
        "# .PCD v0.7 - Point Cloud Data file format\nVERSION 0.7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\n"
        f"COUNT 1 1 1\nWIDTH {POINTS}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS {POINTS}\nDATA binary\n"
    )
    line = b"".join(struct.pack("<3f", place / 10, 0.0, 0.5) for place in range(100))
    return head.encode() + line * (POINTS // 100)


def mcap() -> bytes:
    """Return a recording without messages, up to what names it."""
    return _MAGIC + _record(0x01, _text(b"") + _text(b"harvester simulator"))


def mcap_end(name: bytes) -> bytes:
    """Return the name as metadata, and the end of the file (https://mcap.dev/spec)."""
    pair = _text(b"name") + _text(name)
    named = _record(0x0C, _text(b"simulated") + struct.pack("<I", len(pair)) + pair)
    return named + _record(0x0F, bytes(4)) + _record(0x02, bytes(20)) + _MAGIC


def _record(kind: int, content: bytes) -> bytes:
    return struct.pack("<BQ", kind, len(content)) + content


def _text(text: bytes) -> bytes:
    return struct.pack("<I", len(text)) + text
