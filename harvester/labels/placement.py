"""Where classifications stand, in both eras.

Today an entry of `classification_answers` says it itself: `range` on the row, `spaces` on spaces. Older
rows say it only in frame-level copies. An entry that places itself is believed and its copies are not
looked at; a copy without an entry is a leftover of a classification that was deleted.
"""

from collections.abc import Iterable

import msgspec

from harvester.labels.ontology import Ontology
from harvester.labels.places import (
    FRAME_SPACES,
    FRAME_TYPES,
    RANGE_SPACES,
    RANGE_TYPES,
    ROOT_SPACE,
    Place,
    Places,
)
from harvester.labels.values import NULL
from harvester.labels.wire import ClassificationAnswer, ClassificationCopy, Ranges, SpaceRange

_decode_copy = msgspec.json.Decoder(ClassificationCopy).decode
_decode_ranges = msgspec.json.Decoder(Ranges).decode
_ALL = b"[]"  # ranges of all of a place

_decode_list = msgspec.json.Decoder(list[msgspec.Raw] | None).decode

# The copies of one classification in one place, by frame.
CopiesInPlace = dict[int | None, tuple[Place, msgspec.Raw]]
CopiesBySpace = dict[str | None, CopiesInPlace]
# The copies of a row by classification hash.
Copies = dict[str, CopiesBySpace]


class Placement(msgspec.Struct):
    """One placement of a classification: in `place`, on `ranges` (JSON; an empty list: all of the place).

    `sent` is the classification as sent: its entry, or the first of its `copies` in an older row. `unknown`
    where its place cannot be determined: it names none, or its ranges are no pairs of numbers (then null).
    """

    place: Place
    ranges: bytes
    sent: msgspec.Raw
    copies: CopiesInPlace | None = None
    unknown: bool = False


def frame_copies(places: Places) -> Copies:
    """All frame-level copies of classifications in a row. The first one on a frame counts."""
    found: Copies = {}
    for place, frame, labels in places.labels():
        for raw in labels.classifications or ():
            key = _decode_copy(raw).classification_hash
            if key is not None:
                found.setdefault(key, {}).setdefault(place.space_id, {}).setdefault(frame, (place, raw))
    return found


def own_placements(entry: ClassificationAnswer, sent: msgspec.Raw, places: Places) -> list[Placement]:
    """Where an entry says that it stands, once for each place and ranges.

    As in the SDK, placements on spaces win over `range` on the row, unless the row is a space of its own.
    The SDK passes over ranges that an entry has for the space `root`; here they stand in for a missing
    `range`.
    """
    spaces = entry.spaces
    if not spaces:  # as most
        return [_placement(places.root, _pairs(entry.range), sent)] if entry.range else []
    # A space may be named twice, in two ways.
    found: dict[tuple[str | None, bytes], Placement] = {}
    others = [(places.space(name), where) for name, where in spaces.items() if name != ROOT_SPACE]
    if not others or places.has_space(ROOT_SPACE):
        on_root = _pairs(entry.range) if entry.range else _space_ranges(spaces.get(ROOT_SPACE))
        if on_root != _ALL:
            found[places.root.space_id, on_root] = _placement(places.root, on_root, sent)
    for place, where in others:
        ranges = _space_ranges(where)
        found.setdefault((place.space_id, ranges), _placement(place, ranges, sent))
    return list(found.values())


def _placement(place: Place, ranges: bytes, sent: msgspec.Raw) -> Placement:
    return Placement(place, ranges, sent, unknown=ranges == NULL)


def copied_placements(copies: CopiesBySpace, places: Places) -> list[Placement]:
    """Where the copies of one classification say that it stands: once for each place, frames run together."""
    placements = []
    for space_id, in_place in copies.items():
        first, sent = next(iter(in_place.values()))
        ranges = msgspec.json.encode(_runs(frame for frame in in_place if frame is not None))
        placements.append(Placement(places.root if space_id is None else first, ranges, sent, in_place))
    return placements


def whole_row_placement(
    entry: ClassificationAnswer, sent: msgspec.Raw, places: Places, ontology: Ontology, *, on_frames: bool
) -> list[Placement]:
    """The placement of an entry that says nothing: the whole row, or none.

    On data with frames only a global classification stands without a range. One that the ontology knows and
    does not call global has been taken off its last frame. One that the ontology does not know may be global:
    it is kept.
    """
    if not entry.feature_hash:
        return []
    sure = (
        not on_frames or places.has_space(ROOT_SPACE) or entry.feature_hash in ontology.global_classifications
    )
    if not sure and entry.feature_hash in ontology.classification_features:
        return []
    return [Placement(places.root, b"[]", sent, unknown=not sure)]


def has_frames(place: Place, data_type: str, places: Places, *, continuous: bool) -> bool | None:
    """Whether ranges in `place` are frames, and not milliseconds, characters or nanoseconds.

    None where the type of the data or the space is not known.
    """
    if place.space_id is None:
        if data_type in FRAME_TYPES:
            return not continuous
        return False if data_type in RANGE_TYPES else None
    if not place.listed:
        return False  # a channel or point cloud of a recording
    space_type = places.space_type(place.space_id)
    if space_type in FRAME_SPACES:
        return True
    return False if space_type in RANGE_SPACES else None


def _space_ranges(where: SpaceRange | None) -> bytes:
    if where is None or where.type == "html":
        return _ALL
    return _pairs(_decode_list(where.range))


def _pairs(items: list[msgspec.Raw] | None) -> bytes:
    """The JSON list of pairs of numbers; null where they are something else."""
    ranges = b"[%b]" % b",".join(items or ())
    try:
        _decode_ranges(ranges)
    except msgspec.ValidationError:
        return NULL
    return ranges


def _runs(frames: Iterable[int]) -> list[tuple[int, int]]:
    """Frames as inclusive ranges."""
    runs: list[tuple[int, int]] = []
    for frame in sorted(frames):
        if runs and frame == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], frame)
        else:
            runs.append((frame, frame))
    return runs
