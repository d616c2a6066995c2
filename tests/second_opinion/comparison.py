"""Compares our annotations of a label row with those of the platform's exporter."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from math import isclose
from typing import Any

from harvester.datasets.geometry import clip_box, corners, extent_of_rings

Json = dict[str, Any]

# Shapes that the exporter drops without a word.
DROPPED = ("circle", "ellipse", "cuboid_2d")
# What its file names may end in: all that follows the last dot of the title.
ENDINGS = (".jpg", ".jpeg", ".png", ".JPG")


def near(one: Any, other: Any, within: float = 1e-6) -> bool:
    """Whether two numbers, or lists of lists of numbers, are the same but for rounding."""
    if isinstance(one, Sequence) and isinstance(other, Sequence):
        return len(one) == len(other) and all(near(a, b, within) for a, b in zip(one, other, strict=True))
    return isclose(one, other, rel_tol=1e-9, abs_tol=within)


class Comparison:
    """`compared` counts what agrees, by kind; `differences` says what does not."""

    def __init__(self, ours: Json, ontology: Json) -> None:
        self.compared: Counter[str] = Counter()
        self.differences: list[str] = []
        self.stopped: Counter[str] = Counter()
        self._categories = {one["id"]: one for one in ours["categories"]}
        self._images: dict[str, dict[str, Json]] = {}
        label = {}
        for image in ours["images"]:
            label[image["id"]] = (image["label_hash"], _stem(image["file_name"]))
            self._images.setdefault(image["label_hash"], {})[_stem(image["file_name"])] = image
        self._annotations: dict[tuple[str, str], list[Json]] = {}
        for annotation in ours["annotations"]:
            self._annotations.setdefault(label[annotation["image_id"]], []).append(annotation)

    def compare(self, label_hash: str, sent: Json, opinion: Json) -> None:
        """Compare one row."""
        if "stopped" in opinion:
            self.compared["row_that_stops_exporter"] += 1
            self.stopped[opinion["stopped"][:80]] += 1
            return
        self._compare_categories(opinion)
        images = self._images.get(label_hash, {})
        theirs: dict[int, list[Json]] = {}
        for annotation in opinion["annotations"]:
            theirs.setdefault(annotation["image_id"], []).append(annotation)
        seen = set()
        for image in opinion["images"]:
            name, found = _stem(image["file_name"]), theirs.get(image["id"], [])
            seen.add(name)
            if name not in images:
                if found or image["file_name"].startswith("images/"):
                    self._differs(label_hash, f"{image['file_name']} is not there")
                else:
                    self.compared["frame_without_objects_left_out"] += 1
                continue
            self._compare_image(label_hash, images[name], image)
            self._compare_annotations(label_hash, self._annotations.get((label_hash, name), []), found)
        for name, image in images.items():
            if name not in seen and not _is_of_space(name) and self._annotations.get((label_hash, name)):
                self._differs(label_hash, f"{image['file_name']} is not in theirs")

    def _differs(self, label_hash: str, what: str) -> None:
        self.differences.append(f"{label_hash}: {what}")

    def _compare_categories(self, opinion: Json) -> None:
        for one, other in zip(self._categories.values(), opinion["categories"], strict=True):
            if any(one[key] != other[key] for key in ("id", "name", "supercategory")):
                self.differences.append(f"category {one} is {other}")

    def _compare_image(self, label_hash: str, ours: Json, theirs: Json) -> None:
        same_size = all(ours[key] == theirs[key] for key in ("width", "height"))
        same_name = ours["file_name"] == theirs["file_name"]
        if same_size and (same_name or not theirs["file_name"].endswith(ENDINGS)):
            self.compared["image" if same_name else "image_without_ending"] += 1
        else:
            self._differs(label_hash, f"{ours} is {theirs}")

    def _compare_annotations(self, label_hash: str, ours: Iterable[Json], theirs: Iterable[Json]) -> None:
        kept = []
        for one in ours:
            if self._categories[one["category_id"]]["supercategory"] in DROPPED:
                self.compared["dropped_by_exporter"] += 1
            else:
                kept.append(one)
        others = list(theirs)
        if len(kept) != len(others):
            self._differs(label_hash, f"{len(kept)} annotations are {len(others)}")
            return
        for one, other in zip(kept, others, strict=True):
            shape = self._categories[one["category_id"]]["supercategory"]
            if one["category_id"] != other["category_id"] or not self._is_same(shape, one, other):
                self._differs(label_hash, f"{shape}: {str(one)[:400]} is {str(other)[:400]}")

    def _is_same(self, shape: str, one: Json, other: Json) -> bool:
        hashes = [each["attributes"]["encord_track_uuid"] for each in (one, other)]
        if hashes[0] != hashes[1] or one["iscrowd"] != 0:
            return False
        if shape == "polygon" and isinstance(other["segmentation"], dict):
            self.compared["several_parts"] += 1
            return _agrees_on_parts(one, other)
        if shape == "bitmask" and one["segmentation"]["size"] != other["segmentation"]["size"]:
            self.compared["mask_of_another_size_than_its_image"] += 1
            return True
        same = _SAME.get(shape, _equal)(one, other)
        self.compared[shape] += same
        return same


def _equal(one: Json, other: Json) -> bool:
    return all(near(one[key], other[key]) for key in ("bbox", "area", "segmentation"))


def _rotated(one: Json, other: Json) -> bool:
    """Theirs is the box before it was turned; ours says that, too."""
    box = one["attributes"]["rotated_box"]
    unturned = [box["x"], box["y"], box["w"], box["h"]]
    ring = corners((box["x"], box["y"], box["w"], box["h"]), box["theta"])
    return (
        near(unturned, other["bbox"])
        and near(box["theta"], other["attributes"]["rotation"])
        and near(one["area"], other["area"])
        and near(one["segmentation"], [ring])
        and near(one["bbox"], extent_of_rings([ring]))
    )


def _bitmask(one: Json, other: Json) -> bool:
    """The same run lengths. Theirs is a crowd, which COCOeval leaves out."""
    return (
        one["segmentation"] == other["segmentation"]
        and near(one["bbox"], other["bbox"])
        and near(one["area"], other["area"])
        and other["iscrowd"] == 1
    )


def _point(one: Json, other: Json) -> bool:
    """Ours stands three times in its segmentation: once is no polygon."""
    return (
        near(one["bbox"], other["bbox"])
        and near(one["segmentation"], [other["segmentation"][0] * 3])
        and near(one["keypoints"], other["keypoints"])
    )


def _skeleton(one: Json, other: Json) -> bool:
    """Theirs are in the order of the object, and visible unless they have the booleans of older rows."""
    places = {(round(x, 6), round(y, 6)) for x, y in _pairs(other["keypoints"])}
    shown = [(round(x, 6), round(y, 6)) for x, y, said in _triples(one["keypoints"]) if said]
    return len(one["keypoints"]) == len(other["keypoints"]) and all(place in places for place in shown)


def _agrees_on_parts(one: Json, other: Json) -> bool:
    """Theirs is drawn with vertices cut to integers, and cut off at the image: a pixel or two less."""
    height, width = other["segmentation"]["size"]
    x, y, across, down = one["bbox"]
    ours = clip_box((x, y, across, down), width, height)
    return ours is not None and near(list(ours), other["bbox"], 2.0)


_SAME = {"rotatable_bounding_box": _rotated, "bitmask": _bitmask, "point": _point, "skeleton": _skeleton}


def _triples(numbers: list[float]) -> Iterable[tuple[float, float, float]]:
    return zip(numbers[::3], numbers[1::3], numbers[2::3], strict=True)


def _pairs(numbers: list[float]) -> Iterable[tuple[float, float]]:
    return ((x, y) for x, y, _ in _triples(numbers))


def _stem(file_name: str) -> str:
    """The name of an image without its ending, which theirs takes from the title, whatever it is."""
    kind, _, name = file_name.partition("/")
    return f"{kind}/{name.partition('.')[0]}" if kind == "images" else file_name


def _is_of_space(name: str) -> bool:
    """Whether an image is one of a space, which the exporter does not know: a hash follows the unit's."""
    return re.search(r"-[0-9a-f]{16}(/|$)", name) is not None
