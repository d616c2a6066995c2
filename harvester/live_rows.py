"""The live label rows of an export in plan order, with their lines as they stand in the files.

Plan order is the order that a new export of the last listing would have. The listing of the last sync has it
already. The files of the base are in plan order, too: a row whose place has changed counts as edited, so its
lines there are void. These files are therefore read as streams, side by side with the listing. The records of
syncs are in many files, which must not all be open at once: they are sorted on disk first.

The one exception is an export with ``--settle``: it keeps edited rows at their old positions. Such rows are
sorted on disk, too.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing
from functools import partial
from io import BytesIO
from itertools import chain, groupby, islice, pairwise

import msgspec

from harvester.asked_again import hashes_on_disk
from harvester.errors import CannotFinishNow, Unsound
from harvester.events import one_line
from harvester.labels.wire import PlanRow
from harvester.live import own_manifest, void_rows
from harvester.output import planfile
from harvester.output.commit import PartFile
from harvester.output.generations import folder_of
from harvester.output.lines import checked_lines, checked_pieces, label_hash_reader
from harvester.output.manifest import Manifest
from harvester.output.target import Target
from harvester.plan.order import plan_order, rows_of, sorted_lines
from harvester.plan.sorting import Sorter, sorter

_AT_ONCE = 256  # lines
_CHUNK = 64 * 1024  # bytes of lines that are sorted as one item, or a little more
_LONGEST_CHUNK = 16 * 1024**2  # bytes: a longer line is cut, since SQLite takes at most 1 GB as one value

_Groups = Iterator[tuple[str, Iterator[bytes]]]  # label hash, and the lines of that row


class LiveRow(msgspec.Struct, frozen=True):
    """A harvested label row, and its lines by kind, as they stand in the files: with their newlines.

    `listed` is the row as listed last. A row may have millions of lines: each iterator of `lines` yields them
    as they are read, once, and only until the next row is asked for. A row may also have none.
    """

    listed: PlanRow
    lines: Mapping[str, Iterator[bytes]]

    @property
    def label_hash(self) -> str:
        """The label hash, which no other row of the export has."""
        return self.listed.label_hash or ""

    @property
    def branch_name(self) -> str | None:
        """The branch, as listed."""
        return self.listed.branch_name


def live_rows(
    target: Target,
    manifest: Manifest,
    kinds: Iterable[str],
    *,
    check: Callable[[], object] = lambda: None,
) -> Generator[LiveRow, None, None]:
    """Yield the harvested rows of a finished export, synced or not, in plan order.

    Args:
        target, manifest: as `harvester.live.finished` gives them.
        kinds: the kinds of file to read: those of records, and ``notes``. A kind without files is empty.
            With ``failed``, rows that failed are yielded, too.
        check: called for each row that is sorted; may raise an error, which ends the reading.

    Blocking; memory stays flat. The sha256 of each file is checked once it has been read to its end.

    Raises:
        Unsound: a file is missing or damaged: see `harvester verify`.
        CannotFinishNow: a file cannot be read now, or the temporary directory is full.
    """
    with ExitStack() as stack:
        misplaced = stack.enter_context(hashes_on_disk())
        misplaced.add_all(_misplaced(target, manifest))
        void = stack.enter_context(void_rows(target, manifest)) if manifest.generations else None

        def is_live(label_hash: str, generation: int) -> bool:
            return void is None or not void.holds_any(label_hash, generation)

        streams = [_KindStream(kind, stack.enter_context(sorter())) for kind in dict.fromkeys(kinds)]
        for number in manifest.numbers[1:]:
            folder = folder_of(target, number)
            parts = own_manifest(folder, manifest, number).parts
            _sort_rows(folder, parts, streams, partial(is_live, generation=number), check)
        base = manifest.base.generation
        folder, parts = folder_of(target, base), manifest.parts
        if misplaced:
            _sort_rows(
                folder, parts, streams, lambda label: label in misplaced and is_live(label, base), check
            )
        for stream in streams:
            lines = stack.enter_context(closing(_lines(folder, parts, stream.kind)))
            stream.begin(lines, lambda label: label not in misplaced and is_live(label, base))
        outcomes = {"harvested", *(stream.kind for stream in streams)}  # also "failed", if it is a kind
        for row in _listed(target, manifest, is_sorted=not misplaced):
            if row.outcome in outcomes:
                label_hash = row.label_hash or ""
                yield LiveRow(row, {stream.kind: stream.lines_of(label_hash) for stream in streams})
        for stream in streams:
            if (left := stream.next_label()) is not None:
                raise _damaged(target, f"{stream.kind} of {left} are not where the listing has that row")


def live_pieces(target: Target, manifest: Manifest, kind: str) -> Iterator[list[bytes]]:
    """Yield the lines of one kind of all rows, as `live_rows` does, many at once."""
    if manifest.generations or not is_in_order(target, manifest):
        rows = live_rows(target, manifest, [kind])
        yield from in_pieces(chain.from_iterable(row.lines[kind] for row in rows))
    else:
        folder = folder_of(target, manifest.base.generation)
        for file in manifest.parts:
            if file.kind == kind:
                yield from checked_pieces(folder, file)


def in_pieces(lines: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Divide lines into lists of a few hundred: a label row may have millions."""
    lines = iter(lines)
    while piece := list(islice(lines, _AT_ONCE)):
        yield piece


def is_in_order(target: Target, manifest: Manifest) -> bool:
    """Return whether the files of the base are in plan order. With settled rows they are not. Blocking."""
    return next(_misplaced(target, manifest), None) is None


class _Rows:
    """Iterates over lines grouped by label row, and tells the next row before it is taken."""

    def __init__(self, groups: _Groups) -> None:
        self._groups = groups
        self._next: tuple[str, Iterator[bytes]] | None = None
        self._is_taken = True  # the next group is read when it is asked for: that ends the last one

    def next_label(self) -> str | None:
        """Return the label hash of the next row, None at the end."""
        if self._is_taken:
            self._next, self._is_taken = next(self._groups, None), False
        return self._next[0] if self._next else None

    def lines_of(self, label_hash: str) -> Iterator[bytes] | None:
        """Return the lines of the next row if it is that one."""
        if self.next_label() != label_hash or self._next is None:
            return None
        self._is_taken = True
        return self._next[1]


class _KindStream:
    """The live lines of one kind: those of the base, which are in order, and those that had to be sorted."""

    def __init__(self, kind: str, rows: Sorter) -> None:
        self.kind = kind
        self._sorter = rows
        self._base = self._sorted = _Rows(iter(()))

    def sort(self, row: PlanRow, lines: Iterable[bytes]) -> None:
        """Take in the lines of a row that have to be sorted."""
        label_hash, key = f"{row.label_hash}\n".encode(), plan_order(row)
        for number, chunk in enumerate(_chunks(lines)):
            self._sorter.add((*key, f"{number:012}"), label_hash + chunk)

    def begin(self, base: Iterator[bytes], is_wanted: Callable[[str], bool]) -> None:
        """Begin to read, when all other lines have been sorted: `base` are the lines that are in order."""
        grouped = groupby(base, label_hash_reader(self.kind))
        self._base = _Rows((label, lines) for label, lines in grouped if is_wanted(label))
        self._sorted = _Rows(
            (label, _in_chunks(chunks)) for label, chunks in groupby(self._sorter, _label_of)
        )

    def next_label(self) -> str | None:
        """Return the label hash of a row whose lines have not been asked for, if there is any."""
        return self._base.next_label() or self._sorted.next_label()

    def lines_of(self, label_hash: str) -> Iterator[bytes]:
        """Return the lines of a row. Rows must be asked for in plan order."""
        found = self._base.lines_of(label_hash)
        if found is None:
            found = self._sorted.lines_of(label_hash)
        return iter(()) if found is None else found


def _sort_rows(
    folder: Target,
    parts: Iterable[PartFile],
    streams: Iterable[_KindStream],
    is_wanted: Callable[[str], bool],
    check: Callable[[], object],
) -> None:
    """Give the lines of a generation's rows that are wanted to `streams`. Its files are open meanwhile."""
    with ExitStack() as stack:
        sources = []
        for stream in streams:
            lines = stack.enter_context(closing(_lines(folder, parts, stream.kind)))
            sources.append((stream, _Rows(groupby(lines, label_hash_reader(stream.kind)))))
        for row in _planned(folder):
            check()
            for stream, rows in sources:
                found = rows.lines_of(row.label_hash or "")
                if found is not None and is_wanted(row.label_hash or ""):
                    stream.sort(row, found)
        for stream, rows in sources:
            if (left := rows.next_label()) is not None:
                raise _damaged(folder, f"{stream.kind} of {left} are not where the plan has that row")


def _lines(folder: Target, parts: Iterable[PartFile], kind: str) -> Generator[bytes, None, None]:
    """Yield the lines of one kind in the files of a generation, in their order."""
    for file in parts:
        if file.kind == kind:
            yield from checked_lines(folder, file)


def _listed(target: Target, manifest: Manifest, *, is_sorted: bool) -> Iterator[PlanRow]:
    """Yield the rows listed last in plan order, with their outcomes."""
    folder = folder_of(target, manifest.last)
    listing = own_manifest(folder, manifest, manifest.last).listing
    if listing is None:
        raise _damaged(target, "its listing is lost")
    rows = rows_of(checked_lines(folder, listing))
    try:
        yield from rows if is_sorted or manifest.generations else rows_of(sorted_lines(rows, plan_order))
    except msgspec.DecodeError as error:
        raise _damaged(target, f"{listing.name} holds a line that is no row") from error


def _planned(folder: Target) -> Iterator[PlanRow]:
    """Yield the rows that a generation fetched, in the order of its files."""
    plan = planfile.read_header(folder)
    if plan is None:
        raise _damaged(folder, "its plan is lost")
    try:
        for row in planfile.rows(folder, plan):
            if row.outcome is None:
                yield row
    except CannotFinishNow as error:
        if planfile.intact(folder, plan):
            raise
        raise _damaged(folder, error.message) from error


def _misplaced(target: Target, manifest: Manifest) -> Iterator[str]:
    """Yield the label hashes of the export's own rows that are not in plan order: edited ones, if settled."""
    last = None
    if manifest.base.generation:
        return  # compacted: all are in order
    for row, following in pairwise(chain(_planned(target), [None])):
        assert row is not None
        key, next_key = plan_order(row), plan_order(following) if following else None
        in_order = last is None or last <= key
        if in_order and (next_key is None or key <= next_key or (last is not None and next_key < last)):
            last = key
        else:
            yield row.label_hash or ""


def _chunks(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Join lines into chunks of about `_CHUNK` bytes, and cut longer lines."""
    chunk, size = list[bytes](), 0
    for line in lines:
        for start in range(0, len(line), _LONGEST_CHUNK):
            chunk.append(line[start : start + _LONGEST_CHUNK])
            size += len(chunk[-1])
            if size >= _CHUNK:
                yield b"".join(chunk)
                chunk, size = [], 0
    if chunk:
        yield b"".join(chunk)


def _label_of(item: bytes) -> str:
    return item[: item.index(b"\n")].decode()


def _in_chunks(items: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines in sorted items, which may be cut anywhere."""
    begun = list[bytes]()
    for item in items:
        chunk = BytesIO(item)
        chunk.readline()  # the label hash
        for line in chunk:
            begun.append(line)
            if line.endswith(b"\n"):
                yield b"".join(begun)
                begun.clear()


def _damaged(target: Target, what: str) -> Unsound:
    return Unsound(one_line(f"{target.name} is damaged: {what}: see harvester verify"))
