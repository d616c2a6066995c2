"""Makes COCO annotations of objects. Conventions: docs/datasets.md, COCO."""

from collections import Counter

import msgspec
from msgspec import UnsetType

from harvester.dataset_options import LEFT_OUT
from harvester.datasets.coco_attributes import AttributeKeys, FlatAnswers
from harvester.datasets.coco_categories import Categories
from harvester.datasets.coco_quick import QUICK
from harvester.datasets.coco_shapes import BY_FORM, in_order
from harvester.datasets.counts import Counts
from harvester.datasets.figures import Figure, figure
from harvester.datasets.geometry import Box, NoGeometry, Ring, is_on_image
from harvester.datasets.ontology_classes import SkeletonTemplate
from harvester.datasets.pictures import PlacedObject
from harvester.datasets.rle import CocoMask, is_cut


class LeftOut(Exception):
    """An object becomes no annotation; `reason` is a word for the counts."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def _is_beyond(found: Figure, width: int, height: int) -> bool:
    if found.bitmask is not None:
        return is_cut(found.bitmask, width, height)
    return not is_on_image(found.extent, width, height)


class CocoAnnotation(msgspec.Struct, gc=False):
    """An annotation as it stands in the file."""

    id: int
    image_id: int
    category_id: int
    bbox: Box
    area: float
    segmentation: list[Ring] | CocoMask
    keypoints: list[float] | UnsetType
    num_keypoints: int | UnsetType
    iscrowd: int
    track_id: int
    attributes: msgspec.Raw


_ATTRIBUTES = b'{"track_id":%d,"encord_track_uuid":%b%b%b%b%b}'
_ROTATED = b',"rotated_box":{"x":%b,"y":%b,"w":%b,"h":%b,"theta":%b}'
_MANUAL = {said: b',"manual_annotation":' + said for said in (b"true", b"false")}
_encode = msgspec.json.Encoder().encode


class Annotator:
    """Makes annotations, with ids from 1. Counts what they became, see `count`."""

    def __init__(self, categories: Categories, keys: AttributeKeys, counts: Counts) -> None:
        self._category_of = categories.by_feature.get
        self._is_known = categories.known.__contains__
        self._flat = FlatAnswers(keys)
        self._counts = counts
        self._made = 0
        self._tracks: dict[str, int] = {}  # of this label row
        self._first_track = 1
        self._became: Counter[tuple[str | None, str]] = Counter()
        self._left_out: Counter[tuple[str | None, str]] = Counter()
        self._remarks: Counter[str] = Counter()

    def begin_row(self) -> None:
        """Begin a label row: object hashes are unique within one only, tracks in all."""
        self._first_track += len(self._tracks)
        self._tracks = {}

    def make(self, one: PlacedObject, image_id: int, width: int, height: int) -> CocoAnnotation | None:
        """Return the annotation of an object, or None. Either is counted."""
        shape, rotated, quickly = one.shape, b"", QUICK.get(one.shape)
        try:
            if (category := self._category_of(one.feature_hash)) is None:
                raise LeftOut("class" if self._is_known(one.feature_hash) else "unknown_class")
            sent = one.geometry()
            became = None if quickly is None else quickly(sent, width, height)
            if became is None:
                found = figure(shape, sent, width, height)
                became = BY_FORM[found.form](found, width, height, category.skeleton)
                if found.rotated is not None:
                    rotated = _ROTATED % tuple(map(_encode, (*found.rotated, found.theta)))
                is_beyond = _is_beyond(found, width, height)
                self._remark(found, category.skeleton)
            else:
                is_beyond = not is_on_image(became[1].bbox, width, height)
        except (NoGeometry, LeftOut) as error:
            self._left_out[shape, error.reason] += 1
            return None
        form, shown = became
        self._became[shape, form] += 1
        if is_beyond:
            self._remarks["beyond_image"] += 1
        self._made += 1
        tracks, object_hash = self._tracks, one.object_hash
        track = tracks.setdefault(object_hash, self._first_track + len(tracks))
        attributes = _ATTRIBUTES % (
            track,
            _encode(object_hash),
            _MANUAL.get(bytes(sent.manual_annotation), b""),
            rotated,
            self._flat[bytes(one.attributes)],
            self._flat[bytes(one.dynamic_attributes)],
        )
        return CocoAnnotation(
            self._made, image_id, category.id, shown.bbox, shown.area, shown.segmentation,
            shown.keypoints, shown.num_keypoints, 0, track, msgspec.Raw(attributes),
        )  # fmt: skip

    def _remark(self, found: Figure, template: SkeletonTemplate | None) -> None:
        if found.rings_left_out:
            self._remarks["ring_left_out"] += found.rings_left_out
        if found.joints and template is not None:
            kept = set(map(id, in_order(found.joints, template)))
            if left_out := sum(id(joint) not in kept for joint in found.joints):
                self._remarks["joint_left_out"] += left_out

    def count(self) -> None:
        """Add to the counts what was made since this was called last."""
        for (shape, form), number in self._became.items():
            self._counts.write("objects", number)
            self._counts.tally("shapes", shape or "unknown", form, number)
        for (shape, reason), number in self._left_out.items():
            self._counts.leave_out("objects", reason, number)
            self._counts.tally("shapes", shape or "unknown", LEFT_OUT + reason, number)
        for remark, number in self._remarks.items():
            self._counts.remark(remark, number)
        self._became, self._left_out, self._remarks = Counter(), Counter(), Counter()
