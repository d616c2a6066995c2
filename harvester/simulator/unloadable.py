"""Rows that the SDK cannot load, but a reader of the JSON can. Made only if a mix names them."""

from harvester.simulator.edge_cases import EdgeCases
from harvester.simulator.framed import Row, image_row, size, unit
from harvester.simulator.labels import Labels
from harvester.simulator.ontology import Feature, Json
from harvester.simulator.ranged import node, spans
from harvester.simulator.rng import Rng
from harvester.simulator.template import hole

FUTURE = Feature("Comb", "hexagon")  # neither it nor its shape is in the ontology


def odd_group_media(rng: Rng, edge_cases: EdgeCases) -> Json:
    spaces = {
        hole(f"space{number}"): {
            "space_type": kind,
            "child_info": {"layout_key": kind, "file_name": f"{kind}.bin"},
        }
        for number, kind in enumerate(("html", "text"))
    }
    return {"number_of_frames": 1, "spaces": spaces, "file_type": None}


def study_media(rng: Rng, edge_cases: EdgeCases) -> Json:
    return {"number_of_frames": 0, "file_type": "application/dicom"}


def odd_image_row(labels: Labels, media: Json) -> Row:
    """Make a row with labels of null or `[]`, spaces of null, or objects of an unknown shape."""
    form = labels.rng.below(4)
    if form == 0:
        return Row(image_row(labels, media).units, {"spaces": None})
    marks: Json | list[Json] | None = (None, [])[form - 1] if form < 3 else {"objects": _combs(labels)}
    made = unit(labels, "image/jpeg", None, **size(labels)) | {"labels": marks}
    return Row({hole("data_hash"): made})


def _combs(labels: Labels) -> list[Json]:
    objects: list[Json] = []
    for _ in range(labels.count):
        labels.put(objects, labels.track(FUTURE))
    return objects


def odd_group_row(labels: Labels, media: Json) -> Row:
    """Make a row with ranges of HTML nodes in the older form, and placements without a type."""
    html, text = media["spaces"]
    for track in labels.tracks(("text",)):
        pair = {"start": node(labels.rng), "end": node(labels.rng)}
        old: Json = {html: {"type": "html", "range": [pair]}}
        untyped: Json = {text: {"range": spans(labels.rng, 2000)}}
        labels.range_object(track, range=[], spaces=labels.rng.pick((old, untyped)))
    for feature in labels.classifications(1):
        labels.classify(feature, 1, range=[], spaces={text: {"range": []}})
    made = {
        space: {"space_type": info["space_type"], "labels": {}} for space, info in media["spaces"].items()
    }
    data = unit(labels, "application/json", {"objects": [], "classifications": []})
    return Row({hole("data_hash"): data}, {"spaces": made})


def study_row(labels: Labels, media: Json) -> Row:
    """Make the row of a DICOM study, which is empty."""
    return Row({})
