"""Decodes objects and classifications as the server sends them into what the typed columns are made of.

See docs/wire-format.md, Objects. A label that is not as described there is decoded key by key: what cannot
be read is null, and it is said why.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec

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

_FIRST = datetime(1970, 1, 1, tzinfo=UTC)
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_MONTH = {name: f"{number:02}" for number, name in enumerate(_MONTHS, 1)}
_MINUTES = {f"{of // 60:02}:{of % 60:02}": of * 60_000_000 for of in range(1440)}
_SECONDS = {f":{second:02}": second * 1_000_000 for second in range(60)}
_MOST_DAYS = 10_000


class SentMade(msgspec.Struct, rename="camel", gc=False):
    """Who made a label, and when."""

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


NO_DATE, NO_EXTENT = "not_a_date", "extent_unknown"

# Why a key is null that cannot be read; of shapes, their extent is not known.
_REASONS = {
    "created_at": NO_DATE,
    "created_by": "not_a_text",
    "last_edited_at": NO_DATE,
    "last_edited_by": "not_a_text",
    "confidence": "not_a_number",
    "manual_annotation": "not_a_boolean",
    "bitmask": "not_an_integer",
}

Label = TypeVar("Label", bound=SentMade)


class LabelDecoder:
    """Decodes labels of one type. `reasons` holds what could not be read of the last ones, by their place."""

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
    """Reads times in the platform's forms: ISO 8601, in UTC where it has no zone, and RFC 7231.

    The latter is ``Sat, 28 Jan 2023 18:38:07 UTC``. Few days occur in a project: each is read once.
    """

    def __init__(self) -> None:
        self._days: dict[tuple[str, str], int] = {}  # by what stands before and after the time of day

    def of(self, texts: Iterable[str | None]) -> list[int | None]:
        """Return microseconds since 1970 in UTC, None for what is no time in the years 1 to 9999."""
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
                found.append(self._first(text, at))
        return found

    def _first(self, text: str, at: int) -> int | None:
        """Return the time of a text, and keep its day."""
        midnight = _microseconds(f"{text[:at]}00:00:00{text[at + 8 :]}")
        if midnight is not None:
            if len(self._days) >= _MOST_DAYS:
                self._days.clear()
            self._days[text[:at], text[at + 8 :]] = midnight
        return _microseconds(text)


def _microseconds(text: str) -> int | None:
    if text[3:5] == ", " and text[25:] in (" UTC", " GMT"):
        text = f"{text[12:16]}-{_MONTH.get(text[8:11])}-{text[5:7]}T{text[17:25]}+00:00"
    try:
        moment = datetime.fromisoformat(text)
        since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _FIRST
    except (ValueError, OverflowError):
        return None
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
