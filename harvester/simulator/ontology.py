"""The ontology of every simulated project: all 15 shapes, attributes of every type and kind."""

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

Json = dict[str, Any]


class Option(NamedTuple):
    label: str
    nested: tuple["Attribute", ...] = ()


class Attribute(NamedTuple):
    name: str
    type: str
    options: tuple[Option, ...] = ()
    dynamic: bool = False


class Feature(NamedTuple):
    """An ontology object (with a shape) or a classification (with a level, and one attribute)."""

    name: str
    shape: str
    attributes: tuple[Attribute, ...] = ()


def options(*labels: str) -> tuple[Option, ...]:
    return tuple(Option(label) for label in labels)


TRUCK = Option("Truck", (Attribute("Cargo", "text"), Attribute("Axles", "numeric")))
BUS = Option(
    "Bus", (Attribute("Line kind", "radio", (Option("City", (Attribute("Line", "text"),)), Option("Coach"))),)
)
RAIN = Option("Rain", (Attribute("Intensity", "numeric"),))
POSTURE = Attribute("Posture", "radio", options("Standing", "Sitting"), dynamic=True)
OCCLUSION = Attribute("Occlusion", "radio", options("None", "Partial", "Full"))
NOTE = Attribute("Note", "text")

OBJECTS = (
    Feature(
        "Car",
        "bounding_box",
        (
            Attribute("Kind", "radio", (Option("Van"), TRUCK, BUS, Option("Sedan"))),
            Attribute("Colours", "checklist", options("Red", "Blue", "Grey", "White")),
            Attribute("Plate", "text"),
            Attribute("Moving", "radio", options("Yes", "No"), dynamic=True),
            Attribute("Speed", "numeric", dynamic=True),
            Attribute("Lights", "checklist", options("Left", "Right", "Brake"), dynamic=True),
            Attribute("Remark", "text", dynamic=True),
        ),
    ),
    Feature("Pedestrian", "bounding_box", (OCCLUSION,)),
    Feature("Sign", "rotatable_bounding_box", (Attribute("Text", "text"), Attribute("Limit", "numeric"))),
    Feature("Road", "polygon", (Attribute("Surface", "radio", options("Asphalt", "Gravel")),)),
    Feature("Lane", "polyline", (Attribute("Markings", "checklist", options("Solid", "Dashed", "Double")),)),
    Feature("Landmark", "point"),
    Feature("Person", "skeleton", (POSTURE,)),
    Feature("Sky", "bitmask", (NOTE,)),
    Feature("Vehicle 3D", "cuboid", (OCCLUSION,)),
    Feature("Building", "cuboid_2d", (Attribute("Floors", "numeric"),)),
    Feature("Wheel", "circle"),
    Feature("Manhole", "ellipse", (NOTE,)),
    Feature("Point cluster", "segmentation", (OCCLUSION,)),
    Feature("Speech", "audio", (Attribute("Speaker", "radio", options("Driver", "Passenger")), NOTE)),
    Feature("Episode", "time_range", (Attribute("Tags", "checklist", options("Braking", "Turning")), NOTE)),
    Feature("Entity", "text", (Attribute("Entity kind", "radio", options("Person", "Place")), NOTE)),
)  # fmt: skip

CLASSIFICATIONS = (
    Feature("Weather", "", (Attribute("Weather", "radio", (Option("Sunny"), RAIN, Option("Snow"))),)),
    Feature("Tags", "", (Attribute("Tags of the scene", "checklist", options("Urban", "Night", "Tunnel")),)),
    Feature("Comment", "", (Attribute("Comment", "text"),)),
    Feature("Temperature", "", (Attribute("Temperature", "numeric"),)),
    Feature("Quality", "global", (Attribute("Quality", "radio", options("Good", "Poor")),)),
)  # fmt: skip

COLOURS = ("#D33115", "#E27300", "#16406C", "#FE9200", "#68BC00", "#A4DD00", "#AEA1FF", "#73D8FF")
JOINTS = ("Head", "Left hand", "Right hand", "Left foot", "Right foot")


def feature_hash(*path: str) -> str:
    """Return eight characters, the same in every world."""
    return hashlib.sha256("/".join(path).encode()).hexdigest()[:8]


def value_of(label: str) -> str:
    return label.lower().replace(" ", "_")


def _attribute(attribute: Attribute, number: str, path: tuple[str, ...], *, on_object: bool) -> Json:
    path = (*path, attribute.name)
    made: Json = {
        "id": number,
        "name": attribute.name,
        "type": attribute.type,
        "featureNodeHash": feature_hash(*path),
        "required": False,
        "archived": False,
    }
    if on_object:
        made["dynamic"] = attribute.dynamic
    if attribute.options:
        made["options"] = [
            _option(option, f"{number}.{place}", path, on_object=on_object)
            for place, option in enumerate(attribute.options, 1)
        ]
    return made


def _option(option: Option, number: str, path: tuple[str, ...], *, on_object: bool) -> Json:
    path = (*path, option.label)
    made: Json = {
        "id": number,
        "label": option.label,
        "value": value_of(option.label),
        "featureNodeHash": feature_hash(*path),
        "archived": False,
    }
    if option.nested:
        made["options"] = [
            _attribute(nested, f"{number}.{place}", path, on_object=on_object)
            for place, nested in enumerate(option.nested, 1)
        ]
    return made


def _attributes(feature: Feature, place: int, *, on_object: bool) -> list[Json]:
    return [
        _attribute(attribute, f"{place}.{number}", (feature.name,), on_object=on_object)
        for number, attribute in enumerate(feature.attributes, 1)
    ]


def _skeleton(feature: Feature) -> Json:
    joints = {
        str(place): {
            "x": place / 8,
            "y": place / 8,
            "name": name,
            "color": "#00ff00",
            "value": value_of(name),
        }
        | {"featureHash": feature_hash(feature.name, "joint", name)}
        for place, name in enumerate(JOINTS)
    }
    template = {
        "name": feature.name,
        "width": 1.0,
        "height": 1.0,
        "skeleton": joints,
        "skeletonEdges": {"0": {"1": {"color": "#00ff00"}, "2": {"color": "#00ff00"}}},
        "shape": "skeleton",
        "feature_node_hash": feature_hash(feature.name),
    }
    return {"template": template}


def renamed(made: Any, names: Mapping[str, str]) -> Any:
    """A structure, or a piece of one, whose features, attributes and options bear other `names`."""
    if isinstance(made, list):
        return [renamed(piece, names) for piece in made]
    if isinstance(made, dict):
        return {
            key: names.get(piece, piece) if key in ("name", "label") else renamed(piece, names)
            for key, piece in made.items()
        }
    return made


def structure() -> Json:
    """Return the editor structure: what `GET ontologies/{hash}` answers under `editor`."""
    return {
        "objects": [
            {
                "id": str(place),
                "name": feature.name,
                "color": COLOURS[len(feature.name) % len(COLOURS)],
                "shape": feature.shape,
                "featureNodeHash": feature_hash(feature.name),
                "required": False,
                "archived": False,
                "attributes": _attributes(feature, place, on_object=True),
            }
            for place, feature in enumerate(OBJECTS, 1)
        ],
        "classifications": [
            {"id": str(place), "featureNodeHash": feature_hash(feature.name, "classification")}
            | ({"level": feature.shape} if feature.shape else {})
            | {"attributes": _attributes(feature, place, on_object=False)}
            for place, feature in enumerate(CLASSIFICATIONS, 1)
        ],
        "skeleton_templates": [_skeleton(feature) for feature in OBJECTS if feature.shape == "skeleton"],
    }
