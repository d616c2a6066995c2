"""Label rows that the SDK writes at random: of all kinds of data, shapes, attributes, spaces and events."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from random import Random
from typing import Any
from unittest.mock import patch
from uuid import UUID
from warnings import catch_warnings, simplefilter

from encord.objects import LabelRowV2, ObjectInstance, Shape
from encord.objects.attributes import Attribute, ChecklistAttribute, RadioAttribute, TextAttribute
from encord.objects.classification_instance import ClassificationInstance
from encord.objects.coordinates import (
    AudioCoordinates,
    HtmlCoordinates,
    TextCoordinates,
    TimeRangeCoordinates,
)
from encord.objects.frames import Range
from encord.objects.spaces.base_space import Space
from encord.objects.spaces.html_space import HTMLSpace
from encord.objects.spaces.image_space import ImageSpace
from encord.objects.spaces.multiframe_space.multiframe_space import MultiFrameSpace
from encord.objects.spaces.multiframe_space.pdf_space import PdfSpace
from encord.objects.spaces.range_space.audio_space import AudioSpace
from encord.objects.spaces.range_space.text_space import TextSpace
from encord.objects.spaces.range_space.time_series_space import TimeSeriesSpace
from encord.orm.label_row import LabelRowMetadata

from harvester.labels.wire import PlanRow
from tests.labels.random_media import (
    DEEP,
    EVENTS,
    FLAT,
    MEDIA,
    MOVING,
    SECOND,
    Json,
    coordinates,
    empty_row,
    html_ranges,
    listed,
    ranges,
)
from tests.labels.sdk_rows import Ontology

KINDS = tuple(MEDIA)
RANGE_SHAPE = {"audio": Shape.AUDIO, "plain_text": Shape.TEXT, "html": Shape.TEXT, "text": Shape.TEXT}
PEOPLE = ("ann@example.com", "bob@example.com")
START = datetime(2025, 1, 1)


@dataclass
class Written:
    """A row as the SDK wrote it: its kind, its item of the listing, and the row.

    `marks` say what was done to it that the SDK cannot do, and what it holds that the SDK reads otherwise.
    """

    kind: str
    item: Json
    sent: Json
    marks: set[str] = field(default_factory=set)


@contextmanager
def seeded(seed: int) -> Iterator[Random]:
    """Dice from a seed; the SDK's own hashes come from them as well. It calls outdated parts of its own."""
    dice = Random(seed)
    with patch("uuid.uuid4", lambda: UUID(int=dice.getrandbits(128), version=4)), catch_warnings():
        simplefilter("ignore", DeprecationWarning)
        yield dice


def planned(item: Json) -> PlanRow:
    """What planning makes of an item of the listing."""
    copied = (
        "dataset_hash", "dataset_title", "data_title", "label_hash", "branch_name", "data_hash", "data_type",
        "number_of_frames", "width", "height",
    )  # fmt: skip
    return PlanRow(**{key: item[key] for key in copied if key in item})


def loaded(item: Json, sent: Json, ontology: Ontology) -> LabelRowV2:
    """The SDK's own model of a row."""
    row = LabelRowV2(LabelRowMetadata.from_dict(item), None, ontology)  # type: ignore[arg-type]
    row.from_labels_dict(sent)
    return row


def write(kind: str, dice: Random, ontology: Ontology) -> Written:
    """A row of one kind, built with the SDK's objects and written by it."""
    item = listed(kind, dice)
    empty = empty_row(kind, item)
    row = loaded(item, empty, ontology)
    writer = _Writer(row, item, kind, dice, ontology)
    writer.write()
    sent = row.to_encord_dict()
    # What the platform says of units and spaces, and the SDK does not write.
    for space_id, info in sent["spaces"].items():
        sent["spaces"][space_id] = item["spaces"].get(space_id, {}) | info
    for key, unit in sent["data_units"].items():
        before = empty["data_units"][key]
        unit.update({name: before[name] for name in ("metadata", "data_link") if name in before})
        for frame, labels in before["labels"].items():
            unit["labels"].setdefault(frame, {"objects": []}).update(metadata=labels["metadata"])
    return Written(kind, item, sent, writer.marks)


class _Writer:
    """Puts labels at random into a row that holds none."""

    def __init__(self, row: LabelRowV2, item: Json, kind: str, dice: Random, ontology: Ontology) -> None:
        self.marks: set[str] = set()
        self._row = row
        self._item = item
        self._kind = kind
        self._dice = dice
        self._structure = ontology.structure

    def write(self) -> None:
        if self._kind in ("image", "img_group", "video", "dicom", "nifti", "pdf", "scene"):
            self._framed()
        elif self._kind in ("audio", "plain_text", "html", "time_series"):
            self._ranged()
        elif self._kind in ("events", "channels"):
            self._events()
        if self._kind == "channels":
            self._row._mcap_spaces.get_or_create_time_series_space("/imu/accel.z")
            self._row._mcap_spaces.get_or_create_time_series_space("/gps/speed")
            self._row._mcap_spaces.get_or_create_point_cloud_space("/lidar/points@1700000000000000001")
        for space in self._row.get_spaces():
            self._on_space(space)
        self._share()

    def _made(self, shape: Shape) -> ObjectInstance:
        number = self._dice.choice((None, self._dice.randint(1, 99)))
        [thing] = [one for one in self._structure.objects if one.shape == shape]
        return ObjectInstance(thing, object_number=number)

    def _by(self) -> Json:
        """Who, when, how sure."""
        dice = self._dice
        return {
            "created_at": START + timedelta(seconds=dice.randint(0, 10_000_000)),
            "created_by": dice.choice(PEOPLE),
            "last_edited_at": START + timedelta(seconds=dice.randint(10_000_000, 20_000_000)),
            "last_edited_by": dice.choice((None, *PEOPLE)),
            "confidence": dice.choice((1.0, 0.0, round(dice.random(), 3))),
            "manual_annotation": dice.random() < 0.5,
        }

    def _answer(self, instance: ObjectInstance | ClassificationInstance, attributes: list[Attribute]) -> None:
        """Answers most static attributes, and those that are nested in the options that it chooses."""
        for attribute in attributes:
            if attribute.dynamic or self._dice.random() < 0.25:
                continue
            value = self._value(attribute)
            if isinstance(instance, ObjectInstance):
                instance.set_answer(value, attribute, manual_annotation=self._dice.random() < 0.5)
            else:
                instance.set_answer(value, attribute)
            if isinstance(attribute, RadioAttribute):
                self._answer(instance, value.attributes)

    def _value(self, attribute: Attribute) -> Any:
        dice = self._dice
        if isinstance(attribute, RadioAttribute):
            return dice.choice(attribute.options)
        if isinstance(attribute, ChecklistAttribute):
            return dice.sample(attribute.options, dice.randint(1, len(attribute.options)))
        if isinstance(attribute, TextAttribute):
            return f"text {dice.randint(1, 99)} é \u2028 \N{GRINNING FACE}"
        return dice.choice((dice.randint(-9, 9), round(dice.random() * 1000, 4), 2**40, 1e-7))

    def _dynamic(self, instance: ObjectInstance, spans: list[Range], put: Callable[..., None]) -> None:
        """Answers some dynamic attributes on some of `spans`, by `put`."""
        for attribute in instance.ontology_item.attributes:
            if attribute.dynamic and self._dice.random() < 0.5:
                for span in self._dice.sample(spans, self._dice.randint(1, len(spans))):
                    put(self._value(attribute), attribute, frames=span)

    def _framed(self) -> None:
        end = self._item["number_of_frames"] - 1
        deep = self._kind == "scene"
        shapes = [one for one in (DEEP if deep else FLAT) if (one, self._kind) != (Shape.BITMASK, "pdf")]
        for _ in range(self._dice.randint(1, 6)):
            instance = self._made(self._dice.choice(shapes))
            frames = sorted(self._dice.sample(range(end + 1), self._dice.randint(1, end + 1)))
            for frame in frames:
                where = coordinates(instance.ontology_item.shape, self._dice, deep=deep)
                instance.set_for_frames(where, frame, **self._by())
            self._row.add_object_instance(instance)
            self._answer(instance, instance.ontology_item.attributes)
            self._dynamic(instance, [Range(frame, frame) for frame in frames], instance.set_answer)
        self._classify_row(lambda: self._frame_ranges(end))

    def _ranged(self) -> None:
        for _ in range(self._dice.randint(1, 4)):
            if self._kind == "html":
                where: Any = HtmlCoordinates(range=html_ranges(self._dice))
            else:
                made = {"audio": AudioCoordinates, "plain_text": TextCoordinates}
                where = made.get(self._kind, TimeRangeCoordinates)(range=ranges(self._dice))
            instance = self._made(RANGE_SHAPE.get(self._kind, Shape.TIME_RANGE))
            instance.set_for_frames(where, **self._by())
            self._row.add_object_instance(instance)
            self._answer(instance, instance.ontology_item.attributes)
        self._classify_row(lambda: 0)

    def _events(self) -> None:
        for _ in range(self._dice.randint(1, 4)):
            shape = self._dice.choice(EVENTS)
            instance = self._made(shape)
            self._row.add_object_instance(instance)
            time, lives = self._dice.randint(0, SECOND), list[Range]()
            for _ in range(self._dice.randint(1, 3)):
                start = time
                for _ in range(self._dice.randint(1, 3)):
                    modes = ("hold", "linear") if shape in MOVING else ("hold",)
                    where = coordinates(shape, self._dice, deep=True)
                    mode = self._dice.choice((None, *modes))
                    instance.upsert_event(where, time, interpolation=mode, **self._by())
                    time += self._dice.randint(2, SECOND)
                instance.delete_event(time)
                middle = (start + time) // 2
                lives += [Range(start, middle), Range(middle + 1, time - 1)][: 1 + (middle + 1 < time)]
                time += self._dice.randint(0, SECOND)
            self._answer(instance, instance.ontology_item.attributes)
            self._dynamic(instance, lives, instance.set_answer)
        self._classify_row(lambda: ranges(self._dice, SECOND))

    def _frame_ranges(self, end: int) -> list[Range]:
        frames = sorted(self._dice.sample(range(end + 1), self._dice.randint(1, end + 1)))
        return [Range(frame, frame) for frame in frames]

    def _classified(self, *, range_only: bool = False) -> Iterator[ClassificationInstance]:
        for thing in self._structure.classifications:
            if self._dice.random() < 0.5:
                instance = ClassificationInstance(thing, range_only=range_only)
                self._answer(instance, thing.attributes)
                yield instance

    def _classify_row(self, where: Callable[[], Any]) -> None:
        """Classifies the row, on `where` unless a classification is one of the whole."""
        only = self._kind in ("audio", "plain_text", "html", "time_series", "events", "channels")
        for instance in self._classified(range_only=only):
            instance.set_for_frames(0 if instance.is_global() else where(), **self._by())
            self._row.add_classification_instance(instance)

    def _on_space(self, space: Space[Any, Any, Any]) -> None:
        for _ in range(self._dice.randint(0, 3)):
            self._put(space)
        for instance in self._classified():
            frames: list[Any] = []
            if isinstance(space, MultiFrameSpace) and not instance.is_global():
                frames = [self._frame_ranges(space._number_of_frames - 1)]
            space.put_classification_instance(instance, *frames, **self._by())

    def _put(self, space: Space[Any, Any, Any]) -> None:
        dice = self._dice
        if isinstance(space, ImageSpace | MultiFrameSpace):
            shapes = [one for one in FLAT if one != Shape.BITMASK or not isinstance(space, PdfSpace)]
            instance = self._made(dice.choice(shapes))
            where = coordinates(instance.ontology_item.shape, dice)
            if isinstance(space, ImageSpace):
                space.put_object_instance(instance, where, **self._by())
            else:
                end = space._number_of_frames - 1
                frames = sorted(dice.sample(range(end + 1), dice.randint(1, end + 1)))
                space.put_object_instance(instance, frames, where, **self._by())
                self._answer(instance, instance.ontology_item.attributes)
                spans = [Range(frame, frame) for frame in frames]
                put = partial(self._set_dynamic, space, instance)
                self._dynamic(instance, spans, put)
                return
        elif isinstance(space, HTMLSpace):
            instance = self._made(Shape.TEXT)
            space.put_object_instance(instance, html_ranges(dice), **self._by())
        else:
            shape = {AudioSpace: Shape.AUDIO, TextSpace: Shape.TEXT, TimeSeriesSpace: Shape.TIME_RANGE}
            instance = self._made(shape.get(type(space), Shape.SEGMENTATION))
            space.put_object_instance(instance, ranges(dice), **self._by())
        self._answer(instance, instance.ontology_item.attributes)

    @staticmethod
    def _set_dynamic(space: Any, instance: ObjectInstance, value: Any, attribute: Any, frames: Range) -> None:
        space.set_dynamic_answer(instance, frames, value, attribute)

    def _share(self) -> None:
        """Puts an object of one space on another of its kind, too."""
        for space in self._row.get_spaces():
            for other in self._row.get_spaces():
                if other is space or type(other) is not type(space) or isinstance(space, HTMLSpace):
                    continue
                there = other.get_object_instances()
                # The SDK puts no object on a space that has dynamic answers.
                free = [
                    one for one in space.get_object_instances() if one not in there and not _dynamics(one)
                ]
                if free and self._dice.random() < 0.6:
                    self._put_also(other, free[0])

    def _put_also(self, space: Any, instance: ObjectInstance) -> None:
        if isinstance(space, ImageSpace):
            shape = instance.ontology_item.shape
            space.put_object_instance(instance, coordinates(shape, self._dice), **self._by())
        elif isinstance(space, MultiFrameSpace):
            where = coordinates(instance.ontology_item.shape, self._dice)
            space.put_object_instance(instance, [0], where, **self._by())
            self._dynamic(instance, [Range(0, 0)], partial(self._set_dynamic, space, instance))
        else:
            space.put_object_instance(instance, ranges(self._dice), **self._by())
        self.marks.add("on several spaces")


def _dynamics(instance: ObjectInstance) -> bool:
    """Whether an object has dynamic answers."""
    known = instance.ontology_item.attributes
    return any(attribute.dynamic and instance.get_answer(attribute) for attribute in known)
