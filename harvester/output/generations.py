"""The generations of an export: what syncs have brought since it ended.

A generation is a folder like an export's own, of the rows that are added or edited, together with a
change feed and the frozen listing that it brings the export up to. It counts once the export's manifest
names it. Nothing written before is touched: a record of an earlier generation is void where a later
feed says that its label row was edited or removed.
"""

from collections.abc import Generator, Iterable, Iterator

import msgspec

from harvester.errors import Unsound
from harvester.output.canonical import digest, indented, parse_object
from harvester.output.commit import PartFile
from harvester.output.layout import (
    CHANGED,
    CHANGES,
    COMMITS,
    FAILED,
    LISTED,
    LISTED_ROWS,
    LISTING,
    MANIFEST,
    STATE,
    generation_folder,
    is_own,
)
from harvester.output.lines import read_lines
from harvester.output.manifest import Generation, Manifest, read_manifest
from harvester.output.ndjson import PartWriter
from harvester.output.planfile import PlanHeader, intact, read_header
from harvester.output.target import Target
from harvester.plan.changes import WHATS, Change, OntologyChange, SyncOptions
from harvester.plan.sorting import sorter
from harvester.settings import Compression


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """What a generation changes: known before any of its rows is asked for.

    `rows` counts the listing: ``listed``, and of these ``unlabelled`` and ``filtered``. `listing` is the
    digest of the frozen listing, `relisted` says whether anything in it is not as it was, be it of a row
    whose records stay as they are. `options` are what the sync was asked to do, `ontology` how the ontology
    has changed for the live records, None where it has not; `kept_names` as in `Generation`. `digest` guards
    the record itself.
    """

    generation: int
    listing: str
    relisted: bool
    rows: dict[str, int]
    changes: dict[str, int]
    feed: list[PartFile]
    options: SyncOptions
    ontology: OntologyChange | None
    kept_names: bool
    digest: str = ""


class _FailedRow(msgspec.Struct):
    label_hash: str


class FeedWriter:
    """Writes a generation's change feed, ``changes-00000.ndjson``; it has no file where nothing changed."""

    def __init__(self, target: Target, compression: Compression | None) -> None:
        self._writer = PartWriter(target, 0, compression)
        self._changes: dict[str, int] = dict.fromkeys(WHATS, 0)

    def write(self, changes: Iterable[Change]) -> None:
        """Takes in the changes of one row."""
        for change in changes:
            self._changes[change.change] += 1
            self._writer.write(CHANGES, [msgspec.json.encode(change) + b"\n"], 1, 1)

    def close(self) -> tuple[dict[str, int], list[PartFile]]:
        """Makes the feed durable: its lines by what they tell, and its file."""
        return self._changes, self._writer.close()

    def discard(self) -> None:
        """Drops what is not durable yet. Never raises."""
        self._writer.discard()


def folder_of(target: Target, number: int) -> Target:
    """Generation `number` as a place of its own; 0 is the export itself."""
    return target.within(generation_folder(number)) if number else target


def write_changed(folder: Target, changed: Changed) -> None:
    """Records what the generation changes. The feed must be durable already."""
    fields = msgspec.to_builtins(changed)
    fields["digest"] = digest(fields, without=("digest",))
    folder.put(CHANGED, indented(fields))


def read_changed(folder: Target) -> Changed | None:
    """The record, if it is there, whole, and its own digest says so."""
    try:
        fields = parse_object(folder.read(CHANGED) or b"")
        changed = msgspec.convert(fields, Changed)
    except (ValueError, msgspec.ValidationError):
        return None
    return changed if changed.digest == digest(fields, without=("digest",)) else None


def feed_is_there(folder: Target, changed: Changed) -> bool:
    """Whether the generation's feed is there in its full size."""
    sizes = dict(folder.names())
    return all(sizes.get(file.name) == file.bytes for file in changed.feed)


def read_failed(folder: Target) -> Generator[str, None, None]:
    """The label hashes of the rows that could not be had when the generation was harvested, sorted."""
    manifest = read_manifest(folder)
    with sorter() as failed:
        for file in manifest.parts if manifest else ():
            if file.kind == FAILED:
                for line in read_lines(folder, file.name):
                    label_hash = msgspec.json.decode(line, type=_FailedRow).label_hash
                    failed.add([label_hash], label_hash.encode())
        for item in failed:
            yield item.decode()


def read_listing(folder: Target) -> PlanHeader | None:
    """The header of the generation's frozen listing, if that is there and whole."""
    header = read_header(folder, LISTED)
    return header if header and intact(folder, header) else None


def last_listing(target: Target) -> tuple[Target, PlanHeader | None]:
    """What was listed last: the plan of an export that was never synced. And the folder that it is in."""
    manifest = read_manifest(target)
    folder = folder_of(target, len(manifest.generations) if manifest else 0)
    return folder, read_header(target) if folder is target else read_listing(folder)


def drop_listing(target: Target, number: int) -> None:
    """Deletes the listing of a generation that others have followed, as frozen and as written with outcomes:
    only the last one is needed."""
    folder = folder_of(target, number)
    folder.delete(LISTED)
    folder.delete(LISTED_ROWS)
    folder.delete(LISTING)


def drop_generation(folder: Target) -> None:
    """Deletes a generation that no manifest names. The listing goes first: without it, it has not begun."""
    folder.delete(LISTED)
    _delete_own(folder)


def drop_export(target: Target) -> None:
    """Deletes an export with its generations; files that are not its own stay. Only under the lock."""
    target.delete(MANIFEST)
    number = 1
    while _delete_own(folder_of(target, number)):
        number += 1
    _delete_own(target)


def _delete_own(folder: Target) -> int:
    """Deletes what `harvester.output.layout` names, nothing else. How many files that were."""
    found = [*folder.names(), *folder.names(STATE), *folder.names(COMMITS)]
    own = [name for name, _ in found if is_own(name)]
    for name in own:
        folder.delete(name)
    return len(own)


def describe(changed: Changed, manifest: Manifest) -> Generation:
    """The generation as the export's manifest has it. `manifest` is the generation's own one.

    Rows that failed before are asked for in each generation, so those that failed in this one are all.
    """
    rows, failed = changed.rows, manifest.counts["failed"]
    harvested = rows["listed"] - rows["unlabelled"] - rows["filtered"] - failed
    return Generation(
        number=changed.generation,
        counts={
            "listed": rows["listed"],
            "harvested": harvested,
            "unlabelled": rows["unlabelled"],
            "filtered": rows["filtered"],
            "failed": failed,
        },
        changes=changed.changes,
        feed=changed.feed,
        harvester=manifest.harvester,
        ontology=manifest.ontology,
        kept_names=changed.kept_names,
        manifest=manifest.digest,
    )


def generation_count(target: Target) -> int:
    """How many generations have been finished, whatever has become of them since."""
    try:
        manifest = read_manifest(target)
    except Unsound:
        manifest = None
    finished = [number for number, folder in _folders(target) if folder.read(MANIFEST) is not None]
    return max([0, *finished, *(each.number for each in (manifest.generations if manifest else []))])


def read_generations(target: Target) -> list[Generation]:
    """The finished generations, from what stands in their own folders: for a manifest that is lost.

    Raises:
        Unsound: one of them is damaged, and later ones stand on it.
    """
    found, missing = list[Generation](), 0
    for number, folder in _folders(target):
        changed, manifest = read_changed(folder), read_manifest(folder)
        if changed and manifest and not missing:
            found.append(describe(changed, manifest))
        else:
            missing = missing or number
            if manifest:
                raise Unsound(f"{generation_folder(missing)} is damaged, and later generations stand on it")
    return found


def _folders(target: Target) -> Iterator[tuple[int, Target]]:
    """Every generation of which there is something, and one that is lost between two others."""
    number = 1
    while any(
        folder_of(target, each).read(name) is not None
        for each in (number, number + 1)
        for name in (MANIFEST, CHANGED)
    ):
        yield number, folder_of(target, number)
        number += 1
