"""The live records of an export that is kept fresh: those that a new export would have."""

import json
import sqlite3
from collections import deque
from collections.abc import Container, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from harvester.errors import BadInput, CannotFinishNow, Unsound
from harvester.events import one_line
from harvester.output.generations import folder_of
from harvester.output.lines import checked_lines
from harvester.output.manifest import Manifest, read_manifest
from harvester.output.target import Target, open_target
from harvester.plan.changes import Change
from harvester.plan.sorting import scratch
from harvester.schema import KINDS, Record
from harvester.settings import check_kinds, strings

_VOIDS = ("edited", "removed")


def live_records(target: Path | str, *, kinds: Iterable[str] | None = None) -> Iterator[Record]:
    """Return the records of a finished export as of its last sync: of all `kinds`, or of those named.

    Those of the export itself come first, then what each sync brought, less what later ones made void.
    Blocking; memory stays flat.

    Raises:
        BadInput: one of `kinds` is unknown, or there is no finished export.
        Unsound: it is damaged: see `harvester verify`.
    """
    wanted = None if kinds is None else frozenset(strings("kinds", kinds))
    check_kinds(wanted or ())
    return _live(target, wanted)


def _live(target: Path | str, wanted: frozenset[str] | None) -> Iterator[Record]:
    store, manifest = finished(target)
    kinds = frozenset(KINDS) if wanted is None else wanted
    with void_rows(store, manifest) as void:
        for generation in manifest.numbers:
            for _, line in generation_lines(store, manifest, generation, kinds):
                try:
                    record: Any = json.loads(line)
                    label_row = _label_row(record)
                except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
                    raise Unsound(
                        f"{one_line(store.name)} holds a line that is no record: see harvester verify"
                    ) from error
                if not void.holds(label_row, generation):
                    yield record


def finished(target: Path | str) -> tuple[Target, Manifest]:
    """Open the target of a finished export, and return it with its manifest. Blocking.

    Raises:
        BadInput: there is no finished export.
        Unsound: its manifest is damaged.
    """
    store = open_target(target)
    return store, finished_manifest(store)


def finished_manifest(target: Target) -> Manifest:
    """Return the manifest of a finished export. Blocking. Raises as `finished` does."""
    try:
        manifest = read_manifest(target)
    except Unsound as error:
        raise Unsound(f"{one_line(target.name)}: its manifest {error.message}; export it again") from error
    if manifest is None:
        raise BadInput(f"{one_line(target.name)} holds no finished export")
    return manifest


def generation_lines(
    target: Target, manifest: Manifest, generation: int, kinds: Container[str]
) -> Iterator[tuple[str, bytes]]:
    """Yield all lines of a generation's files of these kinds, void ones too, each with its kind.

    Raises:
        Unsound: a file is missing or damaged. Where its bytes are others, that is known at its end.
    """
    folder = folder_of(target, generation)
    for file in own_manifest(folder, manifest, generation).parts:
        if file.kind in kinds:
            for line in checked_lines(folder, file):
                yield file.kind, line


def own_manifest(folder: Target, manifest: Manifest, generation: int) -> Manifest:
    """A generation's own manifest, which must be the one that the export's manifest names."""
    entry = manifest.generation(generation)
    if entry is None:
        return manifest
    try:
        own = read_manifest(folder)
    except Unsound:
        own = None
    if own is None or own.digest != entry.manifest:
        raise Unsound(f"{one_line(folder.name)} is not what the manifest names: see harvester verify")
    return own


@contextmanager
def damage_named(target: Target, manifest: Manifest) -> Iterator[None]:
    """On a line that cannot be read, read all files, and raise Unsound with the name of the damaged one.

    If the bytes of all files are those that the manifest names, it was not harvester that wrote the line.

    Raises:
        CannotFinishNow: what was read is no longer there, because a sync or a compaction has replaced it.
    """
    try:
        yield
    except (Unsound, msgspec.MsgspecError, UnicodeDecodeError, RecursionError, OverflowError) as error:
        with suppress(Unsound):
            if read_manifest(target) != manifest:
                what = "has been synced, compacted or mended meanwhile: run it again"
                raise CannotFinishNow(f"{one_line(target.name)} {what}") from error
        for number in manifest.numbers:
            folder = folder_of(target, number)
            for file in own_manifest(folder, manifest, number).parts:
                deque(checked_lines(folder, file), maxlen=0)
        if isinstance(error, Unsound):
            raise
        why = f"a line is not as harvester writes it ({error}); a new export is needed"
        raise Unsound(one_line(f"{target.name}: {why}")) from error


def _label_row(record: dict[str, Any]) -> tuple[str, str]:
    """Label hash and branch of the row that a record is of."""
    if record["kind"] == "row":
        record = (record["metadata"] or {}) | {key: value for key, value in record["row"].items() if value}
    label_hash, branch = record["label_hash"], record.get("branch_name") or ""
    if not (isinstance(label_hash, str) and isinstance(branch, str)):
        raise TypeError("the record's label hash or branch is not a text")
    return label_hash, branch


@contextmanager
def void_rows(target: Target, manifest: Manifest) -> Iterator["Void"]:
    """The label rows whose records later generations made void.

    Raises:
        Unsound: a change feed is missing or damaged.
        CannotFinishNow: the disk is full.
    """
    with scratch("void (label PRIMARY KEY, since) WITHOUT ROWID") as table:
        yield Void(table, target, manifest)


class Void:
    """For each label row that was edited or removed, the last generation that says so. On disk.

    Label rows are known by their hash alone: a listing counts each once, and what a row says of its own
    branch may not be what its listing says.
    """

    def __init__(self, table: sqlite3.Connection, target: Target, manifest: Manifest) -> None:
        self._table = table
        self._last: str | None = None
        self._since = 0
        table.executemany("INSERT OR REPLACE INTO void VALUES (?, ?)", _voided(target, manifest))

    def holds(self, label_row: tuple[str, str], generation: int) -> bool:
        """Whether the records of that label row (hash, branch) that `generation` brought are void."""
        return self.holds_any(label_row[0], generation)

    def holds_any(self, label_hash: str, generation: int) -> bool:
        """Whether the records of the label row that `generation` brought are void."""
        if label_hash != self._last:  # a row's records stand side by side
            found = self._table.execute("SELECT since FROM void WHERE label = ?", (label_hash,))
            self._last, (self._since,) = label_hash, found.fetchone() or (0,)
        return self._since > generation


def _voided(target: Target, manifest: Manifest) -> Iterator[tuple[str, int]]:
    for generation in manifest.generations:
        for change in read_feed(target, manifest, generation.number):
            if change.change in _VOIDS:
                yield change.label_hash, generation.number


def read_feed(target: Target, manifest: Manifest, generation: int) -> Iterator[Change]:
    """Yield what a generation changed; the base changed nothing. Blocking.

    Raises:
        Unsound: its change feed is missing or damaged.
    """
    decode = msgspec.json.Decoder(Change).decode
    folder, entry = folder_of(target, generation), manifest.generation(generation)
    for file in entry.feed if entry else ():
        for line in checked_lines(folder, file):
            try:
                change = decode(line)
            except (ValueError, RecursionError) as error:
                raise Unsound(
                    f"{one_line(folder.name)}: {file.name} is no feed: see harvester verify"
                ) from error
            yield change
