"""The object classes of an ontology, in its order: name, shape, colour, and the joints of skeletons."""

import re
from typing import Any

import msgspec

from harvester.errors import BadInput

# Shapes whose classes are in no data set of images, as in the platform's own COCO exporter.
_NOT_SEEN = frozenset(("audio", "text"))
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")


class SkeletonJoint(msgspec.Struct, rename="camel"):
    """A joint of a skeleton."""

    name: str = ""
    feature_hash: str | None = None


class SkeletonTemplate(msgspec.Struct, frozen=True):
    """The joints of a skeleton in order, and its edges as pairs of positions of joints, from 0."""

    joints: list[SkeletonJoint]
    edges: list[tuple[int, int]]


class OntologyClass(msgspec.Struct, frozen=True):
    """A class of objects. `color` is like ``#FE9200``. Only classes of skeletons have a `skeleton`."""

    feature_hash: str
    name: str
    shape: str
    color: str | None
    skeleton: SkeletonTemplate | None


class _Object(msgspec.Struct, rename="camel"):
    feature_node_hash: str = ""
    name: str = ""
    shape: str = ""
    color: Any = None


class _Template(msgspec.Struct):
    name: str = ""
    feature_node_hash: str | None = None
    skeleton: dict[str, SkeletonJoint] = {}
    edges: dict[str, dict[str, Any] | None] | None = msgspec.field(default=None, name="skeletonEdges")


class _NamedTemplate(msgspec.Struct):
    template: _Template


class _Classes(msgspec.Struct):
    """An ontology's editor structure: what data sets need of it."""

    objects: list[_Object] | None = None
    skeleton_templates: list[msgspec.Raw] | None = None


def ontology_classes(structure: bytes | None) -> list[OntologyClass]:
    """Return the classes that may be seen on images, archived ones too, in the order of the ontology.

    So the position of a class changes only with the ontology. None, for no ontology, has no classes.

    Raises:
        BadInput: `structure` is not a valid ontology.
    """
    try:
        read = msgspec.json.decode(structure, type=_Classes) if structure is not None else _Classes()
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"the project's ontology cannot be read: {error}") from error
    templates: dict[str, SkeletonTemplate] = {}
    for sent in read.skeleton_templates or ():
        try:
            one = msgspec.json.decode(sent, type=_NamedTemplate).template
            found = _template(one)
        except ValueError:  # its joints stand in their own order then: it stops no conversion
            continue
        # A class has its template by its hash, in older ones by its name.
        templates.setdefault(one.name, found)
        templates[one.feature_node_hash or ""] = found
    return [
        OntologyClass(
            feature_hash=one.feature_node_hash,
            name=one.name,
            shape=one.shape,
            color=one.color if isinstance(one.color, str) and _COLOUR.fullmatch(one.color) else None,
            skeleton=_skeleton(one, templates),
        )
        for one in read.objects or ()
        if one.shape not in _NOT_SEEN
    ]


def _skeleton(one: _Object, templates: dict[str, SkeletonTemplate]) -> SkeletonTemplate | None:
    if one.shape != "skeleton":
        return None
    return templates.get(one.feature_node_hash) or templates.get(one.name)


def _template(sent: _Template) -> SkeletonTemplate:
    """Order joints by their numbers. Raises ValueError if a number is none."""
    keys = sorted(sent.skeleton, key=int)
    position = {key: at for at, key in enumerate(keys)}
    edges = [
        (position[start], position[end])
        for start, ends in (sent.edges or {}).items()
        for end in ends or ()
        if start in position and end in position
    ]
    return SkeletonTemplate([sent.skeleton[key] for key in keys], sorted(edges))
