"""The ground truth of a simulated world: counted while its rows are made, never by reading what was made."""

from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec

from harvester.simulator.bodies import Bodies
from harvester.simulator.labels import Labels, Track, Wanted
from harvester.simulator.ontology import Feature, Json, feature_hash
from harvester.simulator.recipes import RECIPES
from harvester.simulator.world import World


class Truth(msgspec.Struct):
    """What a listing, and all of its label rows together, hold.

    `objects`: one an object and frame, image or space; one a range object (audio, text, HTML, time series)
    and placement. `classifications`: one a placement, on a row's root or on a space; `copied` of them are
    placed by frame-level copies alone, which today's SDK no longer shows. `by_data_type` counts rows.
    """

    listed: int = 0
    labelled: int = 0
    unlabelled: int = 0
    objects: int = 0
    classifications: int = 0
    copied: int = 0
    by_shape: Counter[str] = msgspec.field(default_factory=Counter)
    by_feature: Counter[str] = msgspec.field(default_factory=Counter)
    by_data_type: Counter[str] = msgspec.field(default_factory=Counter)

    def add(self, labels: "CountedLabels", rows: int) -> None:
        """Add `rows` rows with these labels."""
        for shape, count in labels.shapes.items():
            self.by_shape[shape] += count * rows
            self.objects += count * rows
        for feature, count in labels.features.items():
            self.by_feature[feature] += count * rows
        self.classifications += labels.classified * rows
        self.copied += labels.copied * rows


class CountedLabels(Labels):
    """Labels that count what is placed as they make it."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.shapes: Counter[str] = Counter()
        self.features: Counter[str] = Counter()
        self.classified = self.copied = 0

    def put(self, into: list[Json], track: Track, *, deep: bool = False, **event: Any) -> None:
        super().put(into, track, deep=deep, **event)
        if event.get("event") != "delete":
            self._count(track, 1)

    def range_object(self, track: Track, placements: int = 1, *, bare: bool = False, **where: Any) -> None:
        super().range_object(track, placements, bare=bare, **where)
        self._count(track, placements)

    def classify(self, feature: Feature, placements: int, *, copied: bool = False, **where: Any) -> str:
        if self.wants_classification(feature):
            self.classified += placements
            self.copied += placements if copied else 0
        return super().classify(feature, placements, copied=copied, **where)

    def _count(self, track: Track, placements: int) -> None:
        if placements and self.wants(track):
            self.shapes[track.feature.shape] += placements
            self.features[feature_hash(track.feature.name)] += placements


class Oracle:
    """Tells what the rows of a world hold."""

    def __init__(self, world: World) -> None:
        """Raises ValueError for a world with a large row, whose boxes are not counted."""
        if world.spec.large_row_bytes:
            raise ValueError("the boxes of a large row are not counted")
        self._world = world
        self._labels = lru_cache(maxsize=None)(self._make)

    def expected(self, query: Mapping[str, Any] | None = None, *, include_archived: bool = False) -> Truth:
        """What the rows that a list call with the payload `query` answers hold."""
        wanted = Wanted() if include_archived else self._world.usual()
        truth, bodies = Truth(), Counter[tuple[int, int, int]]()
        for row in self._world.rows(query):
            truth.listed += 1
            truth.by_data_type[RECIPES[row.recipe].data_type] += 1
            if row.labelled:
                truth.labelled += 1
                bodies[row.recipe, row.variant, row.edition] += 1
        truth.unlabelled = truth.listed - truth.labelled
        for body, rows in bodies.items():
            truth.add(self._labels(*body, wanted), rows)
        return truth

    def _make(self, recipe: int, variant: int, edition: int, wanted: Wanted) -> CountedLabels:
        made: list[CountedLabels] = []

        def make_labels(*args: Any, **options: Any) -> Labels:
            made.append(CountedLabels(*args, **options))
            return made[0]

        Bodies(self._world.spec, make_labels).body(recipe, variant, edition, wanted)
        return made[0]


def truth_of(world: World, query: Mapping[str, Any] | None = None) -> Truth:
    """What the rows that a list call with the payload `query` answers hold."""
    return Oracle(world).expected(query)
