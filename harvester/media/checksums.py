"""Reads the checksums of a file from the headers of a store's answer, and verifies them.

Only what is a checksum of the whole file counts. ETag is one where Amazon S3 says so: 32 hexadecimal digits
are the MD5 of an object that was neither uploaded in parts (those have a dash) nor encrypted with a key of
KMS or of the customer (Amazon S3 API, "ETag"). CRC64NVME is not verified: no library for it is well kept and
small, and Amazon sends it only to those who ask with a header, which a signed URL does not do.
"""

import base64
import binascii
import hashlib
import re
import zlib
from collections.abc import Callable, Mapping
from typing import Protocol

import google_crc32c

_MD5_TAG = re.compile(r'"([0-9a-f]{32})"', re.ASCII)
_GOOGLE = ("md5", "crc32c")
_AMAZON = ("sha256", "sha1", "crc32", "crc32c")
_BYTES = {"md5": 16, "sha1": 20, "sha256": 32, "crc32": 4, "crc32c": 4}
# Each continues a checksum over further bytes.
_CRCS: dict[str, Callable[[bytes, int], int]] = {
    "crc32": zlib.crc32,
    "crc32c": lambda data, value: google_crc32c.extend(value, data),
}


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...
    def hexdigest(self) -> str: ...


class _Crc:
    def __init__(self, name: str) -> None:
        self._extend = _CRCS[name]
        self._value = 0

    def update(self, data: bytes, /) -> None:
        self._value = self._extend(data, self._value)

    def hexdigest(self) -> str:
        return f"{self._value:08x}"


def checksums_of(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the checksums of a file by algorithm, in hexadecimal.

    `headers` are those of an answer with all of the file: in others, `Content-MD5` may be of the part alone.
    Their names are compared in any case.
    """
    found: dict[str, str | None] = {}
    for item in "" if is_unpacked(headers) else headers.get("x-goog-hash", "").split(","):
        name, _, value = item.strip().partition("=")
        if name in _GOOGLE:
            found[name] = _from_base64(value, name)
    found.setdefault("md5", _from_base64(headers.get("x-ms-blob-content-md5", ""), "md5"))
    found["md5"] = found["md5"] or _from_base64(headers.get("Content-MD5", ""), "md5")
    if headers.get("x-amz-checksum-type") != "COMPOSITE":  # of an upload in parts: of the parts' checksums
        for name in _AMAZON:
            found[name] = found.get(name) or _from_base64(headers.get(f"x-amz-checksum-{name}", ""), name)
    if (tag := _MD5_TAG.fullmatch(headers.get("ETag", ""))) and _tag_is_md5(headers):
        found["md5"] = found["md5"] or tag[1]
    return {name: value for name, value in found.items() if value}


def is_unpacked(headers: Mapping[str, str]) -> bool:
    """Return whether Google has unpacked the object: its checksums and size are those of the packed one.

    Google Cloud Storage, "Transcoding of gzip-compressed files": an object stored with gzip is unpacked for
    whoever does not accept gzip.
    """
    return headers.get("x-goog-stored-content-encoding", "identity").lower() != "identity"


class Hashes:
    """Computes the sha256 of a file, and the checksums to compare with those of its store."""

    def __init__(self) -> None:
        self.bytes = 0
        self._expected: dict[str, str] = {}
        self._sha256 = hashlib.sha256()
        self._others: dict[str, _Hash] = {}

    def expect(self, checksums: Mapping[str, str]) -> None:
        """Set the expected checksums. Call it before the first byte."""
        assert self.bytes == 0
        self._expected = dict(checksums)
        self._others = {
            name: _Crc(name) if name in _CRCS else hashlib.new(name, usedforsecurity=False)
            for name in checksums
            if name != "sha256"
        }

    def update(self, data: bytes) -> None:
        """Add the next bytes."""
        self.bytes += len(data)
        self._sha256.update(data)
        for other in self._others.values():
            other.update(data)

    @property
    def sha256(self) -> str:
        """The sha256 of all bytes so far, in hexadecimal."""
        return self._sha256.hexdigest()

    def differs(self) -> str | None:
        """Return the name of a checksum that is not the expected one, or None."""
        made = {name: other.hexdigest() for name, other in self._others.items()} | {"sha256": self.sha256}
        return next((name for name, value in self._expected.items() if made[name] != value), None)


def _from_base64(value: str, name: str) -> str | None:
    try:
        decoded = base64.b64decode(value.strip(), validate=True)
    except (binascii.Error, ValueError):
        return None
    return decoded.hex() if len(decoded) == _BYTES[name] else None


def _tag_is_md5(headers: Mapping[str, str]) -> bool:
    amazon = "x-amz-request-id" in headers or headers.get("Server") == "AmazonS3"
    kms = headers.get("x-amz-server-side-encryption", "").startswith("aws:kms")
    return amazon and not kms and "x-amz-server-side-encryption-customer-algorithm" not in headers
