"""Answers to attributes: static, nested, dynamic."""

from collections.abc import Iterator

from harvester.simulator.ontology import Attribute, Feature, Json, feature_hash, value_of
from harvester.simulator.rng import Rng

WORDS = (
    "B-XY 1234",
    "left turn",
    "Überholverbot ⚠",
    "日本語",
    'say "stop"',
    "line one\nline two",
    "Q&A </td>",
    "50 %",
    "",
)


class Answers:
    """Makes answers to the attributes of one body's objects and classifications."""

    def __init__(self, rng: Rng, *, split_checklists: bool, bare: bool) -> None:
        """
        Args:
            split_checklists: one dictionary for each checked option, as the editor writes them.
            bare: older answers, without `manualAnnotation`, with options named after their attribute.
        """
        self._rng = rng
        self._split = split_checklists
        self._bare = bare

    def static(self, feature: Feature) -> list[Json]:
        """Return the static answers of an object or classification, in reverse ontology order."""
        answers = [
            answer
            for attribute in feature.attributes
            if not attribute.dynamic and self._rng.chance(0.6)
            for answer in self._of(attribute, (feature.name,))
        ]
        return answers[::-1]

    def dynamic(self, feature: Feature, first: int, last: int, end: int, *, wide: bool) -> Iterator[Json]:
        """Yield the actions of an object on frames `first` to `last` of a row whose last frame is `end`.

        Two values share the frames; if `wide`, the second one lasts until the end of the row.
        """
        middle = first + self._rng.below(last - first + 1)
        ranges = [[[first, middle]]]
        if middle < last or (wide and middle < end):
            ranges.append([[middle + 1, end if wide else last]])
        for attribute in feature.attributes:
            if attribute.dynamic and self._rng.chance(0.5):
                for span in ranges:
                    for answer in self._of(attribute, (feature.name,)):
                        yield answer | {"dynamic": True, "range": span, "shouldPropagate": False}

    def _of(self, attribute: Attribute, path: tuple[str, ...]) -> Iterator[Json]:
        path = (*path, attribute.name)
        rng = self._rng
        if attribute.type == "text":
            yield self._answer(attribute, path, rng.pick(WORDS))
        elif attribute.type == "numeric":
            yield self._answer(
                attribute, path, rng.pick((rng.between(-9, 120), rng.real(0, 100), 1e-7, 2.5e21))
            )
        elif attribute.type == "radio":
            yield from self._radio(attribute, path)
        else:
            checked = [option.label for option in attribute.options if rng.chance(0.5)]
            entries = [self._option(attribute, path, label) for label in checked]
            if self._split and entries:
                yield from (self._answer(attribute, path, [entry]) for entry in entries)
            else:
                yield self._answer(attribute, path, entries)

    def _radio(self, attribute: Attribute, path: tuple[str, ...]) -> Iterator[Json]:
        """Yield the chosen option, or none, and the answers nested under it as flat siblings."""
        if self._rng.chance(0.05):
            yield self._answer(attribute, path, [])
            return
        option = self._rng.pick(attribute.options)
        yield self._answer(attribute, path, [self._option(attribute, path, option.label)])
        for nested in option.nested:
            yield from self._of(nested, (*path, option.label))

    def _option(self, attribute: Attribute, path: tuple[str, ...], label: str) -> Json:
        name = attribute.name if self._bare else label
        return {"name": name, "value": value_of(label), "featureHash": feature_hash(*path, label)}

    def _answer(self, attribute: Attribute, path: tuple[str, ...], answers: object) -> Json:
        made: Json = {
            "name": attribute.name,
            "value": value_of(attribute.name),
            "answers": answers,
            "featureHash": feature_hash(*path),
        }
        return made if self._bare else made | {"manualAnnotation": True}
