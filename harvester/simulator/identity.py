"""Hashes without a table: every hash contains the number of what it names, which can be read back."""

import hashlib

MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15

# What a hash names; the number stands in the hash.
LABEL, DATA, UNIT, SPACE, TASK, ITEM, STAGE, DATASET, PROJECT, ONTOLOGY, CHILD, REVIEW, FOLDER = range(
    0x10, 0x1D
)


def mix(value: int) -> int:
    """Return 64 well-spread bits of a number (the finaliser of splitmix64)."""
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & MASK
    return value ^ (value >> 31)


def blend(*values: int) -> int:
    """Return 64 bits that depend on several numbers and their order."""
    state = 0
    for value in values:
        state = mix((state + value + GOLDEN) & MASK)
    return state


class Hashes:
    """Makes the hashes of one world (in the form of version 4 UUIDs), and reads them back."""

    def __init__(self, seed: int, title: str) -> None:
        salt = int.from_bytes(hashlib.sha256(f"{seed}/{title}".encode()).digest()[:8], "big")
        self._shift = salt & 0xFFFFFFFF
        self._middle = (salt >> 32) & 0xFFF
        self._variant = 0x8000 | (salt >> 44) & 0x3FFF
        self._inverse = pow(0x9E3779B1, -1, 1 << 32)

    def make(self, kind: int, number: int, part: int = 0) -> bytes:
        """Return the hash of the `number`-th thing of a kind; `part` (0..255) numbers what is inside it."""
        head = (number * 0x9E3779B1 + self._shift) & 0xFFFFFFFF
        tail = (head * 0xD1342543DE82 + self._shift + (kind << 8 | part) * 0x5851F42D) & 0xFFFFFFFFFFFF
        return b"%08x-%02x%02x-4%03x-%04x-%012x" % (head, kind, part, self._middle, self._variant, tail)

    def text(self, kind: int, number: int, part: int = 0) -> str:
        return self.make(kind, number, part).decode()

    def read(self, kind: int, text: str) -> tuple[int, int] | None:
        """Return (number, part) of a hash of this world; None for any other text."""
        try:
            head, part = int(text[:8], 16), int(text[11:13], 16)
        except ValueError:
            return None
        number = ((head - self._shift) * self._inverse) & 0xFFFFFFFF
        return (number, part) if self.make(kind, number, part) == text.encode("utf-8", "replace") else None
