"""Reads and counts object and classification records for the report."""

import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from harvester.filters.fields import Review
from harvester.report.numbers import Labels, Reviews
from harvester.report.tally import (
    MOST_KEYS,
    AnswerCounts,
    BoxTally,
    FrameTally,
    GivenAnswer,
    GivenAnswers,
    ValueCounts,
    given_answers,
    last_decision,
)

_GROUPS = 4096  # the most groups of equal records that are kept until they are added to the counts
_RANGE_SHAPES = frozenset({"audio", "time_range", "text"})

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
    reviews: list[Review] | None = None


class _CountedRecord(msgspec.Struct, gc=False):
    label_hash: str | None = None
    branch_name: str | None = None
    data_type: str | None = None
    unit_hash: str | None = None
    space_id: str | None = None
    frame: int | None = None


class _CountedObject(_CountedRecord, gc=False):
    label: _Label = msgspec.field(default_factory=_Label, name="object")
    answers: list[GivenAnswer] | None = msgspec.field(default=None, name="attributes")


class _CountedClassification(_CountedRecord, gc=False):
    label: _Label = msgspec.field(default_factory=_Label, name="classification")
    answers: list[GivenAnswer] | None = None


# What is counted of a record: name, data type, author, shape.
_Group = tuple[str | None, str | None, str | None, str | None]
# The same of the first record of a label, with: whether it is automated, its last review, its answers.
_First = tuple[_Group, bool, str, GivenAnswers]


class LabelTally(ABC):
    """Counts the records of one kind, and the distinct labels in them.

    A label may have many records, one per frame. The records of a label row follow one another, so only the
    labels of the current row are remembered.

    Most records are equal in what is counted of them. Equal records are therefore counted as a group first:
    one step for each record, instead of one for each of its fields.
    """

    _decoder: "msgspec.json.Decoder[Any]"

    def __init__(self) -> None:
        self._unread = self._automated = 0
        self._firsts: dict[_First, int] = {}  # the number of equal ones
        self._further: dict[_Group, int] = {}
        self._values = tuple(ValueCounts() for _ in range(4))  # of each field of a group
        self._answers, self._reviews = AnswerCounts(), Counter[str]()
        self._names: dict[str, str] = {}  # feature hash -> name of the class
        self._row: tuple[str | None, str | None] | None = None
        self._seen: set[str | None] = set()

    @abstractmethod
    def _add(self, record: Any) -> None:
        """Count one record."""

    def _count(self, record: "_CountedObject | _CountedClassification", name: str | None) -> None:
        """Count one record of a label with that name."""
        label = record.label
        if (row := (record.label_hash, record.branch_name)) != self._row:
            self._row, self._seen = row, set()
        group = (name, record.data_type, label.created_by, label.shape)
        label_id = label.object_hash or label.classification_hash
        if label_id is None or label_id not in self._seen:
            self._seen.add(label_id)
            decision, answers = last_decision(label.reviews), given_answers(record.answers)
            first = (group, label.manual_annotation is False, decision, answers)
            self._firsts[first] = self._firsts.get(first, 0) + 1
        else:
            self._further[group] = self._further.get(group, 0) + 1
        if len(self._firsts) >= _GROUPS or len(self._further) >= _GROUPS:
            self._add_groups()

    def _add_groups(self) -> None:
        """Add the groups to the counts, and forget them."""
        for (group, automated, decision, answers), times in self._firsts.items():
            for values, value in zip(self._values, group, strict=True):
                values.add(value, times, times)
            self._automated += times if automated else 0
            self._reviews[decision] += times
            self._answers.add(group[0], answers, times)
        for group, times in self._further.items():
            for values, value in zip(self._values, group, strict=True):
                values.add(value, times, 0)
        self._firsts, self._further = {}, {}

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
            except msgspec.ValidationError:
                self._unread += 1
            except msgspec.DecodeError:
                # msgspec rejects unpaired surrogates, which the JSON grammar allows; json accepts them. It
                # raises ValueError if the line is not JSON at all.
                whole = json.dumps(json.loads(line), ensure_ascii=False).encode(errors="replace")
                read += self.read([whole], is_void) - 1
        return read

    def labels(self) -> Labels:
        """Return the counts."""
        self._add_groups()
        names, data_types, authors, _ = self._values
        distinct = names.distinct.total()
        return Labels(
            records=names.records.total() + self._unread,
            distinct=distinct,
            unread=self._unread,
            by_name=names.ranking(self._names),
            by_data_type=data_types.ranking(),
            by_author=authors.ranking(),
            by_hand=distinct - self._automated,
            automated=self._automated,
            reviews=Reviews(**self._reviews),
            missing=self._answers.missing(self._names),
        )


class ObjectTally(LabelTally):
    """Counts object records."""

    def __init__(self) -> None:
        super().__init__()
        self._boxes, self._frames = BoxTally(), FrameTally()
        self._decoder = msgspec.json.Decoder(_CountedObject)

    def _add(self, record: _CountedObject) -> None:
        label = record.label
        self._count(record, label.name)
        if (box := label.bounding_box or label.rotatable_bounding_box) is not None:
            self._boxes.add(box.x, box.y, box.w, box.h)
        if label.shape not in _RANGE_SHAPES:
            self._frames.add((record.label_hash, record.unit_hash, record.space_id, record.frame))

    def labels(self) -> Labels:
        return msgspec.structs.replace(
            super().labels(),
            by_shape=self._values[3].ranking(),
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
        name, feature = record.label.name, record.label.feature_hash
        name = name or next((answer.name for answer in record.answers or ()), None)
        if feature and name and len(self._names) < MOST_KEYS:
            self._names.setdefault(feature, name)
        self._count(record, feature or name)
