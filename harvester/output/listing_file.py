"""``listing.ndjson.zst``: every label row as it was last listed, with its outcome.

The file is derived from the frozen listing and the failed rows, so it can always be written again. A line is
the frozen row's JSON up to the outcome (see `harvester.labels.wire.PlanRow`), followed by the outcome.
"""

import hashlib
from collections.abc import Iterable, Iterator
from itertools import zip_longest

import msgspec

from harvester.errors import CannotFinishNow, Unsound
from harvester.labels.wire import PlanRow, split_outcome
from harvester.output import planfile
from harvester.output.commit import PartFile
from harvester.output.compression import compressor
from harvester.output.generations import folder_of
from harvester.output.layout import FAILED, LISTED, LISTED_ROWS, LISTING
from harvester.output.lines import FailedLabel, read_as, read_lines
from harvester.output.manifest import (
    ListingFile,
    Manifest,
    named_manifest,
    with_generations,
    with_listing,
    write_manifest,
)
from harvester.output.planfile import PlanHeader
from harvester.output.repair import sound_file
from harvester.output.target import Target
from harvester.plan.order import Order, label_order, plan_order
from harvester.plan.sorting import sorter
from harvester.schema import OUTCOMES

_PIECE = 1024**2  # bytes compressed at once; constant, so that equal lines give equal files

_ENDS = {outcome: b',"outcome":"%b"}\n' % outcome.encode() for outcome in OUTCOMES}
_HARVESTED, _FAILED = _ENDS["harvested"], _ENDS["failed"]


def order_of(header: PlanHeader) -> Order:
    """Return the order of a rows of a frozen plan, or of a generation's frozen listing: another one."""
    return label_order if header.rows_file == LISTED_ROWS else plan_order


def in_plan_order(folder: Target, frozen: PlanHeader) -> Iterator[bytes]:
    """Yield the JSON of frozen rows in plan order. Blocking, in constant memory."""
    if order_of(frozen) is plan_order:
        yield from planfile.lines(folder, frozen)
        return
    yield from sorted_as_planned(folder, frozen)


def sorted_as_planned(folder: Target, frozen: PlanHeader) -> Iterator[bytes]:
    """Do as `in_plan_order` does, also for a plan with settled rows, which stand at their old positions."""
    read = msgspec.json.Decoder(PlanRow).decode
    with sorter() as by_order:
        for line in planfile.lines(folder, frozen):
            by_order.add(plan_order(read(line)), line)
        yield from by_order


def write_listing(target: Target, rows: Iterable[bytes], files: Iterable[PartFile]) -> ListingFile:
    """Write the listing of `rows`, the JSON of frozen rows in plan order. `files` is as in `listing_lines`.

    Blocking, in constant memory. Equal lines give equal bytes.
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
    """Yield the lines of a listing. The failed rows are read from `files`, the files of the parts in order.

    Raises:
        Unsound: a failed row is not among `rows`, or is not in the same order.
    """
    failed = _beginnings(target, files)
    next_failed = next(failed, None)
    for row in rows:
        start, outcome = split_outcome(row)
        if outcome:
            yield start + _ENDS[outcome]
        elif next_failed is not None and row.startswith(next_failed):
            next_failed = next(failed, None)
            yield start + _FAILED
        else:
            yield start + _HARVESTED
    if next_failed is not None:
        raise Unsound("a row that failed is not among those that were listed")


def _beginnings(target: Target, files: Iterable[PartFile]) -> Iterator[bytes]:
    """Yield the first bytes of the plan's JSON of each failed row, which contain its label hash."""
    for file in files:
        if file.kind == FAILED:
            for row in read_as(target, file.name, FailedLabel):
                yield b'{"label_hash":%b,' % msgspec.json.encode(row.label_hash)


def is_sound(target: Target, file: ListingFile | None) -> bool:
    """Return whether the file of the listing exists and has the recorded bytes."""
    return file is not None and file.name == LISTING and sound_file(target, file)


def mend_listing(target: Target, manifest: Manifest, frozen: PlanHeader | None) -> Manifest:
    """Write the listing again if it is lost or damaged, and return the manifest that names it.

    `frozen` is the header of the frozen listing it is derived from. If that is None or damaged, the listing
    cannot be written again, and the manifest is returned unchanged.
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
    """Do as `mend_listing` does for the base and the last generation. Return the export's manifest."""
    folder = folder_of(target, manifest.base.generation)
    own = manifest if folder is target else named_manifest(folder)
    if own is not None:
        own = mend_listing(folder, own, planfile.read_header(folder))
        if own.listing != manifest.listing:
            manifest = with_generations(own, manifest.generations)
            write_manifest(target, manifest)
    if manifest.generations:
        folder = folder_of(target, manifest.last)
        if own := named_manifest(folder):
            mend_listing(folder, own, planfile.read_header(folder, LISTED))
    return manifest


def differs(
    target: Target, file: ListingFile, rows: Iterable[bytes], files: Iterable[PartFile]
) -> str | None:
    """Return how an undamaged listing differs from the one that `rows` and `files` give, or None."""
    try:
        pairs = zip_longest(read_lines(target, file.name), listing_lines(target, rows, files))
        count = 0
        for count, (line, expected) in enumerate(pairs, 1):
            if line != expected:
                return f"line {count:,} is not what the plan and the failed rows say"
    except (Unsound, CannotFinishNow) as error:
        return error.message
    return None if count == file.rows else f"{count:,} rows, not {file.rows:,}"
