"""The geometry of objects as the server sends it, for typed decoding. See docs/wire-format.md, Objects."""

from typing import Annotated

import msgspec

Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class SentBox(msgspec.Struct, gc=False):
    """`boundingBox`, from the top left corner, in shares of the image."""

    x: float
    y: float
    w: float
    h: float


class SentRotated(msgspec.Struct):
    """`rotatableBoundingBox`: the box before it is turned by `theta` degrees around its centre."""

    x: float
    y: float
    w: float
    h: float
    theta: float | None = None


class Vertex(msgspec.Struct, rename="camel"):
    """A vertex, or a joint of a skeleton, with both forms of its visibility."""

    x: float
    y: float
    z: float | None = None
    name: str | None = None
    feature_hash: str | None = None
    visibility: str | None = None
    visible: bool | None = None
    invisible: bool | None = None
    occluded: bool | None = None
    self_occluded: bool | None = None


def visibility_of(joint: Vertex) -> str | None:
    """Return the visibility as rows of today have it. Older ones have booleans."""
    if joint.visibility is not None:
        return joint.visibility
    older = {
        "invisible": joint.invisible,
        "occluded": joint.occluded,
        "selfOccluded": joint.self_occluded,
        "visible": joint.visible,
    }
    return next((name for name, is_so in older.items() if is_so), None)


class Corner(msgspec.Struct, gc=False):
    """A vertex of a polygon."""

    x: float
    y: float


class LineVertex(msgspec.Struct, gc=False):
    """A vertex of a polyline; in scenes it has three coordinates."""

    x: float
    y: float
    z: float | None = None


class SentBitmask(msgspec.Struct, rename="camel"):
    """`bitmask`: COCO's compressed run lengths, but row by row; its corner is at `left` and `top`."""

    width: Int64
    height: Int64
    rle_string: str
    top: Int64 = 0
    left: Int64 = 0


class SentCuboid2D(msgspec.Struct, rename="camel"):
    """`cuboid_2d`: the front as a flat list, and where its back is: by perspective, or by an offset."""

    front: list[float]
    vanishing_point: Vertex | None = None
    scale_ratio: float | None = None
    offset: Vertex | None = None


class InSpace(msgspec.Struct, array_like=True):
    """Three coordinates, as a list."""

    x: float
    y: float
    z: float


class SentCuboid(msgspec.Struct):
    """`cuboid`, in units of a scene."""

    position: InSpace
    orientation: InSpace
    size: InSpace


class SentCircle(msgspec.Struct):
    """`circle`; `r` is a share of the width, `stretch` times it is the other radius."""

    x: float
    y: float
    r: float
    stretch: float | None = None
    theta: float | None = None


class SentEllipse(msgspec.Struct):
    """`ellipse`; `rx` is a share of the width, `ry` of the height."""

    x: float
    y: float
    rx: float
    ry: float
    theta: float | None = None


Vertices = dict[str, Vertex] | list[Vertex] | None


class SentGeometry(msgspec.Struct, rename="camel", gc=False):
    """The geometry keys of an object, and whether a person drew it, as JSON."""

    manual_annotation: msgspec.Raw = msgspec.Raw(b"null")

    bounding_box: SentBox | None = None
    rotatable_bounding_box: SentRotated | None = None
    polygon: msgspec.Raw = msgspec.Raw(b"null")  # of `Vertices`, read only where there is no `polygons`
    polygons: list[list[list[float]]] | None = None
    polyline: Vertices = None
    point: Vertices = None
    skeleton: Vertices = None
    bitmask: SentBitmask | None = None
    cuboid_2d: SentCuboid2D | None = msgspec.field(default=None, name="cuboid_2d")
    circle: SentCircle | None = None
    ellipse: SentEllipse | None = None
