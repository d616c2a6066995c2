"""The frozen plan: the rows of the export and their order. Later changes on the server do not affect it.

The rows are in ``plan.ndjson.zst``, one JSON object per line, and the project's ontology is in
``ontology.json``, as the server sent it. ``plan.json`` is the header. It is written last: if it exists, the
plan is complete. The digest of a plan covers its rows, ontology, selection and format. Commit records and the
manifest name the digest of the plan that they belong to.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Set
from contextlib import contextmanager
from itertools import islice
from typing import NamedTuple

import msgspec
import zstandard

from harvester.errors import CannotFinishNow, TargetRefused
from harvester.events import one_line
from harvester.labels.wire import PlanRow, split_outcome
from harvester.output.canonical import convert, digest, indented, parse_object
from harvester.output.compression import DAMAGE, decompressed
from harvester.output.export_spec import ExportSpec, Project, check_spec, check_unclaimed, differs
from harvester.output.layout import (
    COMMITS,
    FORMAT,
    LISTED_ROWS,
    MANIFEST,
    ONTOLOGY,
    PLAN,
    PLAN_ROWS,
    PLAN_ROWS_SETTLED,
    STATE,
)
from harvester.output.target import Target
from harvester.schema import Count
from harvester.settings import Format, Selection

_LEVEL = 3
_PIECE = 1024**2  # bytes compressed or decompressed at once; constant, so that equal rows give equal files


class PlainFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that is not part of a part, such as the ontology. `bytes` is its size."""

    name: str
    bytes: Count
    sha256: str


class PlanHeader(msgspec.Struct, frozen=True, kw_only=True):
    """The content of ``plan.json``.

    `version` is that of the file formats. `rows` is the number of rows in the plan, `outcomes` counts those
    that are not fetched (``unlabelled``, ``filtered``). `rows_file` is the name of the compressed file with
    the rows, `bytes` its size, and `rows_sha256` is over the uncompressed lines. `ontology` is the file of
    the ontology, None if it was not available. `digest` identifies the plan: it covers all fields except
    `bytes`, `rows_file` and the project's title, since projects are renamed. `seal` is a checksum of the
    whole header.
    """

    version: int
    project: Project
    selection: Selection
    format: Format
    rows: Count
    outcomes: dict[str, Count]
    rows_sha256: str
    ontology: PlainFile | None
    bytes: Count
    rows_file: str = PLAN_ROWS
    digest: str = ""
    seal: str = ""

    def __post_init__(self) -> None:
        if self.rows_file not in (PLAN_ROWS, PLAN_ROWS_SETTLED, LISTED_ROWS):
            raise ValueError(f"{self.rows_file!r} is not the name of a file with rows")

    @property
    def parts(self) -> int:
        """The number of parts in the plan."""
        return -(-self.rows // self.format.rows_per_part)

    @property
    def spec(self) -> ExportSpec:
        """The project, selection and format of the plan."""
        return ExportSpec(project=self.project, selection=self.selection, format=self.format)


class TakenUp(NamedTuple):
    """What exists of a target's plan."""

    header: PlanHeader | None  # None: the rows must be listed and frozen,
    known: Set[str]  # as one of these plans, if there are any,
    ontology: bytes | None  # and with this ontology


def take_up(target: Target, spec: ExportSpec, ontology: bytes | None = None) -> TakenUp:
    """Return the target's plan, if it exists and is complete. `ontology` is the project's current one.

    If the plan or its ontology is lost or damaged, it is made again, and accepted if its digest is the one
    that the target's other files name. A plan with another selection or format is replaced if it is of the
    same project and none of its parts exists yet. Blocking, in constant memory. Only under the lock.

    Raises:
        TargetRefused: the target holds another export, or its ontology is lost and cannot be made again.
    """
    header = read_header(target)
    known = {header.digest} if header else recorded_digests(target)
    if header is not None and is_free_for(target, header, spec):
        target.delete(MANIFEST)
        known = set()
    elif header is not None:
        check_spec(target.name, header.spec, spec)
        ontology = _mend_ontology(target, header, ontology)
        if intact(target, header):
            _delete_former_rows(target, header)
            return TakenUp(header, known, ontology)
    elif known:
        ontology = target.read(ONTOLOGY) or ontology  # if it is not the lost plan's, that will not be known
    else:
        check_unclaimed(target)
    return TakenUp(None, known, ontology)


def is_free_for(target: Target, header: PlanHeader, spec: ExportSpec) -> bool:
    """Return whether the target's plan has another `spec` for the same project, and no part exists yet."""
    held = header.spec
    if held.project.hash != spec.project.hash or not differs(held, spec) or target.names(COMMITS):
        return False
    data = target.read(MANIFEST)
    try:
        recorded = msgspec.json.decode(data, type=_Recorded) if data is not None else None
        return recorded is None or not (recorded.generations or recorded.base.generation)
    except (ValueError, RecursionError):
        return False


def freeze(
    target: Target,
    lines: Iterable[bytes],
    spec: ExportSpec,
    ontology: bytes | None = None,
    *,
    known: Container[str] = (),
    rows_file: str = PLAN_ROWS,
    header_file: str = PLAN,
) -> PlanHeader:
    """Write the target's plan: `lines`, the JSON of its rows in plan order, and `ontology`.

    Blocking, in constant memory.

    Raises:
        TargetRefused: digests are given in `known`, and the digest of the plan is not one of them.
    """
    draft = target.create(rows_file)
    try:
        header = _write_rows(draft.write, lines, spec, ontology, rows_file)
        if known and header.digest not in known:
            raise TargetRefused(
                f"{one_line(target.name)}: its plan is lost, and what the server lists now differs from it; "
                "a new export is needed: choose another directory"
            )
        draft.commit()
    except BaseException:
        draft.discard()
        raise
    if ontology is not None:
        target.put(ONTOLOGY, ontology)
    target.put(header_file, indented(header))
    return header


def describe_rows(
    lines: Iterable[bytes], spec: ExportSpec, ontology: bytes | None = None, *, rows_file: str = PLAN_ROWS
) -> PlanHeader:
    """Return the header that `freeze` would write for these lines. Writes nothing. Blocking."""
    return _write_rows(lambda data: None, lines, spec, ontology, rows_file)


def replace_rows(target: Target, header: PlanHeader, lines: Iterable[bytes]) -> PlanHeader:
    """Replace the rows of the plan by `lines`, atomically. Commit records of the old plan become invalid.

    `lines` may be a generator that reads the old plan. Blocking, in constant memory. Only under the lock.
    """
    # The new rows go to the other of two files: writing the header then switches to them atomically.
    rows_file = PLAN_ROWS if header.rows_file == PLAN_ROWS_SETTLED else PLAN_ROWS_SETTLED
    replaced = freeze(target, lines, header.spec, read_ontology(target, header), rows_file=rows_file)
    _delete_former_rows(target, replaced)
    return replaced


def read_header(target: Target, header_file: str = PLAN) -> PlanHeader | None:
    """Return the header of the plan, or None if it is missing or damaged.

    Raises:
        TargetRefused: this version of harvester does not read the format of the target.
    """
    data = target.read(header_file)
    if data is None:
        return None
    try:
        fields = parse_object(data)
        version = convert(fields, _Version).version
        if version != FORMAT:
            which = f"{'a newer' if version > FORMAT else 'an older'} harvester (format {version})"
            raise TargetRefused(f"{one_line(target.name)} is of {which}; choose another directory")
        header = convert(fields, PlanHeader)
    except ValueError:
        return None
    return header if header.seal == digest(fields, without=("seal",)) else None


def read_ontology(target: Target, header: PlanHeader) -> bytes | None:
    """Return the ontology of the plan, or None if there is none, or it is lost or damaged."""
    frozen = target.read(ONTOLOGY)
    return frozen if frozen is not None and describe_ontology(frozen) == header.ontology else None


def rows(target: Target, header: PlanHeader) -> Iterator[PlanRow]:
    """Yield the rows of the plan in order. Needs constant memory.

    Raises:
        CannotFinishNow: the plan is damaged. The next export repairs it.
    """
    with _damage_named():
        yield from map(msgspec.json.Decoder(PlanRow).decode, _all_lines(target, header))


def lines(target: Target, header: PlanHeader) -> Iterator[bytes]:
    """Yield the JSON of each row, as `rows` does."""
    with _damage_named():
        for line in _all_lines(target, header):
            yield line[:-1]


def slices(target: Target, header: PlanHeader, wanted: Container[int]) -> Iterator[tuple[int, list[PlanRow]]]:
    """Yield the rows of each part in `wanted`, in order. Reads the plan once; holds one part in memory.

    Raises:
        CannotFinishNow: as `rows` does.
    """
    decode = msgspec.json.Decoder(PlanRow).decode
    all_lines = _all_lines(target, header)
    with _damage_named():
        for part in range(header.parts):
            own = list(islice(all_lines, header.format.rows_per_part))
            if not own:
                break  # the plan has fewer rows than its header says
            if part in wanted:
                yield part, [decode(line) for line in own]
        deque(all_lines, maxlen=0)


def intact(target: Target, header: PlanHeader) -> bool:
    """Return whether the rows in the file are those that the header describes."""
    if dict(target.names(STATE)).get(header.rows_file) != header.bytes:
        return False
    hashed, count = hashlib.sha256(), 0
    try:
        for line in _lines(target, header):
            hashed.update(line)
            count += 1
    except (*DAMAGE, OSError, CannotFinishNow):
        return False
    return hashed.hexdigest() == header.rows_sha256 and count == header.rows


def recorded_digests(target: Target) -> set[str]:
    """Return the plan digests in the manifest and the commit records: at most one, if nothing is damaged."""
    names = [MANIFEST, *(name for name, _ in target.names(COMMITS))]
    found = set()
    for name in names:
        try:
            found.add(msgspec.json.decode(target.read(name) or b"", type=_Recorded).plan)
        except (ValueError, RecursionError):
            continue
    return found


class _Version(msgspec.Struct):
    version: int


class _RecordedBase(msgspec.Struct, frozen=True):
    generation: int = 0


class _Recorded(msgspec.Struct):
    plan: str
    generations: list[msgspec.Raw] = []
    base: _RecordedBase = _RecordedBase()


def _write_rows(
    write: Callable[[bytes], object],
    lines: Iterable[bytes],
    spec: ExportSpec,
    ontology: bytes | None,
    rows_file: str,
) -> PlanHeader:
    # One thread, a fixed level, pieces of fixed size and no content size: equal rows give equal bytes.
    compressor = zstandard.ZstdCompressor(
        level=_LEVEL, write_checksum=True, write_content_size=False
    ).compressobj()
    hashed, size, count, outcomes = hashlib.sha256(), 0, 0, dict[str, int]()
    piece = bytearray()

    def drain(data: bytes) -> None:
        nonlocal size
        size += len(data)
        if data:
            write(data)

    for line in lines:
        count += 1
        _, outcome = split_outcome(line)
        if outcome:
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
        # In JSON a raw newline can only be between tokens. As a space it keeps each row on one line.
        piece += line.replace(b"\n", b" ")
        piece += b"\n"
        if len(piece) >= _PIECE:
            hashed.update(piece)
            drain(compressor.compress(bytes(piece)))
            piece.clear()
    hashed.update(piece)
    drain(compressor.compress(bytes(piece)))
    drain(compressor.flush())
    header = PlanHeader(
        version=FORMAT,
        project=spec.project,
        selection=spec.selection,
        format=spec.format,
        rows=count,
        outcomes=dict(sorted(outcomes.items())),
        rows_sha256=hashed.hexdigest(),
        ontology=describe_ontology(ontology),
        bytes=size,
        rows_file=rows_file,
    )
    return _sealed(header)


def _sealed(header: PlanHeader) -> PlanHeader:
    fields = msgspec.to_builtins(header)
    covered = {**fields, "project": header.project.hash}
    fields["digest"] = digest(covered, without=("bytes", "rows_file", "digest", "seal"))
    seal = digest(fields, without=("seal",))
    return msgspec.structs.replace(header, digest=fields["digest"], seal=seal)


def describe_ontology(ontology: bytes | None) -> PlainFile | None:
    """Return the description of the ontology's file for headers and manifests; None for None."""
    if ontology is None:
        return None
    return PlainFile(name=ONTOLOGY, bytes=len(ontology), sha256=hashlib.sha256(ontology).hexdigest())


def _mend_ontology(target: Target, header: PlanHeader, current: bytes | None) -> bytes | None:
    """Return the plan's ontology. If it is lost and the project still has the same one, write it again."""
    frozen = read_ontology(target, header)
    if frozen is None and current is not None and header.ontology is not None:
        if describe_ontology(current) != header.ontology:
            raise TargetRefused(
                f"{one_line(target.name)}: its {ONTOLOGY} is lost or damaged, and the project's ontology has "
                "changed since; a new export is needed: choose another directory"
            )
        target.put(ONTOLOGY, current)
        return current
    return frozen


def _delete_former_rows(target: Target, header: PlanHeader) -> None:
    for name in {PLAN_ROWS, PLAN_ROWS_SETTLED} - {header.rows_file}:
        target.delete(name)


def _lines(target: Target, header: PlanHeader) -> Iterator[bytes]:
    """Yield the lines of the rows, with newlines, decompressing as they are consumed."""
    with target.open(header.rows_file) as file:
        yield from decompressed(file, header.rows_file)


def _all_lines(target: Target, header: PlanHeader) -> Iterator[bytes]:
    count = 0
    for line in _lines(target, header):
        count += 1
        yield line
    if count != header.rows:  # zstandard does not report a truncated file
        raise CannotFinishNow(f"{PLAN_ROWS} is damaged: {count:,} rows, not {header.rows:,}")


@contextmanager
def _damage_named() -> Iterator[None]:
    try:
        yield
    except (*DAMAGE, ValueError, RecursionError) as error:
        raise CannotFinishNow(f"{PLAN_ROWS} is damaged: {one_line(str(error))}") from error
