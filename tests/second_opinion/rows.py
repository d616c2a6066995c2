"""Label rows for a second opinion: of the demo's project, and such as the SDK writes at random."""

import json
from collections.abc import Iterator
from random import Random
from typing import Any, NamedTuple

import numpy as np
from encord.common.bitmask_operations import serialise_bitmask

from harvester.labels.wire import PlanRow
from harvester.simulator.world import World, WorldSpec
from tests.labels.random_rows import planned, seeded, write
from tests.labels.sdk_rows import Ontology

Json = dict[str, Any]

IMAGES = ("image", "img_group", "video", "dicom", "nifti", "scene", "layers", "group")


class Project(NamedTuple):
    """An ontology, and rows: each as listed, and as sent."""

    name: str
    ontology: Json
    rows: list[tuple[PlanRow, Json]]


def demo(rows: int) -> Project:
    """The main branch of a project like the demo's. Two branches of a row are too much for the exporter."""
    world = World(WorldSpec(rows=rows, seed=7, objects=1.0))
    found = []
    for line in world.listing({}):
        item = json.loads(line)
        if item.get("label_hash"):
            sent = world.label_row(item["label_hash"], signed_urls=True)
            assert sent is not None
            found.append((planned(item), _known_media(json.loads(sent))))
    return Project("demo", world.ontology(), found)


def random(seed: int, rows_of_a_kind: int) -> Project:
    """Rows that the SDK wrote, with masks that hold something."""
    with seeded(seed) as dice:
        ontology = Ontology()
        written = [write(kind, dice, ontology) for kind in IMAGES for _ in range(rows_of_a_kind)]
        for one in written:
            for sent in _masks(one.sent):
                sent["rleString"] = _mask(sent["width"], sent["height"], dice)
        return Project(
            f"random {seed}",
            ontology.structure.to_dict(),
            [(planned(one.item), _known_media(one.sent)) for one in written],
        )


def _known_media(sent: Json) -> Json:
    """Of the names of NIfTI files the exporter knows two, and takes others for those of an image."""
    for one in sent["data_units"].values():
        if "nifti" in one["data_type"]:
            one["data_type"] = "application/nifti1"
    return sent


def _masks(sent: Any) -> Iterator[Json]:
    if isinstance(sent, dict):
        if "rleString" in sent:
            yield sent
        for value in sent.values():
            yield from _masks(value)
    if isinstance(sent, list):
        for value in sent:
            yield from _masks(value)


def _mask(width: int, height: int, dice: Random) -> str:
    """A rectangle or two."""
    mask = np.zeros((height, width), bool)
    for _ in range(dice.randint(1, 2)):
        top, left = dice.randrange(height), dice.randrange(width)
        mask[top : top + dice.randint(1, height), left : left + dice.randint(1, width)] = True
    return serialise_bitmask(mask.tobytes())
