"""Expands the ranges of a placement to frames, for ``--per-frame``. Lines are made while they are written."""

from collections.abc import Iterable, Iterator
from itertools import chain, compress, islice

import msgspec

from harvester.labels.wire import Ranges

# The most frames that a placement is expanded to if the number of frames is not known: 46 hours at 60 frames
# per second. It bounds the number of lines that a wrong range can cause.
MOST_FRAMES = 10_000_000
# Lines that are made in one step, and thus the most lines of a placement in memory.
AT_ONCE = 1000

Spans = list[tuple[int, int]]  # ranges of frames, both ends included, sorted, without overlap

_decode_ranges = msgspec.json.Decoder(Ranges).decode


class Expansion(msgspec.Struct, frozen=True):
    """The frames that a placement is expanded to. `cut` is true if frames of its ranges were left out."""

    spans: Spans
    cut: bool

    def __iter__(self) -> Iterator[int]:
        return chain.from_iterable(range(start, end + 1) for start, end in self.spans)

    def __len__(self) -> int:
        return sum(end - start + 1 for start, end in self.spans)


def expanded(ranges: bytes, number_of_frames: int | None) -> Expansion | None:
    """Return the frames of `ranges`, or None if these are not pairs of whole numbers.

    Args:
        ranges: a JSON list of pairs of first and last frame, both included.
        number_of_frames: of the data; later frames are left out. If None, it is not known, and the first
            `MOST_FRAMES` are used.
    """
    spans = _spans(ranges)
    if spans is None:
        return None
    last = spans[-1][1] if number_of_frames is None and spans else (number_of_frames or 0) - 1
    there = [(max(0, start), min(end, last)) for start, end in spans if start <= last and end >= 0]
    kept = list(_first(there, MOST_FRAMES)) if number_of_frames is None else there
    return Expansion(kept, kept != spans)


def expanded_on(ranges: bytes, frames: Iterable[int]) -> Expansion | None:
    """Return those of `frames` that are in `ranges`, or None if these are not pairs of whole numbers.

    Args:
        ranges: a JSON list of pairs of first and last frame, both included.
        frames: the numbers of all frames of the data.
    """
    spans = _spans(ranges)
    if spans is None:
        return None
    there = [frame for frame in sorted(frames) if any(start <= frame <= end for start, end in spans)]
    cut = sum(end - start + 1 for start, end in spans) != len(there)
    return Expansion([(frame, frame) for frame in there], cut)


def _spans(ranges: bytes) -> Spans | None:
    try:
        pairs = _decode_ranges(ranges)
    except msgspec.ValidationError:
        return None
    if not all(isinstance(bound, int) or bound.is_integer() for pair in pairs for bound in pair):
        return None
    return list(_merged(sorted((int(start), int(end)) for start, end in pairs if start <= end)))


def _merged(spans: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Merge sorted spans that overlap or are adjacent."""
    current: tuple[int, int] | None = None
    for start, end in spans:
        if current is not None and start <= current[1] + 1:
            current = (current[0], max(current[1], end))
            continue
        if current is not None:
            yield current
        current = (start, end)
    if current is not None:
        yield current


def _first(spans: Spans, most: int) -> Iterator[tuple[int, int]]:
    for start, end in spans:
        if most <= 0:
            return
        last = min(end, start + most - 1)
        most -= last - start + 1
        yield start, last


class FrameLines:
    """The lines of one placement, which differ only in the frame. A `harvester.labels.records.LineSeries`.

    Args:
        before, after: the bytes before and after the frame number in each line.
        frames: the frames of the placement.
        kept: one byte per frame, 1 if the frame has a line, else 0. None: each frame has a line.
    """

    def __init__(self, before: bytes, after: bytes, frames: Expansion, kept: bytearray | None = None) -> None:
        self._before = before
        self._after = after
        self._frames = frames
        self._kept = kept
        lines = len(frames) if kept is None else sum(kept)
        digits = _digits(frames.spans) if kept is None else sum(len(str(frame)) for frame in self._numbers())
        self._bytes = lines * (len(before) + len(after)) + digits

    def __len__(self) -> int:
        return self._bytes

    def __iter__(self) -> Iterator[bytes]:
        line = self._before.replace(b"%", b"%%") + b"%d" + self._after.replace(b"%", b"%%")
        numbers = self._numbers()
        while some := tuple(islice(numbers, AT_ONCE)):
            yield line * len(some) % some

    def _numbers(self) -> Iterator[int]:
        return iter(self._frames) if self._kept is None else compress(self._frames, self._kept)


def _digits(spans: Spans) -> int:
    """Return the total number of digits of all frame numbers in `spans`, none of which is negative."""
    total = 0
    for start, end in spans:
        low = start
        while low <= end:
            count = len(str(low))
            high = min(end, 10**count - 1)
            total += (high - low + 1) * count
            low = high + 1
    return total
