"""One label row of an exact size in bytes: an image with many boxes."""

from collections.abc import Callable
from io import SEEK_CUR, BytesIO

import orjson

from harvester.simulator.labels import Wanted
from harvester.simulator.ontology import OBJECTS, Json, feature_hash
from harvester.simulator.shapes import HEIGHT, WIDTH
from harvester.simulator.template import Template, hole, raw_hole

CAR = feature_hash(OBJECTS[0].name)
MARK = b"\0"
PADDING = b',"padding":"%s"}'


def _box() -> bytes:
    """Return a box; all boxes have the same length in bytes."""
    made: Json = {
        "objectHash": "%08x",
        "name": OBJECTS[0].name,
        "color": "#E27300",
        "shape": "bounding_box",
        "value": "car",
        "createdAt": "2025-01-02 03:04:05",
        "createdBy": "ann@example.com",
        "featureHash": CAR,
        "lastEditedAt": "2025-01-02 03:04:05",
        "lastEditedBy": "ann@example.com",
        "confidence": 1.0,
        "manualAnnotation": True,
        "boundingBox": orjson.Fragment(b'{"x":0.%04d,"y":0.%04d,"w":0.0325,"h":0.0175}'),
    }
    return orjson.dumps(made)


class LargeRow:
    """Makes the large row each time it is asked for, and keeps nothing of it."""

    def __init__(self, size: int) -> None:
        """`size`: bytes of JSON, at least a few thousand."""
        self._size = size
        self._box = _box()
        self._length = len(self._box % (0, 0, 0)) + 1  # with its comma
        unit: Json = {
            "data_hash": hole("data_hash"),
            "data_title": hole("title"),
            "data_link": hole("link"),
            "data_type": "image/jpeg",
            "data_sequence": 0,
            "width": WIDTH,
            "height": HEIGHT,
            "labels": {"objects": raw_hole("objects"), "classifications": []},
        }
        self._template = Template(
            {
                "label_hash": hole("label_hash"),
                "branch_name": hole("branch"),
                "created_at": hole("created_at"),
                "last_edited_at": hole("last_edited_at"),
                "dataset_hash": hole("dataset_hash"),
                "dataset_title": hole("dataset_title"),
                "data_title": hole("title"),
                "data_hash": hole("data_hash"),
                "data_type": "image",
                "data_units": {hole("data_hash"): unit},
                "object_answers": {},
                "classification_answers": {},
                "object_actions": {},
                "label_status": hole("label_status"),
            }
        )

    def row(self, fill: Callable[..., bytes], wanted: Wanted, edition: int) -> bytes:
        """Return the label row. `fill(template, objects=...)` fills the holes."""
        head, tail = fill(self._template, objects=MARK).split(MARK)
        count = self._count(fill) if _asked(wanted) else 0
        made = BytesIO()  # grows in place: there is memory for one such row, not for several
        made.write(head)
        for number in range(count):
            made.write(b"," if number else b"[")
            made.write(self._box % (number, (number + edition) % 9000, number * 7 % 9000))
        if count:
            made.seek(-1, SEEK_CUR)  # the last object is padded to the exact size
            made.write(PADDING % (b"." * (self._size - made.tell() - len(PADDING % b"") - len(tail) - 1)))
        else:
            made.write(b"[")
        made.write(b"]" + tail)
        return made.getvalue()

    def _count(self, fill: Callable[..., bytes]) -> int:
        room = self._size - len(fill(self._template, objects=b"[]")) - len(PADDING) + 1
        return max(1, room // self._length)


def _asked(wanted: Wanted) -> bool:
    return (wanted.objects is None or CAR in wanted.objects) and CAR not in wanted.hidden
