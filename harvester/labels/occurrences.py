"""Where the objects of a label row occur: on frames, or at the moments of an event-based scene."""

from bisect import bisect_right

from harvester.filters.fields import fields_decoder
from harvester.labels.locations import Locations

_decode_hash = fields_decoder({"object_hash"}).decode


def hashes_on_frames(locations: Locations) -> set[str | None]:
    """Return the hashes of all objects in the labels of frames."""
    return {
        _decode_hash(raw).object_hash for _, _, labels in locations.labels() for raw in labels.objects or ()
    }


def moments_of(locations: Locations) -> dict[tuple[int, str | None], list[int]]:
    """Return the moments of each object's events in an event-based scene, in ascending order.

    The key is (`id` of the location, object hash). Moments are in nanoseconds.
    """
    moments: dict[tuple[int, str | None], list[int]] = {}
    for location, frame, labels in locations.labels():
        if frame is not None:
            for raw in labels.objects or ():
                moments.setdefault((id(location), _decode_hash(raw).object_hash), []).append(frame)
    return moments


def last_moment(moments: list[int], start: int) -> int | None:
    """Return the last moment before the object's next event, or None if it has no later event."""
    after = bisect_right(moments, start)
    return moments[after] - 1 if after < len(moments) else None
