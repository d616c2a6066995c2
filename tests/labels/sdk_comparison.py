"""Compares each public property of the SDK's model of a label row with the key of ours that holds it."""

from collections.abc import Iterable
from typing import Any

from encord.common.bitmask_operations.bitmask_operations import rle_string_to_points
from encord.objects import LabelRowV2, ObjectInstance
from encord.objects.classification_instance import ClassificationInstance
from encord.objects.frames import frames_to_ranges
from encord.objects.spaces.html_space import HTMLSpace
from encord.objects.spaces.image_space import ImageSpace
from encord.objects.spaces.multiframe_space.multiframe_space import MultiFrameSpace

from tests.labels.random_media import Json
from tests.labels.random_rows import Written
from tests.labels.sdk_checks import RANGED, Checks, chosen, html, pairs, said

IMAGE = {
    "image_hash": "unit_hash",
    "image_title": "file_name",
    "file_type": "mime_type",
    "data_link": "data_url",
}
LISTED_IMAGE = {
    "image_hash": "unit_hash",
    "title": "file_name",
    "file_type": "mime_type",
    "width": "width",
    "height": "height",
    "frame_number": "sequence",
}


class Comparison(Checks):
    """The SDK's model of a row, and our records of it."""

    def __init__(self, written: Written, row: LabelRowV2, records: dict[str, list[Json]]) -> None:
        super().__init__(event_based=row.is_event_based)
        self._written = written
        self._row = row
        self._objects = records["objects"]
        self._classifications = records["classifications"]
        self._units = records["units"]

    def run(self) -> None:
        self._compare_row()
        for instance in self._row.get_object_instances():
            self._compare_object(instance)
        for one in self._row.get_classification_instances():
            self._compare_classification(one, None)
        for space in self._row.get_spaces():
            self._compare_space(space)

    def _compare_row(self) -> None:
        row, first = self._row, self._units[0]
        for key in ("label_hash", "branch_name", "data_hash", "dataset_hash", "dataset_title", "data_title"):
            self.same(f"LabelRowV2.{key}", getattr(row, key), first[key])
        self.same("LabelRowV2.data_type", row.data_type.value, first["data_type"])
        if row.data_type.value != "img_group":
            for key, ours in (("file_type", "mime_type"), ("width", "width"), ("height", "height")):
                self.same(f"LabelRowV2.{key}", getattr(row, key), first[ours])
            self.same("LabelRowV2.data_link", row.data_link, first["data_url"])
            self.same("LabelRowV2.fps", row.fps, first["fps"])
            self.same("LabelRowV2.duration", row.duration, first["duration"])
            self.same("LabelRowV2.number_of_frames", row.number_of_frames, first["number_of_frames"])
        self._hashes("LabelRowV2.get_object_instances", row.get_object_instances(), self._objects, None)
        found = row.get_classification_instances()
        self._hashes("LabelRowV2.get_classification_instances", found, self._classifications, None)
        spaces = {unit["space_id"] for unit in self._units} - {None}
        self.same("LabelRowV2.get_spaces", {space.space_id for space in row.get_spaces()}, spaces)
        events = any(record["until"] is not None for record in self._objects)
        if row.is_event_based and row.get_object_instances():
            self.same("LabelRowV2.is_event_based", True, events)
        if not row.is_event_based and row.data_type.value not in ("audio", "plain_text", "time_series"):
            self._compare_views()

    def _compare_views(self) -> None:
        """The frames of the row: images of a group, or frames of its only unit."""
        units = [unit for unit in self._units if unit["space_id"] is None]
        grouped = self._row.data_type.value == "img_group"
        for view in self._row.get_frame_views():
            unit = units[view.frame] if grouped else units[0]
            self._compare_view(view, unit)
            self.same("LabelRowV2.get_frame_view", self._row.get_frame_view(view.frame).frame, view.frame)
            if grouped:
                self.same("LabelRowV2.FrameView.frame", view.frame, unit["sequence"])
            if grouped or self._row.data_type.value == "image":
                self._compare_picture(view, unit)
        self.same("LabelRowV2.get_frame_views", len(self._row.get_frame_views()), self._frames(units))

    def _frames(self, units: list[Json]) -> int:
        return int(len(units) if len(units) > 1 else units[0]["number_of_frames"])

    def _compare_view(self, view: Any, unit: Json) -> None:
        name = "LabelRowV2.FrameView."
        if self._row.data_type.value not in ("pdf", "group", "scene"):  # else the SDK refuses to tell
            self.same(name + "width", view.width, unit["width"])
            self.same(name + "height", view.height, unit["height"])
        here = [one for one in self._objects if one["frame"] == view.frame]
        self._hashes(name + "get_object_instances", view.get_object_instances(), here, None)
        of_all = {
            one.classification_hash for one in self._row.get_classification_instances() if one.is_range_only()
        }
        there = [
            one
            for one in self._classifications
            if one["classification_hash"] not in of_all
            and any(first <= view.frame <= last for first, last in one["ranges"])
        ]
        found = [one for one in view.get_classification_instances() if not one.is_range_only()]
        self._hashes(name + "get_classification_instances", found, there, None)
        if view.metadata is not None:
            [slice_] = [one for one in unit["slices"] if one["frame"] == view.frame]
            self.same(name + "metadata", view.metadata.dicom_instance_uid, slice_["instance_uid"])
            uid = view.metadata.dicom_instance_uid
            self.same("DICOMSliceMetadata.dicom_instance_uid", uid, slice_["instance_uid"])
            for key in ("file_uri", "width", "height"):
                self.same(f"DICOMSliceMetadata.{key}", getattr(view.metadata, key), slice_[key])

    def _compare_picture(self, view: Any, unit: Json) -> None:
        """An image, alone or of a group."""
        row, name = self._row, "LabelRowV2.FrameView."
        for key, ours in IMAGE.items():
            self.same(name + key, getattr(view, key), unit[ours])
        self.same("LabelRowV2.get_image_hash", row.get_image_hash(view.frame), unit["unit_hash"])
        self.same("LabelRowV2.get_frame_number", row.get_frame_number(unit["unit_hash"]), unit["sequence"])
        if row.data_type.value == "img_group":
            listed = row.get_frame_metadata(view.frame)
            self.same("LabelRowV2.get_frame_metadata", listed.frame_number, unit["sequence"])
            for key, ours in LISTED_IMAGE.items():
                self.same(f"LabelRowV2.FrameViewMetadata.{key}", getattr(listed, key), unit[ours])

    def _hashes(self, name: str, sdk: Iterable[Any], ours: list[Json], space_id: str | None) -> None:
        """Whether the same objects or classifications are there."""
        key = "object_hash" if "object" in name else "classification_hash"
        there = {record[key] for record in ours if record["space_id"] == space_id}
        self.same(name, {getattr(one, key) for one in sdk}, there, space_id)

    # Objects

    def _compare_object(self, instance: ObjectInstance) -> None:
        ours = _of(self._objects, "object_hash", instance.object_hash, None)
        name = "ObjectInstance."
        self.same(name + "is_range_only", instance.is_range_only(), all(one["frame"] is None for one in ours))
        self._compare_class(instance, ours)
        if instance.ontology_item.shape in RANGED:
            self._compare_span(instance, ours[0])
        elif self._row.is_event_based:
            self._compare_events(instance, ours)
            return
        else:
            frames = sorted(one["frame"] for one in ours)
            self.same(name + "get_annotation_frames", sorted(instance.get_annotation_frames()), frames)
            self.same(name + "get_ranges", instance.get_ranges(), frames_to_ranges(frames))
        annotations = instance.get_annotations()
        self.same(name + "get_annotations", len(annotations), len(ours), instance.object_hash)
        for annotation, record in zip(annotations, sorted(ours, key=_frame), strict=True):
            again = instance.get_annotation(annotation.frame)
            self.same(name + "get_annotation", again.frame, record["frame"] or 0)
            kind, sent = name + "Annotation.", record["object"]
            self._compare_annotation(kind, annotation, record)
            self.same(kind + "is_deleted", annotation.is_deleted, sent.get("isDeleted"))
            self.same(kind + "reviews", annotation.reviews, sent.get("reviews"))
            self.compare_answers(instance, record)

    def _compare_span(self, instance: ObjectInstance, record: Json) -> None:
        """An object on ranges."""
        name = "ObjectInstance."
        if self._written.kind == "html":
            nodes = [one.to_dict() for one in instance.range_html or ()]
            self.same(name + "range_html", nodes, record["object"]["range_html"])
            self.same(name + "range_list", None, record["ranges"])
        else:
            self.same(name + "range_list", pairs(instance.range_list), record["ranges"])
            self.same(name + "get_ranges", pairs(instance.get_ranges()), record["ranges"])

    def _compare_class(self, instance: ObjectInstance, ours: list[Json]) -> None:
        name, shape = "ObjectInstance.", instance.ontology_item.shape.value
        for record in ours:
            where = (record["object_hash"], record["space_id"])
            self.same(name + "object_hash", instance.object_hash, record["object_hash"], where)
            self.same(name + "feature_hash", instance.feature_hash, record["feature_hash"], where)
            self.same(name + "object_name", instance.object_name, record["name"], where)
            self.same(name + "object_number", instance.object_number, record["object_number"], where)
            self.same(name + "ontology_item", shape, record["shape"], where)
            parent = instance.is_assigned_to_label_row()
            if parent:
                self.same(name + "is_assigned_to_label_row", parent.label_hash, record["label_hash"], where)

    def _compare_events(self, instance: ObjectInstance, ours: list[Json]) -> None:
        """Upserts are records; a delete is the moment after a record's last."""
        records = {record["frame"]: record for record in ours}
        events: list[Any] = instance.get_events()
        upserts = [event.frame for event in events if event.kind == "upsert"]
        self.same("ObjectInstance.get_events", upserts, sorted(records))
        for event, after in zip(events, [*events[1:], None], strict=True):
            if event.kind == "delete":
                before = records[max(frame for frame in records if frame < event.frame)]
                self.same("LabelDeleteEvent.frame", event.frame, before["until"] + 1)
                self.same("LabelDeleteEvent.kind", event.kind, "delete")
                continue
            assert after is not None
            self._compare_event(instance, event, after.frame, records[event.frame])
        held = [(span.start, span.end) for span in instance.get_ranges()]
        self.same("ObjectInstance.get_ranges", held, _joined(ours))

    def _compare_event(self, instance: ObjectInstance, event: Any, end: int, record: Json) -> None:
        name, sent = "LabelUpsertEvent.", record["object"]
        mode = sent.get("interpolate") or "hold"
        self.same(name + "frame", event.frame, record["frame"])
        self.same("ObjectInstance.get_events", end - 1, record["until"], "until")
        self.same(name + "kind", event.kind, sent.get("event", "upsert"))
        self.same(name + "interpolation", event.interpolation, mode)
        self.compare_geometry(name + "coordinates", event.coordinates, record)
        self.compare_metadata(name + "metadata", event.metadata, sent)
        name = "ObjectInstance.ResolvedAnnotation."
        between: Any = instance.get_annotation((event.frame + end) // 2)
        self.same(name + "keyframe", between.keyframe, record["frame"])
        self.same(name + "interpolation", between.interpolation, mode)
        at_event: Any = instance.get_annotation(event.frame)
        self._compare_annotation(name, at_event, record)
        self.same(name + "reviews", at_event.reviews, sent.get("reviews"))
        self.same(name + "is_deleted", at_event.is_deleted, sent.get("isDeleted"))
        self.compare_answers(instance, record)

    def _compare_annotation(self, name: str, annotation: Any, record: Json) -> None:
        self.same(name + "object_hash", annotation.object_hash, record["object_hash"])
        self.same(name + "object_instance", annotation.object_instance.object_hash, record["object_hash"])
        self.same(name + "frame", annotation.frame, record["frame"] or 0)
        self.compare_metadata(name, annotation, record["object"])
        if record["shape"] == "segmentation" or (record["shape"] == "time_range" and record["space_id"]):
            return  # the SDK has no coordinates for them
        self.compare_geometry(name + "coordinates", annotation.coordinates, record)

    # Classifications

    def _compare_classification(self, one: ClassificationInstance, space_id: str | None) -> None:
        hash, name = one.classification_hash, "ClassificationInstance."
        ours = _of(self._classifications, "classification_hash", hash, space_id)
        self.same(name + "get_annotations", 1, len(ours), (hash, space_id))
        for record in ours[:1]:
            self.same(name + "classification_hash", hash, record["classification_hash"])
            self.same(name + "feature_hash", one.feature_hash, record["feature_hash"])
            self.same(name + "classification_name", one.classification_name, record["name"])
            self.same(name + "ontology_item", one.ontology_item.title, record["name"])
            self.compare_static(one, record["answers"])
            given = [answer for answer in one.get_all_static_answers() if answer.is_answered()]
            answered = {answer.ontology_attribute.feature_node_hash for answer in given}
            items = {item["feature_hash"] for item in record["answers"]}
            self.same(name + "get_all_static_answers", answered, items)
            if space_id is None:
                self._compare_placement(one, record)

    def _compare_placement(self, one: ClassificationInstance, record: Json) -> None:
        """Where a classification stands on the row."""
        name = "ClassificationInstance."
        assigned = bool(one.is_assigned_to_label_row())
        self.same(name + "is_assigned_to_label_row", assigned, bool(record["label_hash"]))
        self.same(name + "range_list", pairs(one.range_list), record["ranges"])
        self.compare_metadata(name, one, record["classification"])
        if one.is_range_only():
            return
        frames = {frame for first, last in record["ranges"] for frame in range(first, last + 1)}
        annotations: list[Any] = one.get_annotations()
        self.same(name + "get_annotations", {annotation.frame for annotation in annotations}, frames)
        for frame in frames:
            self.same(name + "is_on_frame", one.is_on_frame(frame), True)
            self.same(name + "get_annotation", one.get_annotation(frame).frame, frame)
        self.same(name + "is_on_frame", one.is_on_frame(max(frames) + 1), False)
        name += "Annotation."
        for annotation in annotations:
            self.same(name + "frame", annotation.frame in frames, True)
            self._compare_classified(name, annotation, record)
            self.same(name + "reviews", annotation.reviews, record["reviews"])

    def _compare_classified(self, name: str, annotation: Any, record: Json) -> None:
        hash = record["classification_hash"]
        self.same(name + "classification_hash", annotation.classification_hash, hash)
        instance = annotation.classification_instance
        self.same(name + "classification_instance", instance.classification_hash, hash)
        self.compare_metadata(name, annotation, record["classification"])

    # Spaces

    def _compare_space(self, space: Any) -> None:
        name, space_id = f"{type(space).__name__}.", space.space_id
        [unit] = [unit for unit in self._units if unit["space_id"] == space_id]
        self.same(name + "space_id", space_id, unit["space_id"])
        kind = type(space.metadata).__name__
        for of in (f"{kind}.file_name", name + "metadata"):
            self.same(of, space.metadata.file_name, unit["file_name"])
        if kind == "SceneMetadata":
            self.same(f"{kind}.uri", space.metadata.uri, unit["file_name"])
        self._hashes(name + "get_object_instances", space.get_object_instances(), self._objects, space_id)
        found = space.get_classification_instances()
        self._hashes(name + "get_classification_instances", found, self._classifications, space_id)
        by_place = {
            (one["object_hash"], one["frame"] or 0): one
            for one in self._objects
            if one["space_id"] == space_id
        }
        annotations = list(space.get_annotations("object"))
        self.same(name + "get_annotations", len(annotations), len(by_place))
        for annotation in annotations:
            self._compare_on_space(space, annotation, by_place[annotation.object_hash, annotation.frame])
        placed = {one.classification_hash: one for one in space.get_annotations("classification")}
        for annotation in placed.values():
            self._compare_space_classification(space, annotation)

    def _compare_on_space(self, space: Any, annotation: Any, record: Json) -> None:
        instance, kind = annotation.object_instance, f"{type(annotation).__name__}."
        self._compare_class(instance, [record])
        self._compare_annotation(kind, annotation, record)
        self.same(kind + "space", annotation.space.space_id, record["space_id"])
        self.compare_answers(instance, record)
        name = f"{type(space).__name__}."
        if isinstance(space, HTMLSpace):
            self.same(kind + "ranges", [one.to_dict() for one in annotation.ranges], html(record))
        elif isinstance(space, MultiFrameSpace):
            self._compare_space_answers(space, instance, record)
        elif not isinstance(space, ImageSpace):
            ours = record["ranges"]
            if record["shape"] == "segmentation":
                ours = pairs(frames_to_ranges(rle_string_to_points(record["object"]["segmentation"])))
            self.same(kind + "ranges", pairs(annotation.ranges), ours)
            self.same(name + "get_object_ranges", pairs(space.get_object_ranges(instance)), ours)

    def _compare_space_answers(self, space: Any, instance: ObjectInstance, record: Json) -> None:
        for attribute in instance.ontology_item.attributes:
            if attribute.dynamic:
                found = space.get_dynamic_answer(instance, record["frame"], attribute=attribute)
                held = [
                    said(item)
                    for item in record["dynamic_attributes"]
                    if item["feature_hash"] == attribute.feature_node_hash
                ]
                where = (record["object_hash"], record["space_id"], record["frame"], attribute.name)
                sdk = [chosen(attribute, one.answer) for one in found]
                self.same(f"{type(space).__name__}.get_dynamic_answer", sdk, held, where)

    def _compare_space_classification(self, space: Any, annotation: Any) -> None:
        one, kind = annotation.classification_instance, f"{type(annotation).__name__}."
        self._compare_classification(one, space.space_id)
        hash = one.classification_hash
        for record in _of(self._classifications, "classification_hash", hash, space.space_id):
            self._compare_classified(kind, annotation, record)
            self.same(kind + "space", annotation.space.space_id, record["space_id"])
            frames = {frame for first, last in record["ranges"] for frame in range(first, last + 1)}
            framed = isinstance(space, MultiFrameSpace) and frames
            self.same(kind + "frame", annotation.frame in frames if framed else annotation.frame == 0, True)


def _of(ours: list[Json], key: str, hash: str, space_id: str | None) -> list[Json]:
    return [one for one in ours if one[key] == hash and one["space_id"] == space_id]


def _frame(record: Json) -> int:
    return int(record["frame"] or 0)


def _joined(ours: list[Json]) -> list[tuple[int, int]]:
    """The moments at which an object is there, those that touch as one."""
    spans: list[tuple[int, int]] = []
    for record in sorted(ours, key=_frame):
        if spans and spans[-1][1] + 1 == record["frame"]:
            spans[-1] = (spans[-1][0], record["until"])
        else:
            spans.append((record["frame"], record["until"]))
    return spans
