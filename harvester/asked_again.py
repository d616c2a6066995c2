"""The label rows that a sync asks for again although their listing says that nothing has changed."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import cache

import msgspec

from harvester.live import Void, generation_lines, own_manifest, read_feed, void_rows
from harvester.ontology_reach import Reach
from harvester.outdated import Outdated
from harvester.output.generations import folder_of, read_failed
from harvester.output.layout import NOTES
from harvester.output.manifest import Manifest
from harvester.output.planfile import describe_ontology
from harvester.output.target import Target
from harvester.plan.changes import OntologyChange, SyncOptions
from harvester.plan.sorting import scratch


class AskedAgain:
    """The label hashes whose rows are asked for again. Remembers which of those named it was asked about.

    `ontology`: how the ontology has changed for the live records, None where it has not. `kept_names`:
    whether records that were made with an earlier ontology are left as they are.
    """

    def __init__(self, options: SyncOptions, hashes: "HashesOnDisk") -> None:
        self.everything = options.refetch is True
        self.ontology: OntologyChange | None = None
        self.kept_names = False
        self.hashes = hashes
        self._named = frozenset(options.refetch) if isinstance(options.refetch, tuple) else frozenset()
        self._met = set[str]()

    def __contains__(self, label_hash: object) -> bool:
        if label_hash in self._named:
            assert isinstance(label_hash, str)
            self._met.add(label_hash)
            return True
        return self.everything or label_hash in self.hashes

    @property
    def not_met(self) -> list[str]:
        """The label hashes that were named and that are not in the listing."""
        return sorted(self._named - self._met)


class HashesOnDisk:
    """A set of label hashes in a temporary file. Made by `hashes_on_disk`."""

    def __init__(self, table: sqlite3.Connection) -> None:
        self._table = table
        self._count = 0

    def add(self, label_hash: str) -> bool:
        """Adds a label hash. Whether it was not there yet."""
        added = self._table.execute("INSERT OR IGNORE INTO hashes VALUES (?)", (label_hash,)).rowcount
        self._count += added
        return bool(added)

    def add_all(self, label_hashes: Iterable[str]) -> None:
        """Adds each of them."""
        for label_hash in label_hashes:
            self.add(label_hash)

    def __bool__(self) -> bool:
        return self._count > 0

    def __contains__(self, label_hash: object) -> bool:
        if not self._count:
            return False
        found = self._table.execute("SELECT 1 FROM hashes WHERE label = ?", (label_hash,))
        return found.fetchone() is not None


@contextmanager
def hashes_on_disk() -> Iterator[HashesOnDisk]:
    """An empty set, gone at the end. Raises CannotFinishNow where there is no room for it."""
    with scratch("hashes (label PRIMARY KEY) WITHOUT ROWID") as table:
        yield HashesOnDisk(table)


@contextmanager
def asked_again(
    target: Target,
    manifest: Manifest,
    options: SyncOptions,
    ontology: bytes | None,
    reach: Reach,
    check: Callable[[], object],
) -> Iterator[AskedAgain]:
    """What a sync of the export in `target` asks for again. Blocking, flat in memory.

    These are rows that failed when they were asked for last; rows that were noted as stale, once; rows
    that hold what has changed in the `ontology`; and those that `options` name.

    Args:
        check: called now and then; raises what is to end the reading.

    Raises:
        Unsound: the export is damaged.
    """
    with ExitStack() as stack:
        again = AskedAgain(options, stack.enter_context(hashes_on_disk()))

        @cache
        def void() -> Void:
            return stack.enter_context(void_rows(target, manifest))

        if not again.everything:
            if options.keep_names and _kept_already(manifest, ontology):
                again.kept_names = True
            else:
                kept = stack.enter_context(hashes_on_disk()) if options.keep_names else again.hashes
                outdated = Outdated(target, manifest, ontology, reach)
                again.ontology = outdated.change(void, kept.add, check, kept=options.keep_names)
                again.kept_names = options.keep_names and again.ontology is not None
                again.everything = bool(
                    again.ontology and again.ontology.rows is None and not again.kept_names
                )
            again.hashes.add_all(_failed(target, manifest, void))
            again.hashes.add_all(_noted_stale(target, manifest))
        yield again


def _kept_already(manifest: Manifest, ontology: bytes | None) -> bool:
    """Whether the last sync kept names though the ontology was the one that it is now."""
    last = manifest.generation(manifest.last)
    kept_names = last.kept_names if last else manifest.base.kept_names
    return kept_names and (last or manifest).ontology == describe_ontology(ontology)


def _failed(target: Target, manifest: Manifest, void: Callable[[], Void]) -> Iterator[str]:
    """The label rows that failed when they were asked for last: by the last sync, or when an earlier part
    was mended.
    """
    for generation in manifest.numbers:
        with closing(read_failed(folder_of(target, generation))) as failed:
            for label_hash in failed:
                if generation == manifest.last or not void().holds_any(label_hash, generation):
                    yield label_hash


class _Note(msgspec.Struct):
    label_hash: str
    note: str


def _noted_stale(target: Target, manifest: Manifest) -> Iterator[str]:
    """The label rows that were noted as stale last, by the export or by a sync.

    A sync that asked again although the listing said nothing new ends it: the row is fetched again once its
    listing changes.
    """
    last = manifest.last
    folder = folder_of(target, last)
    if not own_manifest(folder, manifest, last).notes.get("stale"):
        return
    decode = msgspec.json.Decoder(_Note).decode
    with hashes_on_disk() as ended:
        ended.add_all(
            change.label_hash
            for change in read_feed(target, manifest, last)
            if change.change == "edited" and change.from_last_edited_at == change.to_last_edited_at
        )
        for _, line in generation_lines(target, manifest, last, {NOTES}):
            noted = decode(line)
            if noted.note == "stale" and noted.label_hash not in ended:
                yield noted.label_hash
