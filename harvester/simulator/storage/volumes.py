"""Medical images: DICOM files of one slice, NIfTI volumes. Slices show their number."""

import struct

from harvester.simulator.storage.pictures import drawn

SIDE = 512  # pixels of a slice, as label rows say
STUDY, SERIES = "1.2.826.0.1", "1.2.826.0.2"
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
_LONG = ("OB", "OW")  # value representations with a length of four bytes (DICOM PS3.5, 7.1.2)


def _element(group: int, element: int, kind: str, value: str | bytes | int) -> bytes:
    """Return a data element in explicit VR little endian."""
    match value:
        case int():
            data = struct.pack("<I" if kind == "UL" else "<H", value)
        case str():
            data = value.encode()
        case bytes():
            data = value
    data += (b" " if kind in ("CS", "PN", "LO", "IS") else b"\0") * (len(data) % 2)
    head = struct.pack("<HH2s", group, element, kind.encode())
    length = struct.pack("<HI", 0, len(data)) if kind in _LONG else struct.pack("<H", len(data))
    return head + length + data


def dicom(number: int, instance: str) -> bytes:
    """Return a Part 10 file of one slice, up to its pixels.

    Args:
        number: what the slice shows, and its instance number.
        instance: its SOP instance UID.
    """
    meta = b"".join(
        (
            _element(0x0002, 0x0001, "OB", b"\0\1"),
            _element(0x0002, 0x0002, "UI", _SECONDARY_CAPTURE),
            _element(0x0002, 0x0003, "UI", instance),
            _element(0x0002, 0x0010, "UI", _EXPLICIT_LITTLE_ENDIAN),
            _element(0x0002, 0x0012, "UI", "1.2.826.0.9"),
        )
    )
    body = (
        _element(0x0008, 0x0016, "UI", _SECONDARY_CAPTURE),
        _element(0x0008, 0x0018, "UI", instance),
        _element(0x0008, 0x0060, "CS", "OT"),
        _element(0x0010, 0x0010, "PN", "Simulated^Patient"),
        _element(0x0010, 0x0020, "LO", "1"),
        _element(0x0020, 0x000D, "UI", STUDY),
        _element(0x0020, 0x000E, "UI", SERIES),
        _element(0x0020, 0x0013, "IS", str(number)),
        _element(0x0028, 0x0002, "US", 1),
        _element(0x0028, 0x0004, "CS", "MONOCHROME2"),
        _element(0x0028, 0x0010, "US", SIDE),
        _element(0x0028, 0x0011, "US", SIDE),
        _element(0x0028, 0x0100, "US", 8),
        _element(0x0028, 0x0101, "US", 8),
        _element(0x0028, 0x0102, "US", 7),
        _element(0x0028, 0x0103, "US", 0),
        _element(0x7FE0, 0x0010, "OB", drawn(number, SIDE, SIDE).tobytes()),
    )
    size = _element(0x0002, 0x0000, "UL", len(meta))
    return bytes(128) + b"DICM" + size + meta + b"".join(body)


def dicom_end(name: bytes) -> bytes:
    """Return the padding that may end a data set, with the name in it."""
    return _element(0xFFFC, 0xFFFC, "OB", name)


def nifti(slices: int) -> bytes:
    """Return a NIfTI-1 file (`n+1`) of 8-bit slices."""
    head = bytearray(352)  # the header, and four bytes that say that it has no extension
    struct.pack_into("<i", head, 0, 348)
    struct.pack_into("<8h", head, 40, 3, SIDE, SIDE, slices, 1, 1, 1, 1)
    struct.pack_into("<2h", head, 70, 2, 8)  # unsigned bytes
    struct.pack_into("<8f", head, 76, 1, 1, 1, 1, 0, 0, 0, 0)
    struct.pack_into("<2f", head, 108, 352, 1)  # where the voxels begin; the slope of their values
    head[344:348] = b"n+1\0"
    return bytes(head) + b"".join(drawn(number, SIDE, SIDE).tobytes() for number in range(slices))
