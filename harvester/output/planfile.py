"""The frozen plan: which rows the export is of, in which order, whatever the server says later.

The rows stand in ``plan.ndjson.zst``, one JSON object a line, and the ontology that names what is in
them in ``ontology.json``, as the server sent it. ``plan.json`` is written after both: where it is, the
plan is whole. Its digest covers the rows, the ontology, the selection and the format; all that the target
holds names it.
"""

import hashlib
import io
from collections import deque
from collections.abc import Container, Iterable, Iterator, Set
from contextlib import contextmanager
from itertools import islice
from typing import NamedTuple, cast

import msgspec
import zstandard

from harvester.errors import CannotFinishNow, TargetRefused
from harvester.events import one_line
from harvester.labels.wire import PlanRow, outcome_of
from harvester.output.canonical import digest, indented, parse_object
from harvester.output.layout import (
    COMMITS,
    FORMAT,
    MANIFEST,
    ONTOLOGY,
    PLAN,
    PLAN_ROWS,
    PLAN_ROWS_SETTLED,
    STATE,
    parse_part,
)
from harvester.output.purpose import Project, Purpose, check_purpose, differs
from harvester.output.target import Draft, Target
from harvester.settings import Format, Selection

_LEVEL = 3
_PIECE = 1024**2  # bytes compressed or decompressed at once; the same pieces give the same file


class PlainFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of which there is one in a target. `bytes` is its size, `sha256` is over its content."""

    name: str
    bytes: int
    sha256: str


class PlanHeader(msgspec.Struct, frozen=True, kw_only=True):
    """What ``plan.json`` holds.

    `version` is that of the target's format. `rows` counts the plan's rows, `outcomes` those that are
    never asked for (``unlabelled``, ``filtered``); `rows_sha256` is over the rows' lines, `bytes` the
    size of their compressed file, which is called `rows_file`; `ontology` is the file of the ontology, None
    where it was not at hand. `digest` covers all but the title (projects are renamed), `bytes` and
    `rows_file`; `seal` is the digest of all, and guards the header itself.
    """

    version: int
    project: Project
    selection: Selection
    format: Format
    rows: int
    outcomes: dict[str, int]
    rows_sha256: str
    ontology: PlainFile | None
    bytes: int
    rows_file: str = PLAN_ROWS
    digest: str = ""
    seal: str = ""

    @property
    def parts(self) -> int:
        """How many parts the plan is cut into."""
        return -(-self.rows // self.format.rows_per_part)

    @property
    def purpose(self) -> Purpose:
        """What the target is for."""
        return Purpose(project=self.project, selection=self.selection, format=self.format)


class TakenUp(NamedTuple):
    """What there is of a target's plan.

    `header` is None where the rows must be listed and frozen. They must come out as one of the `known` plans
    then, if there are any, with this `ontology`.
    """

    header: PlanHeader | None
    known: Set[str]
    ontology: bytes | None


def take_up(target: Target, purpose: Purpose, ontology: bytes | None = None) -> TakenUp:
    """The target's plan, if it is there and whole. `ontology` is the project's as it is now.

    A plan that is lost or damaged is to be listed again, and taken if it comes out the same as before; so is
    its ontology. A plan of the same project of which no part is kept yet gives way to one of another
    selection or format. Blocking, flat in memory. Only under the lock.

    Raises:
        TargetRefused: the target is of another export, or its ontology is lost and cannot be had again.
    """
    header = read_header(target)
    if header is not None and _is_free_for(target, header, purpose):
        target.delete(MANIFEST)
        return TakenUp(None, frozenset(), ontology)
    if header is not None:
        check_purpose(target.name, header.purpose, purpose)
        ontology = _mend_ontology(target, header, ontology)
        if intact(target, header):
            _delete_former_rows(target, header)
            return TakenUp(header, {header.digest}, ontology)
        return TakenUp(None, {header.digest}, ontology)
    known = recorded_digests(target)
    if known:
        ontology = target.read(ONTOLOGY) or ontology  # if it is not the lost plan's, that will not be known
    else:
        _check_unclaimed(target)
    return TakenUp(None, known, ontology)


def _is_free_for(target: Target, header: PlanHeader, purpose: Purpose) -> bool:
    """Whether the target is planned for something else of the same project, and nothing of that is kept."""
    held = header.purpose
    if held.project.hash != purpose.project.hash or not differs(held, purpose) or target.names(COMMITS):
        return False
    data = target.read(MANIFEST)
    try:
        return data is None or not msgspec.json.decode(data, type=_Recorded).generations
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False


def freeze(
    target: Target,
    lines: Iterable[bytes],
    purpose: Purpose,
    ontology: bytes | None = None,
    *,
    known: Container[str] = (),
    rows_file: str = PLAN_ROWS,
    header_file: str = PLAN,
) -> PlanHeader:
    """Writes rows, of which `lines` are the JSON in their order, and `ontology` as the target's plan.

    Blocking, flat in memory.

    Raises:
        TargetRefused: `known` digests are given, and the plan has none of them.
    """
    draft = target.create(rows_file)
    try:
        header = _sealed(
            msgspec.structs.replace(
                _write_rows(draft, lines, purpose),
                rows_file=rows_file,
                ontology=describe_ontology(ontology),
            )
        )
        if known and header.digest not in known:
            raise TargetRefused(
                f"{one_line(target.name)}: its plan is lost, and what the server lists now differs from it; "
                "choose another directory"
            )
        draft.commit()
    except BaseException:
        draft.discard()
        raise
    if ontology is not None:
        target.put(ONTOLOGY, ontology)
    target.put(header_file, indented(header))
    return header


def replace_rows(target: Target, header: PlanHeader, lines: Iterable[bytes]) -> PlanHeader:
    """Puts `lines` in the place of the plan's own, at one stroke. Commits of the former plan are void then.

    `lines` may be drawn from the plan as it is. Blocking, flat in memory. Only under the lock.
    """
    # Into another file, as the header is what tells which one counts.
    rows_file = PLAN_ROWS if header.rows_file == PLAN_ROWS_SETTLED else PLAN_ROWS_SETTLED
    replaced = freeze(target, lines, header.purpose, read_ontology(target, header), rows_file=rows_file)
    _delete_former_rows(target, replaced)
    return replaced


def read_header(target: Target, header_file: str = PLAN) -> PlanHeader | None:
    """The header, if it is there, whole, and its seal says so.

    Raises:
        TargetRefused: the plan is of another format than this version reads.
    """
    data = target.read(header_file)
    if data is None:
        return None
    try:
        fields = parse_object(data)
        version = msgspec.convert(fields, _Version).version
        if version != FORMAT:
            which = f"{'a newer' if version > FORMAT else 'an older'} harvester (format {version})"
            raise TargetRefused(f"{one_line(target.name)} is of {which}; choose another directory")
        header = msgspec.convert(fields, PlanHeader)
    except (ValueError, msgspec.ValidationError):
        return None
    return header if header.seal == digest(fields, without=("seal",)) else None


def read_ontology(target: Target, header: PlanHeader) -> bytes | None:
    """The ontology that the plan was frozen with; None where there was none, or it is lost or damaged."""
    frozen = target.read(ONTOLOGY)
    return frozen if frozen is not None and describe_ontology(frozen) == header.ontology else None


def rows(target: Target, header: PlanHeader) -> Iterator[PlanRow]:
    """The rows in their order. Flat in memory.

    Raises:
        CannotFinishNow: the plan turns out damaged; the next export mends it.
    """
    with _damage_named():
        yield from map(msgspec.json.Decoder(PlanRow).decode, _all_lines(target, header))


def lines(target: Target, header: PlanHeader) -> Iterator[bytes]:
    """The JSON of each of the `rows`, likewise."""
    with _damage_named():
        for line in _all_lines(target, header):
            yield line[:-1]


def slices(target: Target, header: PlanHeader, wanted: Container[int]) -> Iterator[tuple[int, list[PlanRow]]]:
    """The rows of each part in `wanted`, in order, in one pass over the plan; one part in memory.

    Raises:
        CannotFinishNow: as `rows` does.
    """
    decode = msgspec.json.Decoder(PlanRow).decode
    all_lines = _all_lines(target, header)
    with _damage_named():
        for part in range(header.parts):
            own = islice(all_lines, header.format.rows_per_part)
            if part in wanted:
                yield part, [decode(line) for line in own]
            else:
                deque(own, maxlen=0)
        deque(all_lines, maxlen=0)


def intact(target: Target, header: PlanHeader) -> bool:
    """Whether the rows are those that the header was written for, byte by byte."""
    if dict(target.names(STATE)).get(header.rows_file) != header.bytes:
        return False
    hashed = hashlib.sha256()
    try:
        for line in _lines(target, header):
            hashed.update(line)
    except (zstandard.ZstdError, OSError, CannotFinishNow):
        return False
    return hashed.hexdigest() == header.rows_sha256


def recorded_digests(target: Target) -> set[str]:
    """The plans that the manifest and the commit records name: one, unless the target is damaged."""
    names = [MANIFEST, *(name for name, _ in target.names(COMMITS))]
    found = set()
    for name in names:
        try:
            found.add(msgspec.json.decode(target.read(name) or b"", type=_Recorded).plan)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
    return found


class _Version(msgspec.Struct):
    version: int


class _Recorded(msgspec.Struct):
    plan: str
    generations: list[msgspec.Raw] = []


def _write_rows(draft: Draft, lines: Iterable[bytes], purpose: Purpose) -> PlanHeader:
    # One thread, a fixed level and fixed pieces, no content size: equal rows give equal bytes.
    compressor = zstandard.ZstdCompressor(
        level=_LEVEL, write_checksum=True, write_content_size=False
    ).compressobj()
    hashed, size, count, outcomes = hashlib.sha256(), 0, 0, dict[str, int]()
    piece = bytearray()

    def drain(data: bytes) -> None:
        nonlocal size
        size += len(data)
        if data:
            draft.write(data)

    for line in lines:
        count += 1
        if outcome := outcome_of(line):
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
        # In JSON a newline stands between tokens only: a space says the same, and keeps one row one line.
        piece += line.replace(b"\n", b" ")
        piece += b"\n"
        if len(piece) >= _PIECE:
            hashed.update(piece)
            drain(compressor.compress(bytes(piece)))
            piece.clear()
    hashed.update(piece)
    drain(compressor.compress(bytes(piece)))
    drain(compressor.flush())
    return PlanHeader(
        version=FORMAT,
        project=purpose.project,
        selection=purpose.selection,
        format=purpose.format,
        rows=count,
        outcomes=dict(sorted(outcomes.items())),
        rows_sha256=hashed.hexdigest(),
        ontology=None,
        bytes=size,
    )


def _sealed(header: PlanHeader) -> PlanHeader:
    fields = msgspec.to_builtins(header)
    covered = {**fields, "project": header.project.hash}
    fields["digest"] = digest(covered, without=("bytes", "rows_file", "digest", "seal"))
    seal = digest(fields, without=("seal",))
    return msgspec.structs.replace(header, digest=fields["digest"], seal=seal)


def describe_ontology(ontology: bytes | None) -> PlainFile | None:
    """The file of this ontology, as headers and manifests list it; None for None."""
    if ontology is None:
        return None
    return PlainFile(name=ONTOLOGY, bytes=len(ontology), sha256=hashlib.sha256(ontology).hexdigest())


def _mend_ontology(target: Target, header: PlanHeader, current: bytes | None) -> bytes | None:
    """The plan's ontology, put back where it is lost and the project still has it."""
    frozen = read_ontology(target, header)
    if frozen is None and current is not None and header.ontology is not None:
        if describe_ontology(current) != header.ontology:
            raise TargetRefused(
                f"{one_line(target.name)}: its {ONTOLOGY} is lost or damaged, and the project's ontology has "
                "changed since; choose another directory"
            )
        target.put(ONTOLOGY, current)
        return current
    return frozen


def _delete_former_rows(target: Target, header: PlanHeader) -> None:
    for name in {PLAN_ROWS, PLAN_ROWS_SETTLED} - {header.rows_file}:
        target.delete(name)


def _lines(target: Target, header: PlanHeader) -> Iterator[bytes]:
    """The rows' lines with their newlines, decompressed as they are asked for."""
    with target.open(header.rows_file) as file:
        reader = zstandard.ZstdDecompressor().stream_reader(file, read_size=_PIECE)
        yield from io.BufferedReader(cast(io.RawIOBase, reader), _PIECE)


def _all_lines(target: Target, header: PlanHeader) -> Iterator[bytes]:
    count = 0
    for line in _lines(target, header):
        count += 1
        yield line
    if count != header.rows:  # zstd takes a file that is cut off for one that ends
        raise CannotFinishNow(f"{PLAN_ROWS} is damaged: {count:,} rows, not {header.rows:,}")


@contextmanager
def _damage_named() -> Iterator[None]:
    try:
        yield
    except (zstandard.ZstdError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CannotFinishNow(f"{PLAN_ROWS} is damaged: {one_line(str(error))}") from error


def _check_unclaimed(target: Target) -> None:
    """Files of ours without any state are somebody else's: they would be deleted or written over.

    Not so the ontology of a run that was killed before it had written the plan's header: the rows are there.
    """
    begun = any(name in (PLAN_ROWS, PLAN_ROWS_SETTLED) for name, _ in target.names(STATE))
    for name, _ in target.names():
        if parse_part(name) or name == MANIFEST or (name == ONTOLOGY and not begun):
            raise TargetRefused(
                f"{one_line(target.name)} holds {name} but no plan that it belongs to; "
                "choose another directory"
            )
