"""Label rows built with the SDK's own objects: all shapes, attributes and data types that it can build."""

from collections.abc import Callable, Iterator
from typing import Any

from encord.objects import Classification, LabelRowV2, Object, ObjectInstance, OntologyStructure, Shape
from encord.objects.attributes import (
    Attribute,
    ChecklistAttribute,
    NumericAttribute,
    RadioAttribute,
    TextAttribute,
)
from encord.objects.bitmask import BitmaskCoordinates
from encord.objects.classification import OntologyClassificationLevel
from encord.objects.classification_instance import ClassificationInstance
from encord.objects.coordinates import (
    AudioCoordinates,
    BoundingBoxCoordinates,
    CircleCoordinates,
    Cuboid2DIsometricCoordinates,
    EllipseCoordinates,
    HtmlCoordinates,
    PointCoordinate,
    PolygonCoordinates,
    PolylineCoordinates,
    RotatableBoundingBoxCoordinates,
    SkeletonCoordinate,
    SkeletonCoordinates,
    TextCoordinates,
)  # fmt: skip
from encord.objects.frames import Range
from encord.objects.html_node import HtmlNode, HtmlRange
from encord.objects.skeleton_template import SkeletonTemplate, SkeletonTemplateCoordinate
from encord.orm.storage import (
    CustomerProvidedAudioMetadata,
    CustomerProvidedImageMetadata,
    CustomerProvidedPdfMetadata,
    CustomerProvidedTextMetadata,
    CustomerProvidedVideoMetadata,
)  # fmt: skip

CORNERS = [
    PointCoordinate(0.1, 0.1),
    PointCoordinate(0.4, 0.1),
    PointCoordinate(0.4, 0.6),
    PointCoordinate(0.1, 0.6),
]
COORDINATES: dict[Shape, Any] = {
    Shape.BOUNDING_BOX: BoundingBoxCoordinates(height=0.1, width=0.2, top_left_x=0.3, top_left_y=0.4),
    Shape.ROTATABLE_BOUNDING_BOX: RotatableBoundingBoxCoordinates(
        height=0.1, width=0.2, top_left_x=0.3, top_left_y=0.4, theta=33.3
    ),
    Shape.POLYGON: PolygonCoordinates(CORNERS),
    Shape.POLYLINE: PolylineCoordinates(CORNERS),
    Shape.POINT: PointCoordinate(0.123456789, 0.5),
    Shape.BITMASK: BitmaskCoordinates({"top": 0, "left": 0, "height": 20, "width": 30, "rleString": "hb0"}),
    Shape.CUBOID_2D: Cuboid2DIsometricCoordinates(front=CORNERS, offset=PointCoordinate(0.05, -0.05)),
    Shape.CIRCLE: CircleCoordinates(center_x=0.5, center_y=0.5, radius=0.1),
    Shape.ELLIPSE: EllipseCoordinates(center_x=0.5, center_y=0.5, rx=0.1, ry=0.2, theta=10),
    Shape.SKELETON: SkeletonCoordinates(
        values=[SkeletonCoordinate(x=0.1, y=0.2, name="nose"), SkeletonCoordinate(x=0.3, y=0.4, name="tail")],
        name="Skeleton",
    ),
}
RANGES = [Range(0, 4), Range(10, 12)]
HTML = [HtmlRange(start=HtmlNode(xpath="/a", offset=1), end=HtmlNode(xpath="/b", offset=2))]


class Ontology:
    """As much of an ontology as a label row needs."""

    def __init__(self) -> None:
        self.structure = OntologyStructure()
        for shape in Shape:
            self._attributes(self.structure.add_object(f"The {shape.value}", shape))
        points = {
            str(at): SkeletonTemplateCoordinate(
                x=at / 9, y=0.5, name=name, featureHash=f"point{at}", color="#00000"
            )
            for at, name in enumerate(("nose", "tail"))
        }
        [skeleton] = [thing for thing in self.structure.objects if thing.shape == Shape.SKELETON]
        self.structure.skeleton_templates["Skeleton"] = SkeletonTemplate(
            name="Skeleton",
            width=1,
            height=1,
            skeleton=points,
            skeleton_edges={"0": {"1": {"color": "#000"}}},
            feature_node_hash=skeleton.feature_node_hash,
        )
        for kind in (RadioAttribute, ChecklistAttribute, TextAttribute, NumericAttribute):
            root = self.structure.add_classification().add_attribute(kind, f"A {kind.__name__}")
            _options(root)
        whole = self.structure.add_classification(level=OntologyClassificationLevel.GLOBAL)
        whole.add_attribute(TextAttribute, "The whole row")

    @staticmethod
    def _attributes(thing: Object) -> None:
        for dynamic in (False, True):
            for kind in (RadioAttribute, ChecklistAttribute, TextAttribute, NumericAttribute):
                _options(thing.add_attribute(kind, f"{kind.__name__} {dynamic}", dynamic=dynamic))


def _options(attribute: Attribute) -> None:
    if isinstance(attribute, ChecklistAttribute):
        for name in ("First", "Second", "Third"):
            attribute.add_option(name)
    if isinstance(attribute, RadioAttribute):
        attribute.add_option("Plain")
        rich = attribute.add_option("Rich")
        rich.add_nested_attribute(TextAttribute, "Note")
        checklist = rich.add_nested_attribute(ChecklistAttribute, "Marks")
        for name in ("A", "B"):
            checklist.add_option(name)
        deeper = rich.add_nested_attribute(RadioAttribute, "Deeper")
        deeper.add_option("Still").add_nested_attribute(NumericAttribute, "How deep")


def attributes(roots: list[Attribute]) -> Iterator[Attribute]:
    """Attributes and all that is nested under their options."""
    for attribute in roots:
        yield attribute
        if isinstance(attribute, RadioAttribute):
            for option in attribute.options:
                yield from attributes(option.attributes)


def value_for(attribute: Attribute, seed: int) -> Any:
    """An answer to any attribute."""
    if isinstance(attribute, RadioAttribute):
        return attribute.options[-1]
    if isinstance(attribute, ChecklistAttribute):
        return attribute.options[seed % 2 :]
    return f"text {seed} é" if isinstance(attribute, TextAttribute) else seed + 0.25


def _answer(instance: ObjectInstance, last: int | None, seed: int) -> None:
    for root in instance.ontology_item.attributes:
        for attribute in attributes([root]):
            if not root.dynamic:
                instance.set_answer(value_for(attribute, seed), attribute)
            elif attribute is root and last is not None:
                instance.set_answer(value_for(attribute, seed), attribute, frames=Range(0, last))


def _classify(row: LabelRowV2, structure: OntologyStructure, ranges: list[Range]) -> None:
    framed = row.data_type.value not in ("audio", "plain_text")
    for seed, thing in enumerate(structure.classifications):
        instance: ClassificationInstance = thing.create_instance(range_only=not framed)
        whole = thing.level is not None or not framed
        instance.set_for_frames(0 if whole else ranges)
        for attribute in attributes(thing.attributes):
            instance.set_answer(value_for(attribute, seed), attribute)
        row.add_classification_instance(instance)


def _framed(row: LabelRowV2, structure: OntologyStructure, frames: list[int]) -> None:
    for seed, (shape, coordinates) in enumerate(COORDINATES.items()):
        if shape == Shape.BITMASK and row.data_type.value == "pdf":
            continue  # A mask is as large as its picture, and pages have no size.
        [thing] = [one for one in structure.objects if one.shape == shape]
        for which in range(2):
            instance = thing.create_instance()
            instance.set_for_frames(
                coordinates, frames[which:] or frames, confidence=0.5, manual_annotation=False
            )
            row.add_object_instance(instance)
            _answer(instance, frames[-1] if which else None, seed + which)
    _classify(row, structure, [Range(frames[0], frames[-1])])


def _ranged(row: LabelRowV2, structure: OntologyStructure, shape: Shape, coordinates: Any) -> None:
    [thing] = [one for one in structure.objects if one.shape == shape]
    for seed in range(2):
        instance = thing.create_instance()
        instance.set_for_frames(coordinates)
        row.add_object_instance(instance)
        _answer(instance, None, seed)
    _classify(row, structure, [])


IMAGE = CustomerProvidedImageMetadata(mime_type="image/png", file_size=1, height=20, width=30)
VIDEO = CustomerProvidedVideoMetadata(
    fps=5, duration=4, width=30, height=20, file_size=1, mime_type="video/mp4"
)
AUDIO = CustomerProvidedAudioMetadata(
    duration=60,
    file_size=1,
    mime_type="audio/mpeg",
    sample_rate=8000,
    bit_depth=8,
    codec="mp3",
    num_channels=1,
)
# The data that a row is made for, and what labels it.
BUILDERS: dict[str, tuple[Any, Callable[[LabelRowV2, OntologyStructure], None]]] = {
    "image": (IMAGE, lambda row, known: _framed(row, known, [0])),
    "image group": ([IMAGE] * 3, lambda row, known: _framed(row, known, [0, 1, 2])),
    "video": (VIDEO, lambda row, known: _framed(row, known, [0, 1, 2, 7, 19])),
    "pdf": (
        CustomerProvidedPdfMetadata(file_size=1, num_pages=3),
        lambda row, known: _framed(row, known, [0, 2]),
    ),
    "audio": (AUDIO, lambda row, known: _ranged(row, known, Shape.AUDIO, AudioCoordinates(range=RANGES))),
    "plain text": (
        CustomerProvidedTextMetadata(file_size=1, mime_type="text/plain"),
        lambda row, known: _ranged(row, known, Shape.TEXT, TextCoordinates(range=RANGES)),
    ),
    "html": (
        CustomerProvidedTextMetadata(file_size=1, mime_type="text/html"),
        lambda row, known: _ranged(row, known, Shape.TEXT, HtmlCoordinates(range=HTML)),
    ),
}


def build(name: str, ontology: Ontology) -> LabelRowV2:
    """A labelled row of one kind of data."""
    data, labels = BUILDERS[name]
    row = LabelRowV2.from_media_metadata(ontology, data)  # type: ignore[arg-type]
    labels(row, ontology.structure)
    return row


def all_attributes(thing: Object | Classification) -> list[Attribute]:
    return list(attributes(thing.attributes))
