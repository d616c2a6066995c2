"""One stored object: its bytes and its digests.

Objects of one kind share all bytes but their last few, which carry the object's own name. What is shared is
made and hashed once, so an object costs microseconds.
"""

import hashlib
import zlib

import google_crc32c


class Shared:
    """The bytes that all objects of one kind begin with."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.md5 = hashlib.md5(data, usedforsecurity=False)
        self.sha256 = hashlib.sha256(data)
        self.crc32 = zlib.crc32(data)
        self.crc32c = google_crc32c.value(data)


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
    def crc32c(self) -> bytes:
        value: int = google_crc32c.extend(self._shared.crc32c, self._end)
        return value.to_bytes(4, "big")
