"""The parts of a comparison of the SDK with our records: metadata, geometry and answers of a label."""

from collections import Counter
from datetime import UTC, datetime
from typing import Any, NamedTuple

from encord.common.time_parser import parse_datetime
from encord.objects import ObjectInstance, Shape
from encord.objects.attributes import Attribute, ChecklistAttribute, RadioAttribute, TextAttribute
from encord.objects.coordinates import add_coordinates_to_frame_object_dict

from tests.labels.random_media import HEIGHT, WIDTH, Json
from tests.labels.sdk_rows import all_attributes

# What the SDK has of each label, and its name on the wire.
METADATA = {
    "created_at": "createdAt",
    "last_edited_at": "lastEditedAt",
    "created_by": "createdBy",
    "last_edited_by": "lastEditedBy",
    "confidence": "confidence",
    "manual_annotation": "manualAnnotation",
}
RANGED = (Shape.AUDIO, Shape.TEXT, Shape.TIME_RANGE)


class Difference(NamedTuple):
    """A property whose value in the SDK is not what our key holds, and which label or answer that is."""

    name: str
    where: Any
    sdk: Any
    ours: Any


class Checks:
    """`checked` counts comparisons by property, `differences` are those that failed."""

    def __init__(self, *, event_based: bool) -> None:
        self.checked: Counter[str] = Counter()
        self.differences: list[Difference] = []
        self._event_based = event_based

    def same(self, name: str, sdk: Any, ours: Any, where: Any = None) -> None:
        """Notes whether a property of the SDK is what our key holds."""
        self.checked[name] += 1
        if sdk != ours or isinstance(sdk, bool) != isinstance(ours, bool):
            self.differences.append(Difference(name, where, sdk, ours))

    def compare_metadata(self, name: str, sdk: Any, sent: Json) -> None:
        """Who, when, how sure: as the server sent it. `name` is of all, or ends in a dot."""
        for key, ours in METADATA.items():
            whole = name + key if name.endswith(".") else name
            self.same(whole, utc(getattr(sdk, key)), utc(sent.get(ours)), key)

    def compare_geometry(self, name: str, coordinates: Any, record: Json) -> None:
        """Where an object is: what the SDK would write, and what stands in the server's own object."""
        sent = record["object"]
        if record["shape"] in {shape.value for shape in RANGED}:
            if "html" in type(coordinates).__name__.lower():
                self.same(name, [one.to_dict() for one in coordinates.range], html(record))
            else:
                self.same(name, pairs(coordinates.range), record["ranges"])
            return
        base: Any = {}
        made = add_coordinates_to_frame_object_dict(coordinates, base, WIDTH, HEIGHT)
        self.same(name, dict(made), {key: sent.get(key) for key in made})

    def compare_answers(self, instance: ObjectInstance, record: Json) -> None:
        """Static answers, and the dynamic ones that hold where the record stands."""
        self.compare_static(instance, record["attributes"])
        if instance.is_range_only():
            return
        for attribute in instance.ontology_item.attributes:
            if attribute.dynamic:
                self._compare_dynamic(instance, attribute, record)

    def _compare_dynamic(self, instance: ObjectInstance, attribute: Attribute, record: Json) -> None:
        answers: Any = instance.get_answer(attribute)
        held = [
            item
            for item in record["dynamic_attributes"]
            if item["feature_hash"] == attribute.feature_node_hash
        ]
        where = (record["object_hash"], record["space_id"], record["frame"], attribute.name)
        start, last = record["frame"] or 0, record["until"]
        if self._event_based and record["space_id"] is None:
            sdk = [
                (repr(chosen(attribute, one.answer)), max(span.start, start), min(span.end, last))
                for one in answers
                for span in one.ranges
                if span.start <= last and span.end >= start
            ]
            ours = [(repr(said(item)), *span) for item in held for span in item["ranges"]]
            self.same("AnswerForFrames.ranges", sorted(sdk), sorted(ours), where)
            return
        here = [
            chosen(attribute, one.answer)
            for one in answers
            if any(span.start <= start <= span.end for span in one.ranges)
        ]
        self.same("AnswerForFrames.answer", here, [said(item) for item in held], where)

    def compare_static(self, instance: Any, items: list[Json]) -> None:
        """Every static answer of an object or a classification, and that nothing else is answered."""
        ours = {item["feature_hash"]: item for item in items}
        owner = type(instance).__name__
        self.same(f"{owner}.get_answer", len(ours), len(items), owner)
        for attribute in all_attributes(instance.ontology_item):
            answer = instance._static_answer_map.get(attribute.feature_node_hash)
            if answer is None:
                continue  # a dynamic one
            item, kind = ours.get(attribute.feature_node_hash), f"{type(answer).__name__}."
            self.same(kind + "is_answered", answer.is_answered(), item is not None, owner)
            if item is not None and answer.is_answered():
                given = chosen(attribute, instance.get_answer(attribute))
                self.same(f"{owner}.get_answer", given, said(item), owner)
                self._compare_answer(kind, attribute, answer, item, owner)

    def _compare_answer(self, kind: str, attribute: Any, answer: Any, item: Json, owner: str) -> None:
        self.same(kind + "get", chosen(attribute, answer.get()), said(item), owner)
        said_of = (item["feature_hash"], item["name"])
        self.same(kind + "ontology_attribute", (attribute.feature_node_hash, attribute.name), said_of)
        self.same(kind + "is_manual_annotation", answer.is_manual_annotation, item["manual_annotation"])
        self.same(kind + "is_dynamic", answer.is_dynamic, item["ranges"] is not None)
        if isinstance(attribute, ChecklistAttribute):
            there = {option["feature_hash"] for option in item["options"]}
            options = {option.feature_node_hash for option in answer.get_options()}
            self.same(kind + "get_options", options, there, owner)
            for option in attribute.options:
                checked = option.feature_node_hash in there
                self.same(kind + "get_option_value", answer.get_option_value(option), checked, owner)
                self.same(kind + "get_value", answer.get_value(option), checked, owner)
        elif isinstance(attribute, RadioAttribute):
            self.same(kind + "get_value", answer.get_value().label, item["options"][0]["name"])
        elif isinstance(attribute, TextAttribute):
            self.same(kind + "get_value", answer.get_value(), item["text"])


def pairs(ranges: Any) -> list[list[int]] | None:
    """The SDK's ranges as ours."""
    return None if ranges is None else [[span.start, span.end] for span in ranges]


def html(record: Json) -> Any:
    """The ranges of nodes of an HTML text, which stand in the server's own object, in one of two forms."""
    sent = record["object"]
    if record["space_id"] is None:
        return sent["range_html"]
    nodes = sent["spaces"][record["space_id"]]["range"]
    return [{"start": first, "end": last} for first, last in nodes]


def utc(moment: Any) -> Any:
    """A moment in UTC, to the second; anything else as it is."""
    if isinstance(moment, str) and moment[-3:] in ("UTC", "GMT"):
        moment = parse_datetime(moment)
    if isinstance(moment, datetime):
        moment = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
        return moment.replace(microsecond=0)
    return moment


def chosen(attribute: Attribute, value: Any) -> Any:
    """An answer of the SDK: a text, a number, or the feature hashes of its options."""
    if isinstance(attribute, RadioAttribute):
        return {value.feature_node_hash} if value is not None else set()
    if isinstance(attribute, ChecklistAttribute):
        return {option.feature_node_hash for option in value or ()}
    return value


def said(item: Json) -> Any:
    """The same of ours."""
    if item["options"] is not None:
        return {option["feature_hash"] for option in item["options"]}
    return item["text"] if item["text"] is not None else item["number"]
