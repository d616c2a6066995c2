"""Reads and counts object and classification records for the report."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from harvester.filters.fields import Review
from harvester.report.numbers import Labels
from harvester.report.tally import (
    MOST_KEYS,
    AnswerCounts,
    BoxTally,
    FrameTally,
    GivenAnswer,
    ReviewTally,
    ValueCounts,
)

_RANGE_SHAPES = frozenset({"audio", "time_range", "text"})
_NONE = msgspec.Raw(b"null")

# Takes (label hash, branch name); returns whether the records of that label row are void.
IsVoid = Callable[[tuple[str, str]], bool]


class _Box(msgspec.Struct, gc=False):
    x: float
    y: float
    w: float
    h: float


class _Label(msgspec.Struct, rename="camel", gc=False):
    """An object or classification as sent."""

    object_hash: str | None = None
    classification_hash: str | None = None
    feature_hash: str | None = None
    name: str | None = None
    shape: str | None = None
    created_by: str | None = None
    manual_annotation: bool | None = None
    bounding_box: _Box | None = None
    rotatable_bounding_box: _Box | None = None
    reviews: msgspec.Raw = _NONE


class _CountedRecord(msgspec.Struct, gc=False):
    label_hash: str | None = None
    branch_name: str | None = None
    data_type: str | None = None
    unit_hash: str | None = None
    space_id: str | None = None
    frame: int | None = None


class _CountedObject(_CountedRecord, gc=False):
    object: _Label = msgspec.field(default_factory=_Label)
    attributes: msgspec.Raw = _NONE


class _CountedClassification(_CountedRecord, gc=False):
    classification: _Label = msgspec.field(default_factory=_Label)
    answers: msgspec.Raw = _NONE


_decode_answers = msgspec.json.Decoder(list[GivenAnswer] | None).decode
_decode_reviews = msgspec.json.Decoder(list[Review] | None).decode


class LabelTally(ABC):
    """Counts the records of one kind, and the distinct labels in them.

    A label may have many records, one per frame. The records of a label row follow one another, so only the
    labels of the current row are remembered.
    """

    _decoder: "msgspec.json.Decoder[Any]"

    def __init__(self) -> None:
        self._records = self._distinct = self._unread = 0
        self._by_name, self._by_data_type, self._by_author = ValueCounts(), ValueCounts(), ValueCounts()
        self._by_hand = self._automated = 0
        self._answers, self._reviews = AnswerCounts(), ReviewTally()
        self._names: dict[str, str] = {}  # feature hash -> name of the class
        self._row: tuple[str | None, str | None] | None = None
        self._seen: set[str | None] = set()

    @abstractmethod
    def _add(self, record: Any) -> None:
        """Count one record. Raises msgspec.ValidationError if its form is unknown."""

    def _count(self, record: _CountedRecord, label: _Label, name: str | None, answers: msgspec.Raw) -> bool:
        """Count one record. Return whether it is the first record of its label."""
        if (row := (record.label_hash, record.branch_name)) != self._row:
            self._row, self._seen = row, set()
        label_id = label.object_hash or label.classification_hash
        new = label_id is None or label_id not in self._seen
        if new:
            # Decode before counting: a record that cannot be read must only be counted as unread.
            given, reviews = _decode_answers(answers) or [], _decode_reviews(label.reviews) or []
            self._seen.add(label_id)
            self._answers.add(name, given)
            self._reviews.add(reviews)
            self._distinct += 1
            if label.manual_annotation is False:
                self._automated += 1
            else:
                self._by_hand += 1
        self._by_name.add(name, new)
        self._by_data_type.add(record.data_type, new)
        self._by_author.add(label.created_by, new)
        return new

    def read(self, lines: Iterable[bytes], is_void: IsVoid | None = None) -> int:
        """Count the records that are not void. Return the number of lines, including void ones.

        Raises:
            ValueError: a line is not valid JSON.
        """
        decode, read = self._decoder.decode, 0
        for line in lines:
            read += 1
            try:
                record = decode(line)
                if is_void is not None and is_void((record.label_hash or "", record.branch_name or "")):
                    continue
                self._add(record)
                self._records += 1
            except msgspec.ValidationError:
                self._unread += 1
                self._records += 1
            except msgspec.DecodeError:
                # msgspec rejects unpaired surrogates, which the JSON grammar allows; json accepts them. It
                # raises ValueError if the line is not JSON at all.
                whole = json.dumps(json.loads(line), ensure_ascii=False).encode(errors="replace")
                read += self.read([whole], is_void) - 1
        return read

    def labels(self) -> Labels:
        """Return the counts."""
        return Labels(
            records=self._records,
            distinct=self._distinct,
            unread=self._unread,
            by_name=self._by_name.ranking(self._names),
            by_data_type=self._by_data_type.ranking(),
            by_author=self._by_author.ranking(),
            by_hand=self._by_hand,
            automated=self._automated,
            reviews=self._reviews.reviews(),
            missing=self._answers.missing(self._names),
        )


class ObjectTally(LabelTally):
    """Counts object records."""

    def __init__(self) -> None:
        super().__init__()
        self._by_shape, self._boxes, self._frames = ValueCounts(), BoxTally(), FrameTally()
        self._decoder = msgspec.json.Decoder(_CountedObject)

    def _add(self, record: _CountedObject) -> None:
        label = record.object
        new = self._count(record, label, label.name, record.attributes)
        self._by_shape.add(label.shape, new)
        if (box := label.bounding_box or label.rotatable_bounding_box) is not None:
            self._boxes.add(box.x, box.y, box.w, box.h)
        if label.shape not in _RANGE_SHAPES:
            self._frames.add((record.label_hash, record.unit_hash, record.space_id, record.frame))

    def labels(self) -> Labels:
        return msgspec.structs.replace(
            super().labels(),
            by_shape=self._by_shape.ranking(),
            boxes=self._boxes.boxes(),
            per_frame=self._frames.frames(),
        )


class ClassificationTally(LabelTally):
    """Counts classification records.

    The name of the class is only in the answers of a record. A record without answers gets the name of other
    records with the same feature hash.
    """

    def __init__(self) -> None:
        super().__init__()
        self._decoder = msgspec.json.Decoder(_CountedClassification)

    def _add(self, record: _CountedClassification) -> None:
        label, feature = record.classification, record.classification.feature_hash
        name = label.name or next((answer.name for answer in _decode_answers(record.answers) or ()), None)
        if feature and name and len(self._names) < MOST_KEYS:
            self._names.setdefault(feature, name)
        self._count(record, label, feature or name, record.answers)
