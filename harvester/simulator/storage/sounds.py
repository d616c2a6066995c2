"""Silence as MP3 and as WAV: written by hand, so it costs nothing."""

import struct

_WAV_RATE = 8000  # samples a second, 8 bits each, one channel
_NAME = 64  # bytes of the chunk that holds the name: the file's first bytes give the length of all


def mp3(seconds: float, rate: int) -> bytes:
    """Return stereo silence: MPEG audio frames without any bits of sound.

    Args:
        rate: samples a second; 44,100 and 48,000 are MPEG-1, 16,000 is MPEG-2 (ISO 13818-3).
    """
    if rate == 16000:
        head, samples, length = b"\xff\xf3\x18\x00", 576, 72 * 8000 // rate
    else:
        index = {44100: b"\x10", 48000: b"\x14"}[rate]
        head, samples, length = b"\xff\xfb" + index + b"\x00", 1152, 144 * 32000 // rate
    return head.ljust(length, b"\0") * round(seconds * rate / samples)


def mp3_end(name: bytes) -> bytes:
    """Return an ID3v1 tag: title and artist hold the name."""
    return b"TAG" + name.ljust(60, b"\0")[:60] + bytes(65)


def wav(seconds: float) -> bytes:
    """Return silence as PCM; the last chunk, of the name, is counted but not there."""
    size = int(seconds * _WAV_RATE)
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, _WAV_RATE, _WAV_RATE, 1, 8)
    data = struct.pack("<4sI", b"data", size) + b"\x80" * size
    whole = 4 + len(form) + len(data) + 8 + _NAME
    return struct.pack("<4sI4s", b"RIFF", whole, b"WAVE") + form + data


def wav_end(name: bytes) -> bytes:
    return struct.pack("<4sI", b"note", _NAME) + name.ljust(_NAME, b"\0")[:_NAME]
