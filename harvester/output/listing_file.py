"""``listing.ndjson.zst``: every label row as it was listed last, with what became of it.

It follows from the frozen listing and the failed rows, so it can always be made again. A line is the
beginning of the frozen row's own JSON and the outcome; see `harvester.labels.wire.PlanRow`.
"""

import hashlib
from collections.abc import Iterable, Iterator
from itertools import zip_longest

import msgspec

from harvester.errors import CannotFinishNow, Unsound
from harvester.labels.wire import PlanRow, before_outcome, outcome_of
from harvester.output import planfile
from harvester.output.commit import PartFile
from harvester.output.compression import compressor
from harvester.output.generations import folder_of
from harvester.output.layout import FAILED, LISTED, LISTED_ROWS, LISTING
from harvester.output.lines import read_lines
from harvester.output.manifest import (
    OUTCOMES,
    ListingFile,
    Manifest,
    read_manifest,
    with_listing,
    write_manifest,
)
from harvester.output.planfile import PlanHeader
from harvester.output.repair import sound_file
from harvester.output.target import Target
from harvester.plan.order import Order, label_order, plan_order
from harvester.plan.sorting import sorter

_PIECE = 1024**2  # bytes compressed at once; the same pieces give the same file

_ENDS = {outcome: b',"outcome":"%b"}\n' % outcome.encode() for outcome in OUTCOMES}
_HARVESTED, _FAILED = _ENDS["harvested"], _ENDS["failed"]


class _FailedRow(msgspec.Struct):
    label_hash: str


def order_of(header: PlanHeader) -> Order:
    """What the rows are sorted by: those of a generation's listing are in another order than a plan's."""
    return label_order if header.rows_file == LISTED_ROWS else plan_order


def in_plan_order(folder: Target, frozen: PlanHeader) -> Iterator[bytes]:
    """The JSON of frozen rows, in the order of a plan. Blocking, flat in memory."""
    if order_of(frozen) is plan_order:
        yield from planfile.lines(folder, frozen)
        return
    read = msgspec.json.Decoder(PlanRow).decode
    with sorter() as by_order:
        for line in planfile.lines(folder, frozen):
            by_order.add(plan_order(read(line)), line)
        yield from by_order


def write_listing(target: Target, rows: Iterable[bytes], files: Iterable[PartFile]) -> ListingFile:
    """Writes the listing of `rows`, frozen rows' JSON in the order of the plan. `files` as `listing_lines`.

    Blocking, flat in memory. The same lines give the same bytes.
    """
    draft, compressing = target.create(LISTING), compressor("zstd")
    hashed, size, count, piece = hashlib.sha256(), 0, 0, bytearray()

    def keep(data: bytes) -> None:
        nonlocal size
        if data:
            size += len(data)
            hashed.update(data)
            draft.write(data)

    try:
        for line in listing_lines(target, rows, files):
            count += 1
            piece += line
            if len(piece) >= _PIECE:
                keep(compressing.compress(bytes(piece)))
                piece.clear()
        keep(compressing.compress(bytes(piece)))
        keep(compressing.flush())
        draft.commit()
    except BaseException:
        draft.discard()
        raise
    return ListingFile(name=LISTING, rows=count, bytes=size, sha256=hashed.hexdigest())


def listing_lines(target: Target, rows: Iterable[bytes], files: Iterable[PartFile]) -> Iterator[bytes]:
    """The lines of a listing. `files` are those of the parts, in their order; failed rows are read from them.

    Raises:
        Unsound: a failed row is not among `rows`, which have the order of the parts.
    """
    failed = _beginnings(target, files)
    next_failed = next(failed, None)
    for row in rows:
        end = before_outcome(row)
        if outcome := outcome_of(row):
            yield row[:end] + _ENDS[outcome]
        elif next_failed is not None and row.startswith(next_failed):
            next_failed = next(failed, None)
            yield row[:end] + _FAILED
        else:
            yield row[:end] + _HARVESTED
    if next_failed is not None:
        raise Unsound("a row that failed is not among those that were listed")


def _beginnings(target: Target, files: Iterable[PartFile]) -> Iterator[bytes]:
    """What the JSON of each failed row begins with."""
    read = msgspec.json.Decoder(_FailedRow).decode
    for file in files:
        if file.kind == FAILED:
            for line in read_lines(target, file.name):
                yield b'{"label_hash":%b,' % msgspec.json.encode(read(line).label_hash)


def is_sound(target: Target, file: ListingFile | None) -> bool:
    """Whether the listing is there, byte by byte as it was written."""
    return file is not None and file.name == LISTING and sound_file(target, file)


def mend_listing(target: Target, manifest: Manifest, frozen: PlanHeader | None) -> Manifest:
    """The manifest, with the listing written anew if it is lost or damaged.

    `frozen` says what it is of, None if that is gone: then there is nothing that could be mended.
    """
    file = manifest.listing
    if frozen is None or (file and file.rows == frozen.rows and is_sound(target, file)):
        return manifest
    if not planfile.intact(target, frozen):
        return manifest
    listing = write_listing(target, in_plan_order(target, frozen), manifest.parts)
    if listing != file:
        manifest = with_listing(manifest, listing)
        write_manifest(target, manifest)
    return manifest


def mend_listings(target: Target, manifest: Manifest) -> Manifest:
    """As `mend_listing`, of an export and of its last sync."""
    manifest = mend_listing(target, manifest, planfile.read_header(target))
    if manifest.generations:
        folder = folder_of(target, len(manifest.generations))
        if own := read_manifest(folder):
            mend_listing(folder, own, planfile.read_header(folder, LISTED))
    return manifest


def differs(
    target: Target, file: ListingFile, rows: Iterable[bytes], files: Iterable[PartFile]
) -> str | None:
    """In what a sound listing is not what follows from `rows` and the failed rows; None if in nothing."""
    try:
        pairs = zip_longest(read_lines(target, file.name), listing_lines(target, rows, files))
        count = 0
        for count, (line, expected) in enumerate(pairs, 1):
            if line != expected:
                return f"line {count:,} is not what the plan and the failed rows say"
    except (Unsound, CannotFinishNow) as error:
        return error.message
    return None if count == file.rows else f"{count:,} rows, not {file.rows:,}"
