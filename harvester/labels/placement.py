"""Finds the placements of classifications: the data units or spaces that they are on, and the ranges there.

In current label rows, an entry of `classification_answers` has them: `range` for the row, `spaces` for its
spaces. In older rows, only copies of the classification in the labels of frames show where it is. If an entry
has its placements, its copies are ignored. A copy without an entry belongs to a deleted classification.
"""

from collections.abc import Iterable

import msgspec

from harvester.labels.locations import (
    FRAME_SPACES,
    FRAME_TYPES,
    RANGE_SPACES,
    RANGE_TYPES,
    ROOT_SPACE,
    Location,
    Locations,
)
from harvester.labels.ontology import Ontology
from harvester.labels.values import NULL
from harvester.labels.wire import ClassificationAnswer, ClassificationCopy, Ranges, SpaceRange

_decode_copy = msgspec.json.Decoder(ClassificationCopy).decode
_decode_ranges = msgspec.json.Decoder(Ranges).decode
_ALL = b"[]"  # the ranges of a classification that is on the whole of a data unit or space

_decode_list = msgspec.json.Decoder(list[msgspec.Raw] | None).decode

# Frame -> (location, copy as sent): the copies of one classification in one location. Frame None: not on a
# frame.
CopiesAtLocation = dict[int | None, tuple[Location, msgspec.Raw]]
CopiesBySpace = dict[str | None, CopiesAtLocation]
# Classification hash -> the copies of that classification in a row, by space id.
Copies = dict[str, CopiesBySpace]


class Placement(msgspec.Struct):
    """One placement of a classification: the data unit or space that it is on, and the ranges there.

    `ranges` is JSON; an empty list means the whole of the location. `sent` is the classification as sent: its
    entry, or the first of its `copies` in an older row. `unknown` is true if the placement cannot be
    determined: the entry names none, or its ranges are not pairs of numbers. `ranges` is null in the second
    case.
    """

    location: Location
    ranges: bytes
    sent: msgspec.Raw
    copies: CopiesAtLocation | None = None
    unknown: bool = False


def frame_copies(locations: Locations) -> Copies:
    """Return all frame-level copies of classifications in a row. The first one on a frame counts."""
    found: Copies = {}
    for location, frame, labels in locations.labels():
        for raw in labels.classifications or ():
            key = _decode_copy(raw).classification_hash
            if key is not None:
                found.setdefault(key, {}).setdefault(location.space_id, {}).setdefault(frame, (location, raw))
    return found


def own_placements(entry: ClassificationAnswer, sent: msgspec.Raw, locations: Locations) -> list[Placement]:
    """Return the placements that an entry has itself, once for each combination of location and ranges.

    As in the SDK, placements on spaces take precedence over `range`, unless the row itself is a space
    (`root`). Unlike the SDK, which ignores the ranges that an entry has for the space `root`, they are used
    if `range` is missing.
    """
    spaces = entry.spaces
    if not spaces:  # as most
        return [_placement(locations.root, _pairs(entry.range), sent)] if entry.range else []
    # A dictionary, because an entry may name a space twice, by two of its names.
    found: dict[tuple[str | None, bytes], Placement] = {}
    others = [(locations.space(name), where) for name, where in spaces.items() if name != ROOT_SPACE]
    if not others or locations.has_space(ROOT_SPACE):
        on_root = _pairs(entry.range) if entry.range else _space_ranges(spaces.get(ROOT_SPACE))
        if on_root != _ALL:
            found[locations.root.space_id, on_root] = _placement(locations.root, on_root, sent)
    for location, where in others:
        ranges = _space_ranges(where)
        found.setdefault((location.space_id, ranges), _placement(location, ranges, sent))
    return list(found.values())


def _placement(location: Location, ranges: bytes, sent: msgspec.Raw) -> Placement:
    return Placement(location, ranges, sent, unknown=ranges == NULL)


def copied_placements(copies: CopiesBySpace, locations: Locations) -> list[Placement]:
    """Return the placements that the copies of one classification show: one per location, with ranges."""
    placements = []
    for space_id, at_location in copies.items():
        first, sent = next(iter(at_location.values()))
        ranges = msgspec.json.encode(_runs(frame for frame in at_location if frame is not None))
        placements.append(Placement(locations.root if space_id is None else first, ranges, sent, at_location))
    return placements


def whole_row_placement(
    entry: ClassificationAnswer,
    sent: msgspec.Raw,
    locations: Locations,
    ontology: Ontology,
    *,
    on_frames: bool,
) -> list[Placement]:
    """Return the placement of an entry that has neither placements nor copies: the whole row, or none.

    On data with frames, only a global classification has no range. If the ontology knows the classification
    as not global, it has been removed from its last frame, and there is no placement. If the ontology does
    not know it, it may be global, so it is kept, with `unknown` set.

    Args:
        entry: the decoded entry.
        sent: the entry as sent.
        locations: the data units and spaces of the row.
        ontology: the ontology of the project.
        on_frames: true if the row's data has frames.
    """
    if not entry.feature_hash:
        return []
    sure = (
        not on_frames
        or locations.has_space(ROOT_SPACE)
        or entry.feature_hash in ontology.global_classifications
    )
    if not sure and entry.feature_hash in ontology.classification_features:
        return []
    return [Placement(locations.root, b"[]", sent, unknown=not sure)]


def has_frames(location: Location, data_type: str, locations: Locations, *, continuous: bool) -> bool | None:
    """Return whether ranges in `location` are frames, not milliseconds, characters or nanoseconds.

    None if the type of the data or of the space is not known. `continuous`: true for an event-based scene.
    """
    if location.space_id is None:
        if data_type in FRAME_TYPES:
            return not continuous
        return False if data_type in RANGE_TYPES else None
    if not location.listed:
        return False  # a channel or point cloud of a recording
    space_type = locations.space_type(location.space_id)
    if space_type in FRAME_SPACES:
        return True
    return False if space_type in RANGE_SPACES else None


def _space_ranges(where: SpaceRange | None) -> bytes:
    if where is None or where.type == "html":
        return _ALL
    return _pairs(_decode_list(where.range))


def _pairs(items: list[msgspec.Raw] | None) -> bytes:
    """Return `items` as a JSON list of ranges, or null if one of them is not a pair of numbers."""
    ranges = b"[%b]" % b",".join(items or ())
    try:
        _decode_ranges(ranges)
    except msgspec.ValidationError:
        return NULL
    return ranges


def _runs(frames: Iterable[int]) -> list[tuple[int, int]]:
    """Return frames as ranges of consecutive ones, both ends included."""
    runs: list[tuple[int, int]] = []
    for frame in sorted(frames):
        if runs and frame == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], frame)
        else:
            runs.append((frame, frame))
    return runs
