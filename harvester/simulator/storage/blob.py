"""One stored object: its bytes and its digests.

Objects of one kind share all bytes but their last few, which carry the object's own name. What is shared is
made and hashed once, so an object costs microseconds.
"""

import hashlib
import zlib
from functools import cached_property

CRC32C_UP_TO = 1 << 17  # bytes; the checksum runs in Python, so larger objects go without
_POLYNOMIAL = 0x82F63B78  # of CRC-32C (RFC 3720, appendix B.4), bits reversed


def _table() -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (_POLYNOMIAL if byte & 1 else 0)
        table.append(byte)
    return table


_TABLE = _table()


def crc32c(data: bytes, start: int = 0) -> int:
    """Continue the CRC-32C `start` over `data`."""
    state = start ^ 0xFFFFFFFF
    for byte in data:
        state = state >> 8 ^ _TABLE[(state ^ byte) & 0xFF]
    return state ^ 0xFFFFFFFF


class Shared:
    """The bytes that all objects of one kind begin with."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.md5 = hashlib.md5(data, usedforsecurity=False)
        self.sha256 = hashlib.sha256(data)
        self.crc32 = zlib.crc32(data)

    @cached_property
    def crc32c(self) -> int:
        return crc32c(self.data)


class Blob:
    """The bytes of one object: shared ones, then `end`."""

    def __init__(self, shared: Shared, end: bytes) -> None:
        self._shared = shared
        self._end = end

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self._shared.data) + len(self._end)

    @property
    def data(self) -> bytes:
        return self._shared.data + self._end

    @property
    def md5(self) -> bytes:
        digest = self._shared.md5.copy()
        digest.update(self._end)
        return digest.digest()

    @property
    def sha256(self) -> bytes:
        digest = self._shared.sha256.copy()
        digest.update(self._end)
        return digest.digest()

    @property
    def crc32(self) -> bytes:
        return zlib.crc32(self._end, self._shared.crc32).to_bytes(4, "big")

    @property
    def crc32c(self) -> bytes | None:
        """None for an object that is too large."""
        if self.size > CRC32C_UP_TO:
            return None
        return crc32c(self._end, self._shared.crc32c).to_bytes(4, "big")
