"""Decodes objects and classifications, as the server sends them, into the attributes of typed columns.

See docs/wire-format.md, Objects. A label that is not as described there is decoded key by key. A key that
cannot be read becomes null, and the reason is kept.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pyarrow

from harvester.datasets.columns import MADE, TIME
from harvester.datasets.record_types import reason_of
from harvester.datasets.sent_shapes import (
    Corner,
    LineVertex,
    SentBitmask,
    SentBox,
    SentCircle,
    SentCuboid,
    SentCuboid2D,
    SentEllipse,
    SentRotated,
    Vertex,
)
from harvester.labels.dates import exact_moment

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# Microseconds of each text of the time of day.
_MINUTES = {f"{of // 60:02}:{of % 60:02}": of * 60_000_000 for of in range(1440)}
_SECONDS = {f":{second:02}": second * 1_000_000 for second in range(60)}
_MOST_DAYS = 10_000  # texts that are remembered: about 2 MB


class SentMade(msgspec.Struct, rename="camel", gc=False):
    """The keys that become the columns `harvester.datasets.columns.MADE`."""

    created_at: str | None = None
    created_by: str | None = None
    last_edited_at: str | None = None
    last_edited_by: str | None = None
    confidence: float | None = None
    manual_annotation: bool | None = None


class SentObject(SentMade, rename="camel", gc=False):
    """The geometry, too. `polygon`, an older form, is read where there is no `polygons`."""

    bounding_box: SentBox | None = None
    rotatable_bounding_box: SentRotated | None = None
    polygon: dict[str, Corner] | list[Corner] | None = None
    polygons: list[list[list[float]]] | None = None
    polyline: dict[str, LineVertex] | list[LineVertex] | None = None
    point: dict[str, Vertex] | list[Vertex] | None = None
    skeleton: dict[str, Vertex] | list[Vertex] | None = None
    bitmask: SentBitmask | None = None
    segmentation: str | None = None
    cuboid: SentCuboid | None = None
    cuboid_2d: SentCuboid2D | None = msgspec.field(default=None, name="cuboid_2d")
    circle: SentCircle | None = None
    ellipse: SentEllipse | None = None


NO_DATE, NO_EXTENT = reason_of(TIME), "extent_unknown"

# The remark on a key that cannot be read. Other keys are shapes, whose extent is not known then.
_REASONS = {**{name: reason_of(type) for name, type in MADE.items()}, "bitmask": reason_of(pyarrow.int64())}


class LabelDecoder:
    """Decodes labels of one type.

    `reasons` says, for each of the last ones of which something could not be read, by its place: the remarks.
    """

    def __init__(self, type: type[SentMade]) -> None:
        self._type = type
        self._decode = msgspec.json.Decoder(type).decode
        self._decode_all = msgspec.json.Decoder(list[type]).decode  # type: ignore[valid-type]
        self._fields = {
            field.encode_name: (field.name, msgspec.json.Decoder(field.type).decode)
            for field in msgspec.structs.fields(type)
        }
        self.reasons: dict[int, set[str]] = {}

    def decode(self, labels: list[bytes]) -> list[Any]:
        """Return the labels, decoded."""
        self.reasons = {}
        try:
            found = self._decode_all(b"[" + b",".join(labels) + b"]")  # faster than one by one
            if len(found) == len(labels):
                return found
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            pass
        return [self._by_keys(place, label) for place, label in enumerate(labels)]

    def _by_keys(self, place: int, label: bytes) -> Any:
        """Decode key by key, without those that cannot be read."""
        try:
            return self._decode(label)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            made, reasons = self._type(), self.reasons.setdefault(place, set())
        try:
            sent = msgspec.json.decode(label, type=dict[str, msgspec.Raw])
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            reasons.add("label_unreadable")
            return made
        for key in sent.keys() & self._fields.keys():
            name, decode = self._fields[key]
            try:
                setattr(made, name, decode(sent[key]))
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                reasons.add(_REASONS.get(name, NO_EXTENT))
        return made


class Moments:
    """Reads dates as `harvester.labels.dates` does, but faster: each day is read once, and there are few."""

    def __init__(self) -> None:
        # The day's first moment, by what stands before and after the time of day.
        self._days: dict[tuple[str, str], int] = {}

    def of(self, texts: Iterable[str | None]) -> list[int | None]:
        """Return microseconds since 1970 in UTC, None for what is no date in the years 1 to 9999."""
        days, found = self._days, list[int | None]()
        for text in texts:
            if text is None:
                found.append(None)
                continue
            at = text.find(":") - 2
            try:
                of_day = _MINUTES[text[at : at + 5]] + _SECONDS[text[at + 5 : at + 8]]
                found.append(days[text[:at], text[at + 8 :]] + of_day)
            except KeyError:
                found.append(self._of_new_day(text, at))
        return found

    def _of_new_day(self, text: str, at: int) -> int | None:
        """Return the moment of a text whose time of day begins `at`, and remember its day."""
        if text[at + 8 : at + 9] == ".":  # with a fraction, hardly two texts are alike
            return _microseconds(text)
        midnight = _microseconds(f"{text[:at]}00:00:00{text[at + 8 :]}")
        if midnight is not None:
            if len(self._days) >= _MOST_DAYS:
                self._days.clear()
            self._days[text[:at], text[at + 8 :]] = midnight
        return _microseconds(text)


def _microseconds(text: str) -> int | None:
    moment = exact_moment(text)
    return None if moment is None else (moment - _EPOCH) // _MICROSECOND
