"""Which live records are not what a new export would hold, because the ontology has changed since."""

import re
from collections.abc import Callable, Iterable, Iterator

import msgspec

from harvester.errors import Unsound
from harvester.events import one_line
from harvester.labels.ontology_changes import OntologyDifferences, ontology_differences
from harvester.live import Void, generation_lines
from harvester.ontology_reach import Reach, hidden_or_shown, why_all
from harvester.output.generations import folder_of
from harvester.output.layout import ONTOLOGY
from harvester.output.manifest import Manifest
from harvester.output.planfile import PlainFile, describe_ontology
from harvester.output.target import Target
from harvester.plan.changes import OntologyChange

_MIXED = "names of earlier ontologies were kept before it was compacted"
_NAMED = 20  # nodes that are named; the rest is counted


class Baseline(msgspec.Struct, frozen=True):
    """Generations whose live records are up to date with the ontology of one of them, `of`."""

    generations: range
    of: int


def baselines(manifest: Manifest) -> list[Baseline]:
    """All generations of an export, by the ontology that their live records are up to date with.

    A sync brings all records that are older up to date with its own ontology, unless it keeps names.
    """
    base = manifest.base.generation
    last = max((one.number for one in manifest.generations if not one.kept_names), default=base)
    since = (Baseline(range(number, number + 1), number) for number in range(last + 1, manifest.last + 1))
    return [Baseline(range(base, last + 1), last), *since]


def has_mixed_names(manifest: Manifest) -> bool:
    """Return whether live records of the base were made with ontologies that are not kept."""
    return manifest.base.kept_names and all(one.kept_names for one in manifest.generations)


def ontology_file(manifest: Manifest, generation: int) -> PlainFile | None:
    """The file of a generation's ontology, as the manifest of the export lists it."""
    return (manifest.generation(generation) or manifest).ontology


def mend_ontologies(target: Target, manifest: Manifest, now: bytes | None) -> None:
    """Puts back the ontologies that a sync compares with, as far as the project still has them. Blocking."""
    for baseline in baselines(manifest):
        folder, listed = folder_of(target, baseline.of), ontology_file(manifest, baseline.of)
        if now is not None and listed == describe_ontology(now) != describe_ontology(folder.read(ONTOLOGY)):
            folder.put(ONTOLOGY, now)


class Outdated:
    """Finds the label rows whose live records hold something that has changed in the ontology. Blocking.

    Raises:
        Unsound: an ontology that must be compared is lost or damaged.
        BadInput: one of them is no ontology.
    """

    def __init__(self, target: Target, manifest: Manifest, now: bytes | None, reach: Reach) -> None:
        """`now` is the project's ontology; `reach` says what the export chooses and writes."""
        self._target = target
        self._manifest = manifest
        self._reach = reach
        self._found: list[tuple[Baseline, OntologyDifferences]] = []
        self._why: str | None = _MIXED if has_mixed_names(manifest) else None
        compared: dict[bytes | None, OntologyDifferences] = {}
        for baseline in baselines(manifest):
            if ontology_file(manifest, baseline.of) == describe_ontology(now):
                continue
            before = self._ontology_of(baseline.of)
            if before not in compared:
                compared[before] = ontology_differences(before, now)
                self._why = self._why or why_all(compared[before], before, now, reach)
            if compared[before].roots:
                self._found.append((baseline, compared[before]))

    def change(
        self, void: Callable[[], Void], add: Callable[[str], bool], check: Callable[[], object], *, kept: bool
    ) -> OntologyChange | None:
        """How the ontology has changed for the live records; None where it has not.

        Where live records cannot tell which rows must be fetched again, that is said to be all. Else they are
        read, and the label hashes of these rows are added. Memory stays flat.

        Args:
            void: what later generations made void; asked for once it is needed.
            add: takes in a label hash, and says whether it is a new one.
            check: called now and then; raises what is to end the reading.
            kept: whether these rows are left as they are.
        """
        if self._why is not None:
            return self._described({root for _, one in self._found for root in one.roots}, None, kept=kept)
        held, rows = set[str](), 0
        for baseline, differences in self._found:
            for generation in baseline.generations:
                for label_row, roots in self._holders(generation, differences, check):
                    if not void().holds(label_row, generation):
                        held |= roots
                        rows += add(label_row[0])
        return self._described(held, rows, kept=kept) if held else None

    def _ontology_of(self, generation: int) -> bytes | None:
        listed = ontology_file(self._manifest, generation)
        if listed is None:
            return None
        folder = folder_of(self._target, generation)
        sent = folder.read(ONTOLOGY)
        if describe_ontology(sent) != listed:
            raise Unsound(
                f"{one_line(folder.name)}: its {ONTOLOGY} is lost or damaged, so that what has changed in "
                "the project's ontology since cannot be told: sync --refetch fetches all rows again"
            )
        return sent

    def _holders(
        self, generation: int, differences: OntologyDifferences, check: Callable[[], object]
    ) -> Iterator[tuple[tuple[str, str], frozenset[str]]]:
        """Label hash and branch of each record that holds what differs, and the roots that it holds."""
        roots_of, hidden = differences.roots_of(), hidden_or_shown(differences)
        sent_otherwise = {
            feature.encode(): roots & hidden for feature, roots in roots_of.items() if roots & hidden
        }
        kinds = {"objects", "classifications"} | ({"rows"} if hidden else set())
        lines = generation_lines(self._target, self._manifest, generation, kinds)
        for number, (kind, line) in enumerate(lines):
            if number % 1000 == 0:
                check()
            held = _in_row(line, sent_otherwise) if kind == "rows" else _in_record(line, roots_of)
            if held[1]:
                yield held

    def _described(self, roots: Iterable[str], rows: int | None, *, kept: bool) -> OntologyChange:
        wanted = frozenset(roots)
        nodes = list(dict.fromkeys(node for _, one in self._found for node in one.changed_nodes(wanted)))
        return OntologyChange(
            nodes=nodes[:_NAMED],
            more=max(0, len(nodes) - _NAMED),
            rows=rows,
            why=self._why,
            kept=kept,
        )


# -- what of a record is read --------------------------------------------------------------------------


class _Chosen(msgspec.Struct, gc=False):
    feature_hash: str | None = None


class _Answered(msgspec.Struct, gc=False):
    feature_hash: str | None = None
    options: list[_Chosen] | None = None


class _Record(msgspec.Struct):
    label_hash: str
    branch_name: str | None = None
    feature_hash: str | None = None
    attributes: list[_Answered] = []
    dynamic_attributes: list[_Answered] = []
    answers: list[_Answered] = []


class _RowKeys(msgspec.Struct):
    label_hash: str | None = None
    branch_name: str | None = None


class _RowRecord(msgspec.Struct):
    row: _RowKeys
    metadata: _RowKeys | None = None


_decode_record = msgspec.json.Decoder(_Record).decode
_decode_row = msgspec.json.Decoder(_RowRecord).decode
_named_features = re.compile(rb'"featureHash"\s*:\s*"([^"\\]*)"').findall
_NONE = frozenset[str]()


def _in_record(line: bytes, roots_of: dict[str, frozenset[str]]) -> tuple[tuple[str, str], frozenset[str]]:
    record = _decode_record(line)
    held = roots_of.get(record.feature_hash or "", _NONE)
    for answers in (record.attributes, record.dynamic_attributes, record.answers):
        for answer in answers:
            held |= roots_of.get(answer.feature_hash or "", _NONE)
            for option in answer.options or ():
                held |= roots_of.get(option.feature_hash or "", _NONE)
    return (record.label_hash, record.branch_name or ""), held


def _in_row(line: bytes, roots_of: dict[bytes, frozenset[str]]) -> tuple[tuple[str, str], frozenset[str]]:
    """A row is written as sent: only labels that are sent, or are not, make a difference.

    Answers may outlive their object. They do not name its class, but attributes and options of it.
    """
    held = _NONE.union(*(roots_of.get(feature, _NONE) for feature in set(_named_features(line))))
    if not held:
        return ("", ""), held
    record = _decode_row(line)
    listed = record.metadata or _RowKeys()
    label_hash = record.row.label_hash or listed.label_hash or ""
    return (label_hash, record.row.branch_name or listed.branch_name or ""), held
