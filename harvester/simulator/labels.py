"""Makes the labels of one label row body."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import orjson

from harvester.simulator.answers import Answers
from harvester.simulator.dates import label_date
from harvester.simulator.edge_cases import EdgeCases
from harvester.simulator.ontology import (
    CLASSIFICATIONS,
    COLOURS,
    OBJECTS,
    Feature,
    Json,
    feature_hash,
    value_of,
)
from harvester.simulator.rng import Rng
from harvester.simulator.shapes import HEIGHT, WIDTH, Size, geometry

BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
PEOPLE = ("ann@example.com", "bob@example.com", "zoë@example.com")
# Only a reader that keeps the bytes as sent reproduces it: parsing and writing it changes them.
UNKNOWN = orjson.Fragment(
    b'{"score": 1.50, "id":123456789012345678901234567890, "tiny":1E-7, "note":"caf\\u00e9 \\/ \xe2\x80\xa8"}'
)


class Wanted(msgspec.Struct, frozen=True):
    """What a caller asked a label row to hold; None stands for every feature."""

    reviews: bool = False
    objects: frozenset[str] | None = None
    classifications: frozenset[str] | None = None
    hidden: frozenset[str] = frozenset()  # objects and classifications that are archived, and not asked for


class Track(msgspec.Struct, frozen=True):
    """One object instance, wherever it is placed."""

    feature: Feature
    hash: str
    color: str
    manual: bool
    author: str


class Labels:
    """The labels of one body: places objects on frames, and collects the answers."""

    def __init__(
        self,
        rng: Rng,
        edge_cases: EdgeCases,
        wanted: Wanted,
        *,
        count: int,
        blank: bool,
        shapes: Sequence[str],
        reviewed: float,
    ) -> None:
        """`count`: how many objects the row has; `blank`: it has no labels at all.
        `reviewed`: the share of objects that have a review."""
        self.rng = rng
        self.edge_cases = edge_cases
        self.count = count
        self.size: Size = (WIDTH, HEIGHT)  # of the medium that objects are put on
        self._blank = blank
        self.object_answers: Json = {}
        self.object_actions: Json = {}
        self.classification_answers: Json = {}
        self._wanted = wanted
        self._shapes = shapes
        self._reviewed = reviewed
        self._made = self._answered = 0
        self._base = rng.below(1 << 30)
        self._answers = Answers(
            rng, split_checklists=edge_cases["split_checklists"], bare=edge_cases["bare_answers"]
        )

    def date(self) -> str:
        return label_date(self._base, self.rng.below(200_000))

    def hash(self) -> str:
        """Return eight base64 characters, unique within the row: the first two are a counter."""
        self._made += 1
        made = BASE64[self._made % 64] + BASE64[self._made // 64 % 64]
        return made + "".join(self.rng.pick(BASE64) for _ in range(6))

    # Objects

    def tracks(self, shapes: Iterable[str], count: int | None = None) -> list[Track]:
        """Return the row's objects (or `count` of them), of those of the given shapes that the world has."""
        allowed = [
            feature for feature in OBJECTS if feature.shape in shapes and feature.shape in self._shapes
        ]
        if self.edge_cases["no_size"]:  # rows older than masks: without a size the SDK cannot export a mask
            allowed = [feature for feature in allowed if feature.shape != "bitmask"]
        if self._blank or not allowed:
            return []
        return [self.track(self.rng.pick(allowed)) for _ in range(self.count if count is None else count)]

    def split(self, parts: int) -> list[int]:
        """Divide the number of the row's objects at random among `parts` places."""
        dealt = [0] * parts
        for _ in range(self.count):
            dealt[self.rng.below(parts)] += 1
        return dealt

    def track(self, feature: Feature) -> Track:
        color = COLOURS[len(feature.name) % len(COLOURS)]
        return Track(feature, self.hash(), color, self.rng.chance(0.7), self.rng.pick(PEOPLE))

    def wants(self, track: Track) -> bool:
        return self._takes(self._wanted.objects, feature_hash(track.feature.name))

    def _takes(self, chosen: frozenset[str] | None, feature: str) -> bool:
        return (chosen is None or feature in chosen) and feature not in self._wanted.hidden

    def put(self, into: list[Json], track: Track, *, deep: bool = False, **event: Any) -> None:
        """Place an object once: on a frame, an image, or a flat space."""
        made = self.head(track)
        shape = geometry(track.feature.shape, self.rng, deep=deep, size=self.size)
        if event.get("event") == "delete":
            shape = self.rng.pick(({}, dict.fromkeys(shape), _emptied(shape)))
        made |= shape | event | self._optional(track)
        if self.wants(track):
            into.append(made)

    def head(self, track: Track) -> Json:
        """Return the keys that every object has."""
        name = track.feature.name
        made: Json = {
            "objectHash": track.hash,
            "name": name,
            "color": track.color,
            "shape": track.feature.shape,
            "value": value_of(name),
            "createdAt": self.date(),
            "createdBy": track.author,
            "featureHash": feature_hash(name),
            "lastEditedAt": self.date(),
            "lastEditedBy": self.rng.pick(PEOPLE),
            "confidence": 1.0 if track.manual else self.rng.real(0.05, 1),
            "manualAnnotation": track.manual,
        }
        if self.edge_cases["few_keys"]:
            made |= {"createdBy": None, "confidence": None, "lastEditedBy": None}
            del made["lastEditedAt"]
        return made

    def _optional(self, track: Track) -> Json:
        made: Json = {}
        if self.edge_cases["is_deleted"]:
            made["isDeleted"] = self.edge_cases["deleted_objects"] and self.rng.chance(0.3)
        if self.edge_cases["unknown_fields"] and self.rng.chance(0.5):
            made["modelTrace"] = UNKNOWN
        reviews = self._reviews("OBJECT", track.hash)
        if self._wanted.reviews and not (self.edge_cases["few_keys"] and not reviews):
            made["reviews"] = reviews
        return made

    def _reviews(self, granularity: str, hash: str) -> list[Json]:
        rng = self.rng
        if not rng.chance(self._reviewed):
            return []
        made: list[Json] = []
        for number in range(rng.pick((1, 1, 1, 2))):
            approved, date = rng.chance(0.75), self.date()
            made.append(
                {
                    "id": rng.below(1 << 40),
                    "status": "APPROVED" if approved else "REJECTED",
                    "displayed_status": "Approved" if approved else "Rejected",
                    "approved": approved,
                    "comment": None if approved else "too loose",
                    "rejections": 0 if approved else number + 1,
                    "granularity": granularity,
                    "granularity_id": hash,
                    "user_email": "reviewer@example.com",
                    "createdAt": date,
                    "createdBy": "reviewer@example.com",
                    "created_at": date,
                    "last_edited_at": date,
                    "instance": {"objectHash": hash},
                    "metadata": None,
                }
            )
        return made

    def answer(self, track: Track, *, number: bool = False, orphan: bool = False, **extra: Any) -> None:
        """Add the object's static answers; for a range object, with `extra`, the object itself.

        `orphan`: the object is on no frame. If it also has no answers, nothing tells its class.
        """
        answers = self._answers.static(track.feature)
        self._answered += 1  # also for objects that are left out, so that numbers do not depend on filters
        if not self.wants(track) and (answers or not orphan):
            return
        made: Json = {"objectHash": track.hash, "classifications": answers}
        if number:
            made["objectNumber"] = self._answered
        self.object_answers[track.hash] = made | extra

    def range_object(self, track: Track, placements: int = 1, *, bare: bool = False, **where: Any) -> None:
        """Add an object that consists of an answer with ranges.

        Args:
            placements: on how many media it is; not written, but a subclass can count with it.
            bare: leave out its shape, name, value and colour, which the ontology has.
        """
        head = self.head(track)
        for key in ("shape", "name", "value", "color") if bare else ():
            del head[key]
        head.pop("confidence") if self.rng.chance(0.5) else None
        self.answer(track, **(head | where | self._optional(track)))

    def act(self, track: Track, first: int, last: int, end: int, **extra: str) -> None:
        """Add the object's dynamic answers on frames `first` to `last` of a row whose last frame is `end`."""
        actions = [
            action | extra | ({"trackHash": self.hash()} if self.edge_cases["few_keys"] else {})
            for action in self._answers.dynamic(
                track.feature, first, last, end, wide=self.edge_cases["wide_ranges"]
            )
        ]
        if actions and self.wants(track):
            made = self.object_actions.setdefault(track.hash, {"objectHash": track.hash, "actions": []})
            made["actions"] += actions

    def orphans(self) -> None:
        """Add answers and actions of an object that was removed."""
        if self.edge_cases["orphan_answers"]:
            gone = self.track(OBJECTS[0])
            self.answer(gone, orphan=True)
            self.act(gone, 0, 0, 0)

    # Classifications

    def classifications(self, count: int, *, whole: bool = False) -> list[Feature]:
        """Return up to `count` different classifications; global ones only if `whole`."""
        allowed = [feature for feature in CLASSIFICATIONS if whole or not feature.shape]
        chosen: list[Feature] = []
        for _ in range(0 if self._blank else min(count, len(allowed))):
            chosen.append(allowed.pop(self.rng.below(len(allowed))))
        return chosen

    def wants_classification(self, feature: Feature) -> bool:
        return self._takes(self._wanted.classifications, feature_hash(feature.name, "classification"))

    def classify(self, feature: Feature, placements: int, *, copied: bool = False, **where: Any) -> str:
        """Answer a classification and return its hash.

        Args:
            placements: on how many media it is; not written, but a subclass can count with it.
            copied: it is placed by frame-level copies only.
        """
        hash, answers = self.hash(), self._answers.static(feature)
        made: Json = {"classificationHash": hash, "classifications": answers}
        head = self._classification_head(feature)
        if not copied or self.rng.chance(0.5):
            made["featureHash"] = head["featureHash"]
        if not copied:
            made |= {key: head[key] for key in head if key not in ("featureHash", "name", "value")}
        if self.wants_classification(feature):
            self.classification_answers[hash] = made | where
        return hash

    def copy(self, into: list[Json], feature: Feature, hash: str) -> None:
        """Add a frame-level copy of a classification, as old rows have it."""
        made: Json = {"classificationHash": hash} | self._classification_head(feature)
        reviews = self._reviews("CLASSIFICATION", hash)
        if self._wanted.reviews:
            made["reviews"] = reviews
        if self.wants_classification(feature):
            into.append(made)

    def _classification_head(self, feature: Feature) -> Json:
        return {
            "name": feature.attributes[0].name,
            "value": value_of(feature.attributes[0].name),
            "createdAt": self.date(),
            "createdBy": self.rng.pick(PEOPLE),
            "lastEditedAt": self.date(),
            "lastEditedBy": self.rng.pick(PEOPLE),
            "featureHash": feature_hash(feature.name, "classification"),
            "confidence": 1.0,
            "manualAnnotation": True,
        }


def _emptied(geometry: Any) -> Any:
    """Return a geometry with every number zero, as many delete events have."""
    if isinstance(geometry, dict):
        return {key: _emptied(value) for key, value in geometry.items()}
    if isinstance(geometry, list):
        return [_emptied(value) for value in geometry]
    return 0 if isinstance(geometry, int | float) else geometry
