"""The cases as they were met, and at random: other hashes, several in a row, other spelling of the JSON."""

import json
from collections.abc import Iterator
from itertools import pairwise
from random import Random
from typing import Any

from tests.labels.cases import (
    SECOND,
    Case,
    Features,
    Image,
    Json,
    channels,
    events,
    images,
    numbered,
    reviewed,
    series,
    unplaced,
)

FRAMES = 40  # of every video
KNOWN = Features()
LEFT = (Image("left/1.jpg", "left", 7, 40), Image("left/2.jpg", "left", 8, 41))


def _label(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012}"


def met() -> dict[str, Case]:
    """The cases as they were met, one row each."""
    lives = [[0, 1_500_000_000, 2_500_000_000], [3_500_000_000, 4_000_000_000]]
    phases = [("go", 0, 699_999_999), ("stop", 700_000_000, 1_499_999_999)]
    reviews = numbered(_label(7), KNOWN, {"obj0000g": [0]}, {"obj0000g": None})
    reviews.merge(
        reviewed(_label(7), KNOWN, {"cls0000g": [[0, 0]]}, {"cls0000g": {0: [{"id": 2, "approved": True}]}})
    )
    captions = {"cls0000e": {LEFT[0]: "on a"}}
    return {
        "a time range on a channel that only its entry names, without a shape": channels(
            _label(1), KNOWN, {"span0001": {"/accel.z": [[250, 900]]}}
        ),
        "a time range on a time series, without a shape": series(_label(2), KNOWN, {"span0003": [[5, 9]]}),
        "a classification without a range that the ontology does not know": unplaced(
            _label(3), KNOWN, {"cls0000h": (KNOWN.unknown, "kept")}
        ),
        "events: when a label ends, and answers that change between events": events(
            _label(4), KNOWN, {"cube0001": lives}, {"cube0001": phases}
        ),
        "images of a scene: one space for each, and answers of one": images(
            _label(5), KNOWN, {"obj0000e": {LEFT[0]: "on a", LEFT[1]: "on b"}}, captions
        ),
        "the number of an object": numbered(_label(6), KNOWN, {"obj00001": [0]}, {"obj00001": 7}),
        "reviews on the copy of a classification": reviews,
    }


class Plans:
    """Cases at random, for one ontology."""

    def __init__(self, dice: Random, known: Features) -> None:
        self._dice = dice
        self._known = known

    def cases(self) -> Iterator[Case]:
        """Without end: rows of all kinds, those that go together in one row in some."""
        while True:
            for make in (self._scene, self._series, self._video, self._images):
                yield make(self._hash36())

    def _scene(self, label_hash: str) -> Case:
        case = channels(label_hash, self._known, self._spans(), bare=self._dice.random() < 0.7)
        if self._dice.random() < 0.7:
            lives = {self._hash(): self._lives() for _ in range(self._dice.randint(1, 3))}
            held = {key: self._held() for key in lives if self._dice.random() < 0.7}
            case.merge(events(label_hash, self._known, lives, held))
        return case

    def _series(self, label_hash: str) -> Case:
        spans = {self._hash(): self._ranges() for _ in range(self._dice.randint(1, 4))}
        return series(label_hash, self._known, spans)

    def _video(self, label_hash: str) -> Case:
        dice, known = self._dice, self._known
        frames = {self._hash(): self._frames() for _ in range(dice.randint(1, 3))}
        numbers = {key: dice.choice((None, dice.randint(0, 10**6))) for key in frames}
        case = numbered(label_hash, known, frames, numbers)
        if dice.random() < 0.6:
            kinds = dice.choices((known.unknown, known.whole, known.caption), k=dice.randint(1, 3))
            said = {self._hash(): (feature, f"said {dice.random()}") for feature in kinds}
            case.merge(unplaced(label_hash, known, said))
        if dice.random() < 0.6:
            placed = {self._hash(): self._ranges(FRAMES) for _ in range(dice.randint(1, 3))}
            reviews = {
                key: {first: self._reviews() for first, _ in ranges}
                for key, ranges in placed.items()
                if dice.random() < 0.7
            }
            case.merge(reviewed(label_hash, known, placed, reviews))
        return case

    def _images(self, label_hash: str) -> Case:
        dice = self._dice
        there = []
        for stream in dice.sample(("left", "cam/front", "", "right#2"), dice.randint(1, 3)):
            for event in range(dice.randint(1, 3)):
                # Start frames and event indices of one stream do not meet: the key is of one image.
                start = 100 + event * 7 if stream == "left" or (stream and dice.random() < 0.5) else None
                space = f"{stream or 'none'}/{self._hash()}.jpg"
                there.append(Image(space, stream, event, start, by_space="#" in stream))
        on = {
            self._hash(): {
                image: f"on {self._hash()}" for image in dice.sample(there, dice.randint(1, len(there)))
            }
            for _ in range(dice.randint(1, 3))
        }
        captions = {}
        for _ in range(dice.randint(0, 2)):
            text = f"said {self._hash()}"
            captions[self._hash()] = dict.fromkeys(dice.sample(there, dice.randint(1, len(there))), text)
        return images(label_hash, self._known, on, captions, tuple(there))

    def _hash(self) -> str:
        return "".join(self._dice.choices("abcXYZ0189+/", k=8))

    def _hash36(self) -> str:
        digits = f"{self._dice.getrandbits(128):032x}"
        return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-8{digits[17:20]}-{digits[20:]}"

    def _ranges(self, end: int = 10**6) -> list[list[int]]:
        bounds = sorted(self._dice.sample(range(0, end, 2), 2 * self._dice.randint(1, 3)))
        return [[first, last] for first, last in zip(bounds[::2], bounds[1::2], strict=True)]

    def _frames(self) -> list[int]:
        return sorted(self._dice.sample(range(FRAMES), self._dice.randint(1, 4)))

    def _spans(self) -> dict[str, Json]:
        names = ("/accel.z", "/gps", "/can/brake pedal", "ü")
        return {
            self._hash(): {
                channel: self._ranges(60 * SECOND)
                for channel in self._dice.sample(names, self._dice.randint(1, 2))
            }
            for _ in range(self._dice.randint(1, 3))
        }

    def _lives(self) -> list[list[int]]:
        """Moments in order: of each life its upserts and its end; none begins when another ends."""
        counts = [self._dice.randint(2, 4) for _ in range(self._dice.randint(1, 3))]
        moments = sorted(self._dice.sample(range(20 * SECOND), sum(counts)))
        return [[moments.pop(0) for _ in range(count)] for count in counts]

    def _held(self) -> list[tuple[str, int, int]]:
        bounds = sorted(self._dice.sample(range(25 * SECOND), self._dice.randint(2, 5)))
        return [
            (f"phase {number}", first, after - 1) for number, (first, after) in enumerate(pairwise(bounds))
        ]

    def _reviews(self) -> list[Json]:
        return [{"id": at, "approved": self._dice.random() < 0.5} for at in range(self._dice.randint(0, 2))]


# Dicts whose keys are names of theirs, and not hashes or frames: one of these is among them.
_NAMED = {
    "objectHash",
    "classificationHash",
    "featureHash",
    "data_hash",
    "space_type",
    "stream_id",
    "objects",
}


def spelt(row: Json, dice: Random) -> bytes:
    """The JSON of a row with fields that nobody knows, its keys in any order, and any blank space."""

    def other(value: Any) -> Any:
        if isinstance(value, list):
            return [other(item) for item in value]
        if not isinstance(value, dict):
            return value
        items = [(key, other(item)) for key, item in value.items()]
        if _NAMED & value.keys() and "objects" not in value:
            items += [("xUnknown", dice.choice(unknown)) for _ in range(dice.random() < 0.3)]
        dice.shuffle(items)
        return dict(items)

    unknown: list[Any] = [None, {"a": [1, {"b": 2.5}]}, "\N{LINE SEPARATOR}é", 10**30, [], True]
    made = other(row)
    style: dict[str, Any] = dice.choice(
        (
            {},
            {"separators": (",", ":")},
            {"indent": 1},
            {"ensure_ascii": False},
            {"separators": (" ,", " : ")},
        )
    )
    return json.dumps(made, **style).encode()


def by_frame(case: Case) -> list[Json]:
    """What `--per-frame` makes of the classifications of a case: a line for each frame in their ranges."""
    made = []
    for one in case.classifications:
        frames = [frame for first, last in one["ranges"] for frame in range(first, last + 1)]
        made += [one | {"frame": frame, "ranges": None} for frame in frames] or [one]
    return made


def compare(kind: str, found: list[Json], expected: list[Json], *, reviews: bool = True) -> None:
    """Asserts that the records found are those expected, no more and no fewer, in all that is expected."""

    def place(one: Json) -> tuple[Any, ...]:
        return one[f"{kind}_hash"], one["space_id"], one["frame"]

    ours = {place(one): one for one in found}
    assert len(ours) == len(found)
    wanted = {place(one): one for one in expected}
    assert ours.keys() == wanted.keys()
    for key, one in wanted.items():
        said = {name: _plain(ours[key][name]) for name in one}
        if "reviews" in one and not reviews:
            one = one | {"reviews": None}
        assert said == one, key


def _plain(value: Any) -> Any:
    """A list of answers as name, text and ranges; anything else as it is."""
    if isinstance(value, list) and value and isinstance(value[0], dict) and "parent" in value[0]:
        return [(item["name"], item["text"], item["ranges"]) for item in value]
    return value
