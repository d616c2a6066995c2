"""The generations of an export: the results of syncs.

A generation is a folder with the layout of an export. It holds the added and edited rows, a change feed, and
the frozen listing that the sync compared with the previous one. It becomes valid when the export's manifest
names it. Earlier files are never changed: a record of an earlier generation is superseded if a later change
feed says that its label row was edited or removed.

Readers begin at the base. That is the export itself, number 0, until a compaction writes a generation that
replaces all earlier ones, see `harvester.compaction`. It has the layout of an export without a change feed.
"""

from collections.abc import Generator, Iterable, Iterator

import msgspec

from harvester.errors import Unsound
from harvester.events import one_line
from harvester.output.canonical import check_keys, convert, digest, indented, parse_object
from harvester.output.commit import PartFile
from harvester.output.layout import (
    BASE,
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
from harvester.output.manifest import Base, Generation, Manifest, named_manifest, read_manifest
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


def base_of(target: Target) -> Base:
    """Return the base of an export: as its manifest says, or if that is lost or damaged, as the base does."""
    try:
        manifest = read_manifest(target)
    except Unsound:
        manifest = None
    return manifest.base if manifest else read_base(target) or Base()


def base_folder(target: Target) -> Target:
    """Return the folder of the base."""
    return folder_of(target, base_of(target).generation)


def write_base(target: Target, base: Base) -> None:
    """Write ``base.json``, from which a lost manifest is made again. The base must already be complete."""
    fields = msgspec.to_builtins(base)
    target.put(BASE, indented({**fields, "digest": digest(fields)}))


def read_base(target: Target) -> Base | None:
    """Return the content of ``base.json``, or None if it is missing or damaged."""
    try:
        fields = parse_object(target.read(BASE) or b"")
        seal = fields.pop("digest", None)
        return convert(fields, Base) if seal == digest(fields) else None
    except ValueError:
        return None


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
    manifest = named_manifest(folder)
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

    If there was no sync since the base was written, that is the plan of the base.
    """
    manifest = read_manifest(target)
    if manifest is None or not manifest.generations:
        folder = base_folder(target)
        return folder, read_header(folder)
    folder = folder_of(target, manifest.last)
    return folder, read_listing(folder)


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
    base = base_of(target)
    number = base.generation
    target.delete(MANIFEST)
    drop_former(target, base)
    if number:
        _delete_own(folder_of(target, number))
    while _delete_own(folder_of(target, number + 1)):
        number += 1
    _delete_own(target)


def drop_former(target: Target, base: Base, *, first: int | None = None) -> None:
    """Delete the generations before a base that the manifest counts, beginning with number `first`.

    Without `first`, those that an earlier call has left, if it was killed. They are deleted in the order of
    their numbers, so that they are the last ones.
    """
    last = base.generation - 1
    if first is None:
        if folder_of(target, base.generation).read(MANIFEST) is None:
            return  # the base is damaged
        first = last + 1
        while first > 0 and files_before_base(target, base, first - 1):
            first -= 1
    for number in range(first, last + 1):
        folder = folder_of(target, number)
        folder.sweep()
        for name in files_before_base(target, base, number):
            folder.delete(name)
    for number in range(last + 1):  # all of them: a run may have been killed before it removed a folder
        target.prune(generation_folder(number) if number else "")


def files_before_base(target: Target, base: Base, number: int) -> list[str]:
    """Return the files of a generation that a compaction has replaced, and not deleted yet."""
    kept = (MANIFEST, BASE) if number == 0 else ()
    return [name for name in _own_names(folder_of(target, number)) if name not in kept]


def _delete_own(folder: Target) -> int:
    """Delete all files of the layout in `folder`, and return how many there were. Empty folders go, too."""
    own = _own_names(folder)
    for name in own:
        folder.delete(name)
    folder.prune("")
    return len(own)


def _own_names(folder: Target) -> list[str]:
    found = [*folder.names(), *folder.names(STATE), *folder.names(COMMITS)]
    return [name for name, _ in found if is_own(name)]


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


def last_generation(target: Target) -> int:
    """Return the number of the last generation that was finished, be it damaged; 0 if there was no sync."""
    try:
        manifest = read_manifest(target)
    except Unsound:
        manifest = None
    base = base_of(target).generation
    finished = [number for number, folder in _folders(target, base) if folder.read(MANIFEST) is not None]
    return max([base, *finished, manifest.last if manifest else 0])


def read_generations(target: Target) -> list[Generation]:
    """Return the finished generations as their own folders describe them, for a manifest that is lost.

    Raises:
        Unsound: a generation is damaged, and later ones depend on it.
    """
    found, missing = list[Generation](), 0
    for number, folder in _folders(target, base_of(target).generation):
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


def _folders(target: Target, base: int) -> Iterator[tuple[int, Target]]:
    """Yield the folders of syncs since the base in order, tolerating one missing folder.

    A compacted generation that does not count yet is none of them.
    """
    number = base + 1
    while any(_is_of_sync(target, each) for each in (number, number + 1)):
        yield number, folder_of(target, number)
        number += 1


def _is_of_sync(target: Target, number: int) -> bool:
    folder = folder_of(target, number)
    if folder.read(CHANGED) is not None:
        return True
    try:
        manifest = read_manifest(folder)
    except Unsound:
        return True
    return manifest is not None and manifest.base.generation != number
