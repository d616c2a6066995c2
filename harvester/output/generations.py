"""The generations of an export: the results of syncs.

A generation is a folder with the layout of an export. It holds the added and edited rows, a change feed, and
the frozen listing that the sync compared with the previous one. It becomes valid when the export's manifest
names it. Earlier files are never changed: a record of an earlier generation is superseded if a later change
feed says that its label row was edited or removed.
"""

from collections.abc import Generator, Iterable, Iterator

import msgspec

from harvester.errors import Unsound
from harvester.events import one_line
from harvester.output.canonical import check_keys, convert, digest, indented, parse_object
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
from harvester.output.lines import FailedLabel, read_as
from harvester.output.manifest import Generation, Manifest, read_manifest
from harvester.output.ndjson import PartWriter
from harvester.output.planfile import PlanHeader, intact, read_header
from harvester.output.target import Target
from harvester.plan.changes import WHATS, Change, OntologyChange, SyncOptions
from harvester.plan.sorting import sorter
from harvester.schema import Count
from harvester.settings import Compression

NEW_EXPORT = "a new export is needed, into another directory"


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """The changes of a generation, written before any of its rows is fetched.

    `listing` is the digest of the frozen listing. `relisted` is true if the listing differs from the previous
    one in any way, even in a row whose records stay valid. `rows` counts the listed rows: ``listed``, and of
    these ``unlabelled`` and ``filtered``. `feed` and `changes` are as in `Generation`. `options` are those of
    the sync. `ontology` describes how the ontology has changed for the live records, None if it has not.
    `kept_names` is as in `Generation`. `digest` is a checksum of the record itself.
    """

    generation: Count
    listing: str
    relisted: bool
    rows: dict[str, Count]
    changes: dict[str, Count]
    feed: list[PartFile]
    options: SyncOptions
    ontology: OntologyChange | None
    kept_names: bool
    digest: str = ""

    def __post_init__(self) -> None:
        check_keys("rows", self.rows, ("listed", "unlabelled", "filtered"), all_of_them=True)
        check_keys("changes", self.changes, WHATS, all_of_them=True)


class FeedWriter:
    """Writes the change feed of a generation, ``changes-00000.ndjson``. Without changes there is no file."""

    def __init__(self, target: Target, compression: Compression | None) -> None:
        self._writer = PartWriter(target, 0, compression)
        self._changes: dict[str, int] = dict.fromkeys(WHATS, 0)

    def write(self, changes: Iterable[Change]) -> None:
        """Add the changes of one row."""
        for change in changes:
            self._changes[change.change] += 1
            self._writer.write(CHANGES, [msgspec.json.encode(change) + b"\n"], 1, 1)

    def close(self) -> tuple[dict[str, int], list[PartFile]]:
        """Make the feed durable. Return its number of lines by kind of change, and its files (0 or 1)."""
        return self._changes, self._writer.close()

    def discard(self) -> None:
        """Delete what is not durable yet. Never raises."""
        self._writer.discard()


def folder_of(target: Target, number: int) -> Target:
    """Return the folder of generation `number` as a target. Number 0 is the export itself."""
    return target.within(generation_folder(number)) if number else target


def write_changed(folder: Target, changed: Changed) -> None:
    """Write ``changed.json``. The feed must already be durable."""
    fields = msgspec.to_builtins(changed)
    fields["digest"] = digest(fields, without=("digest",))
    folder.put(CHANGED, indented(fields))


def read_changed(folder: Target) -> Changed | None:
    """Return the content of ``changed.json``, or None if it is missing or damaged."""
    try:
        fields = parse_object(folder.read(CHANGED) or b"")
        changed = convert(fields, Changed)
    except ValueError:
        return None
    return changed if changed.digest == digest(fields, without=("digest",)) else None


def feed_is_there(folder: Target, changed: Changed) -> bool:
    """Return whether the files of the generation's change feed exist in their recorded sizes."""
    sizes = dict(folder.names())
    return all(sizes.get(file.name) == file.bytes for file in changed.feed)


def read_failed(folder: Target) -> Generator[str, None, None]:
    """Yield the label hashes of the failed rows of a generation, sorted."""
    manifest = read_manifest(folder)
    with sorter() as failed:
        for file in manifest.parts if manifest else ():
            if file.kind == FAILED:
                for row in read_as(folder, file.name, FailedLabel):
                    failed.add([row.label_hash], row.label_hash.encode())
        for item in failed:
            yield item.decode()


def read_listing(folder: Target) -> PlanHeader | None:
    """Return the header of the generation's frozen listing, or None if it is missing or damaged."""
    header = read_header(folder, LISTED)
    return header if header and intact(folder, header) else None


def last_listing(target: Target) -> tuple[Target, PlanHeader | None]:
    """Return the folder that holds the last frozen listing, and its header (None if missing or damaged).

    If the export was never synced, that is its plan.
    """
    manifest = read_manifest(target)
    folder = folder_of(target, len(manifest.generations) if manifest else 0)
    return folder, read_header(target) if folder is target else read_listing(folder)


def drop_listing(target: Target, number: int) -> None:
    """Delete the listing files of a generation that is no longer the last one. Only the last are needed."""
    folder = folder_of(target, number)
    folder.delete(LISTED)
    folder.delete(LISTED_ROWS)
    folder.delete(LISTING)


def drop_generation(folder: Target) -> None:
    """Delete a generation that the manifest does not name. The header of its listing goes first: a generation
    without it counts as not started.
    """
    folder.delete(LISTED)
    _delete_own(folder)


def drop_export(target: Target) -> None:
    """Delete an export with its generations, but no file outside the layout. Only under the lock."""
    target.delete(MANIFEST)
    number = 1
    while _delete_own(folder_of(target, number)):
        number += 1
    _delete_own(target)


def _delete_own(folder: Target) -> int:
    """Delete all files of the layout in `folder`, and return how many there were."""
    found = [*folder.names(), *folder.names(STATE), *folder.names(COMMITS)]
    own = [name for name, _ in found if is_own(name)]
    for name in own:
        folder.delete(name)
    return len(own)


def describe(changed: Changed, manifest: Manifest) -> Generation:
    """Return the entry of a generation for the export's manifest. `manifest` is the generation's own one.

    Each sync fetches all rows again that had failed before, so the rows that failed in this generation are
    all failed rows of the export.
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
    """Return the number of generations that were finished, including damaged ones."""
    try:
        manifest = read_manifest(target)
    except Unsound:
        manifest = None
    finished = [number for number, folder in _folders(target) if folder.read(MANIFEST) is not None]
    return max([0, *finished, *(each.number for each in (manifest.generations if manifest else []))])


def read_generations(target: Target) -> list[Generation]:
    """Return the finished generations as their own folders describe them, for a manifest that is lost.

    Raises:
        Unsound: a generation is damaged, and later ones depend on it.
    """
    found, missing = list[Generation](), 0
    for number, folder in _folders(target):
        changed, manifest = read_changed(folder), read_manifest(folder)
        if changed and manifest and not missing:
            found.append(describe(changed, manifest))
        else:
            missing = missing or number
            if manifest:
                lost = generation_folder(missing)
                raise Unsound(
                    f"{one_line(target.name)}: {NEW_EXPORT}: {lost} is damaged, and the manifest lost"
                )
    return found


def _folders(target: Target) -> Iterator[tuple[int, Target]]:
    """Yield the generation folders in order, tolerating one missing folder."""
    number = 1
    while any(
        folder_of(target, each).read(name) is not None
        for each in (number, number + 1)
        for name in (MANIFEST, CHANGED)
    ):
        yield number, folder_of(target, number)
        number += 1
