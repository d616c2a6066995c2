"""The ground truth, counted while rows are made and never by reading what was made."""

from collections import Counter

import msgspec


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


class Tally(msgspec.Struct):
    """What one label row holds."""

    shapes: Counter[str] = msgspec.field(default_factory=Counter)
    features: Counter[str] = msgspec.field(default_factory=Counter)
    classifications: int = 0
    copied: int = 0

    def object(self, shape: str, feature: str) -> None:
        self.shapes[shape] += 1
        self.features[feature] += 1

    def classify(self, placements: int, *, copied: bool) -> None:
        self.classifications += placements
        self.copied += placements if copied else 0

    def add_to(self, truth: Truth, rows: int) -> None:
        """Adds `rows` rows like this one."""
        for shape, count in self.shapes.items():
            truth.by_shape[shape] += count * rows
            truth.objects += count * rows
        for feature, count in self.features.items():
            truth.by_feature[feature] += count * rows
        truth.classifications += self.classifications * rows
        truth.copied += self.copied * rows
