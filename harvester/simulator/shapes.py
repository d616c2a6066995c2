"""The geometry of every shape, as an object on a frame has it."""

from collections.abc import Callable, Sequence

from harvester.simulator.ontology import JOINTS, Json, feature_hash, value_of
from harvester.simulator.rng import Rng

Size = tuple[int, int]  # width and height
WIDTH, HEIGHT = 1920, 1080  # pixels of all simulated images and videos
MEDICAL = (512, 512)  # pixels of all slices
FLAT = (
    "bounding_box", "rotatable_bounding_box", "polygon", "polyline", "point", "skeleton", "bitmask",
    "cuboid_2d", "circle", "ellipse",
)  # fmt: skip
PAGED = tuple(shape for shape in FLAT if shape != "bitmask")  # on pages, which have no size in pixels
DEEP = ("cuboid", "point", "polyline")  # in the coordinates of a scene
EVENTS = ("bounding_box", "rotatable_bounding_box", "point", "circle", "ellipse", "polyline", "cuboid")
RANGES = ("audio", "time_range", "text")


def run_lengths(counts: Sequence[int]) -> str:
    """Return COCO's text of run lengths: five bits a character, of each run minus the one two before."""
    text = []
    for place, count in enumerate(counts):
        rest, more = count - (counts[place - 2] if place > 2 else 0), True
        while more:
            bits = rest & 0x1F
            rest >>= 5
            more = rest != (-1 if bits & 0x10 else 0)
            text.append(chr((bits | 0x20 if more else bits) + 48))
    return "".join(text)


def _box(rng: Rng) -> Json:
    return {
        "x": rng.real(0, 0.6),
        "y": rng.real(0, 0.6),
        "w": rng.real(0.02, 0.4),
        "h": rng.real(0.02, 0.4),
    }


def _vertices(rng: Rng, count: int, depth: bool = False) -> list[Json]:
    return [
        {"x": rng.real(0, 1), "y": rng.real(0, 1)} | ({"z": rng.real(0, 9)} if depth else {})
        for _ in range(count)
    ]


def _numbered(vertices: list[Json]) -> Json:
    return {str(place): vertex for place, vertex in enumerate(vertices)}


def _bounding_box(rng: Rng, deep: bool) -> Json:
    return {"boundingBox": _box(rng)}


def _rotatable_bounding_box(rng: Rng, deep: bool) -> Json:
    return {"rotatableBoundingBox": _box(rng) | {"theta": rng.real(0, 359)}}


def _polygon(rng: Rng, deep: bool) -> Json:
    """Return today's form with `polygons` (some with a hole), or older ones: numbered vertices, a list."""
    vertices = _vertices(rng, rng.pick((3, 4, 5, 12)))
    if rng.chance(0.15):
        return {"polygon": vertices}
    if rng.chance(0.15):
        return {"polygon": _numbered(vertices), "polygons": None}
    rings = [[number for vertex in vertices for number in (vertex["x"], vertex["y"])]]
    if rng.chance(0.3):
        rings.append([rng.real(0.4, 0.6) for _ in range(6)])
    return {"polygon": _numbered(vertices), "polygons": [rings]}


def _polyline(rng: Rng, deep: bool) -> Json:
    vertices = _vertices(rng, rng.pick((2, 3, 4, 11)), deep)
    return {"polyline": vertices if rng.chance(0.2) else _numbered(vertices)}


def _point(rng: Rng, deep: bool) -> Json:
    return {"point": _numbered(_vertices(rng, 1, deep))}


def _skeleton(rng: Rng, deep: bool) -> Json:
    """Return joints with `visibility`, or with the booleans of older rows."""
    old = rng.chance(0.25)
    joints = []
    for name in JOINTS:
        seen = rng.pick(("visible", "invisible", "occluded", "selfOccluded"))
        joints.append(
            {
                "x": rng.real(0, 1),
                "y": rng.real(0, 1),
                "name": name,
                "color": "#00ff00",
                "value": value_of(name),
            }
            | {"featureHash": feature_hash("Person", "joint", name)}
            | ({seen: True} if old else {"visibility": seen})
        )
    return {"skeleton": _numbered(joints)}


def _bitmask(rng: Rng, size: Size) -> Json:
    """Return a mask of the size of the medium, with a few runs of pixels."""
    width, height = size
    longest = 20_000 * width * height // (WIDTH * HEIGHT)  # there are at most 24
    runs = [rng.between(1, longest) for _ in range(2 * rng.between(2, 12))]
    runs.append(width * height - sum(runs))
    return {
        "bitmask": {"top": 0, "left": 0, "width": width, "height": height, "rleString": run_lengths(runs)}
    }


def _cuboid(rng: Rng, deep: bool) -> Json:
    return {
        "cuboid": {
            "position": [rng.real(-50, 50) for _ in range(3)],
            "orientation": [0.0, 0.0, rng.real(-3, 3)],
            "size": [rng.real(0.5, 5) for _ in range(3)],
        }
    }


def _cuboid_2d(rng: Rng, deep: bool) -> Json:
    """Return a perspective (a vanishing point) or isometric (an offset) cuboid."""
    left, top = rng.real(0.1, 0.4), rng.real(0.1, 0.4)
    right, bottom = rng.real(0.5, 0.8), rng.real(0.5, 0.8)
    front: Json = {"front": [left, top, right, top, right, bottom, left, bottom]}
    point = {"x": rng.real(0, 1), "y": rng.real(0, 1)}
    if rng.chance(0.5):
        return {"cuboid_2d": front | {"offset": point}}
    return {"cuboid_2d": front | {"vanishingPoint": point, "scaleRatio": rng.real(0.2, 0.9)}}


def _circle(rng: Rng, deep: bool) -> Json:
    return {"circle": {"x": rng.real(0, 1), "y": rng.real(0, 1), "r": rng.real(0.01, 0.2)}}


def _ellipse(rng: Rng, deep: bool) -> Json:
    ellipse = {
        "x": rng.real(0, 1),
        "y": rng.real(0, 1),
        "rx": rng.real(0.01, 0.2),
        "ry": rng.real(0.01, 0.2),
    }
    return {"ellipse": ellipse | ({"theta": rng.real(0, 359)} if rng.chance(0.5) else {})}


def _segmentation(rng: Rng, deep: bool) -> Json:
    return {"segmentation": run_lengths([0, *(rng.between(1, 3000) for _ in range(rng.between(3, 30)))])}


def _hexagon(rng: Rng, deep: bool) -> Json:
    """Return a shape that no SDK knows yet."""
    return {"hexagon": {"centre": [rng.real(0, 1), rng.real(0, 1)], "side": rng.real(0.01, 0.1)}}


DRAW: dict[str, Callable[[Rng, bool], Json]] = {
    "bounding_box": _bounding_box,
    "rotatable_bounding_box": _rotatable_bounding_box,
    "polygon": _polygon,
    "polyline": _polyline,
    "point": _point,
    "skeleton": _skeleton,
    "cuboid": _cuboid,
    "cuboid_2d": _cuboid_2d,
    "circle": _circle,
    "ellipse": _ellipse,
    "segmentation": _segmentation,
    "hexagon": _hexagon,
}


def geometry(shape: str, rng: Rng, *, deep: bool = False, size: Size = (WIDTH, HEIGHT)) -> Json:
    """Return the keys of a shape's geometry.

    Args:
        deep: points and polylines have a z.
        size: of the medium in pixels, which is the size of a mask.
    """
    return _bitmask(rng, size) if shape == "bitmask" else DRAW[shape](rng, deep)
