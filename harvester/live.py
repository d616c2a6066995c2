"""The live records of an export that is kept fresh: those that a new export would have."""

import json
import sqlite3
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from harvester.errors import BadInput, Unsound
from harvester.events import one_line
from harvester.output.generations import folder_of
from harvester.output.layout import FAILED, NOTES
from harvester.output.lines import read_as, read_lines
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
    """Yield all lines of a generation's files of these kinds, void ones too, each with its kind."""
    folder = folder_of(target, generation)
    for file in own_manifest(folder, manifest, generation).parts:
        if file.kind in kinds:
            for line in read_lines(folder, file.name):
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


def _label_row(record: dict[str, Any]) -> tuple[str, str]:
    """Label hash and branch of the row that a record is of."""
    if record["kind"] == "row":
        record = (record["metadata"] or {}) | {key: value for key, value in record["row"].items() if value}
    label_hash, branch = record["label_hash"], record.get("branch_name") or ""
    if not (isinstance(label_hash, str) and isinstance(branch, str)):
        raise TypeError("the record's label hash or branch is not a text")
    return label_hash, branch


def label_hash_reader(kind: str) -> Callable[[bytes], str]:
    """Return a function that reads the label hash in a line of a file of this kind.

    It is fast for consecutive lines of the same row: all but the first are recognised by their beginning.

    The function raises Unsound if the line is no record.
    """
    start = _STARTS.get(kind)
    last, beginning = "", b"\n"  # no line begins with it

    def label_hash(line: bytes) -> str:
        nonlocal last, beginning
        if line.startswith(beginning):
            return last
        try:
            last = _label_hash_in(line, kind)
        except (ValueError, TypeError, RecursionError) as error:
            raise Unsound(f"a line of {kind} is no record: see harvester verify") from error
        found = b"%b%b," % (start, msgspec.json.encode(last)) if start else b""
        beginning = found if found and line.startswith(found) else b"\n"
        return last

    return label_hash


class _Labelled(msgspec.Struct):
    label_hash: str | None = None


class _RowOfKind(msgspec.Struct):
    row: _Labelled
    metadata: _Labelled | None = None


# What lines begin with, before the label hash. Lines of rows have it anywhere.
_STARTS = dict[str, bytes](
    {kind: b'{"kind":"%b","label_hash":' % kind[:-1].encode() for kind in KINDS if kind != "rows"}
)
_STARTS |= {FAILED: b'{"label_hash":', NOTES: b'{"label_hash":'}
_decode_labelled = msgspec.json.Decoder(_Labelled).decode
_decode_row = msgspec.json.Decoder(_RowOfKind).decode


def _label_hash_in(line: bytes, kind: str) -> str:
    if kind == "rows":
        record = _decode_row(line)
        found = record.row.label_hash or (record.metadata.label_hash if record.metadata else None)
    else:
        found = _decode_labelled(line).label_hash
    if found is None:
        raise ValueError("it names no label row")
    return found


@contextmanager
def void_rows(target: Target, manifest: Manifest) -> Iterator["Void"]:
    """The label rows whose records later generations made void. Raises CannotFinishNow on a full disk."""
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
        folder = folder_of(target, generation.number)
        for file in generation.feed:
            for change in read_as(folder, file.name, Change):
                if change.change in _VOIDS:
                    yield change.label_hash, generation.number
