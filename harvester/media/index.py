"""The index of media: which file belongs to which unit, how long it is, and its sha256.

`media.ndjson` has a line for each file of each unit; `media.json`, written last, says what the index is of.
While files arrive, their lines go into numbered pieces; a killed run loses the last seconds of them, and the
next one finds these files by their names.
"""

from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Annotated, Any

import msgspec

from harvester.errors import CannotFinishNow, Unsound
from harvester.media.file_names import PATH_PATTERN
from harvester.media.options import MediaOptions
from harvester.media.unit_files import MediaFile
from harvester.output.canonical import convert, digest, indented, parse_object
from harvester.output.export_spec import Project
from harvester.output.layout import STATE
from harvester.output.lines import read_lines
from harvester.output.target import Target
from harvester.schema import Count

MEDIA_INDEX = "media.ndjson"
MEDIA_MANIFEST = "media.json"
MEDIA_FAILED = "failed.ndjson"
MEDIA_REMOVED = "removed.ndjson"
MEDIA_FORMAT = 1
_PIECES = f"{STATE}/index"
_AT_ONCE = 1024**2  # bytes written at once

Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
# A file below the index, named as `file_names` names files. So nothing else is read or deleted by way of it.
MediaPath = Annotated[str, msgspec.Meta(pattern=PATH_PATTERN, max_length=300)]


class IndexLine(msgspec.Struct, frozen=True, kw_only=True):
    """A line of `media.ndjson`: a file of a unit.

    `label_hash`, `branch_name`, `unit_hash` and `space_id` are the key of the unit; `frame` is the number of
    a slice or image in it, null if the file is all of it. `label_hash` is null for a row without labels.
    `path` is relative to the index; several lines may name the same file. `decoded_frames` is the number of
    frames of a video that was decoded to its end.
    """

    label_hash: str | None
    branch_name: str | None
    data_hash: str
    data_type: str | None
    unit_hash: str
    space_id: str | None
    frame: int | None
    path: MediaPath
    bytes: Count
    sha256: Sha256
    mime_type: str | None
    width: int | None
    height: int | None
    fps: float | None
    fetched: str
    decoded_frames: Count | None = None


class StoredMedia(msgspec.Struct, frozen=True):
    """A file that is there. `fetched` is an ISO 8601 time in UTC; `decoded_frames` as in `IndexLine`."""

    path: MediaPath
    bytes: Count
    sha256: Sha256
    fetched: str
    decoded_frames: Count | None = None


class FailedMedia(msgspec.Struct, frozen=True, kw_only=True):
    """A line of `failed.ndjson`: a file that could not be fetched."""

    label_hash: str | None
    branch_name: str | None
    data_hash: str
    data_title: str
    unit_hash: str
    space_id: str | None
    frame: int | None
    error: str
    message: str
    attempts: int


class ListFile(msgspec.Struct, frozen=True):
    """A file of lines, as the manifest names it."""

    name: str
    lines: Count
    bytes: Count
    sha256: Sha256


class MediaManifest(msgspec.Struct, frozen=True, kw_only=True):
    """`media.json`: the export and the options of the last complete run, and the counts.

    `export` is the digest of the export's manifest when the files were fetched. `counts`: `files` are the
    wanted ones, of which `fetched` are there and `failed` are listed in `failed.ndjson`; `removed` are those
    in `removed.ndjson`, whose units have left the export. `without_file` counts units and spaces of which the
    platform has no file, by data type. `bytes` is the size of the `fetched` files. Pictures of frames are in
    the index, but not in `counts` and `bytes`; a video whose frames cannot be decoded counts as failed.
    """

    format: int
    harvester: str
    project: Project
    export: str
    options: MediaOptions
    counts: dict[str, Count]
    without_file: dict[str, Count]
    bytes: Count
    index: ListFile
    failed: ListFile | None
    removed: ListFile | None
    digest: str = ""


def line_of(file: MediaFile, stored: StoredMedia) -> bytes:
    """Return the line of the index for a file."""
    line = IndexLine(**msgspec.structs.asdict(file) | msgspec.structs.asdict(stored))
    return msgspec.json.encode(line) + b"\n"


def stored_of(line: IndexLine) -> StoredMedia:
    """Return the file that a line of the index is of."""
    return msgspec.convert(line, StoredMedia, from_attributes=True)


def write_list(folder: Target, name: str, lines: Iterable[bytes]) -> ListFile:
    """Write a file of lines, in constant memory. Blocking."""
    draft, hashed, size, count, waiting = folder.create(name), sha256(), 0, 0, bytearray()
    try:
        for line in lines:
            count += 1
            waiting += line
            if len(waiting) >= _AT_ONCE:
                hashed.update(waiting)
                size += len(waiting)
                draft.write(bytes(waiting))
                waiting.clear()
        hashed.update(waiting)
        draft.write(bytes(waiting))
        draft.commit()
    except BaseException:
        draft.discard()
        raise
    return ListFile(name, count, size + len(waiting), hashed.hexdigest())


def write_media_manifest(folder: Target, manifest: MediaManifest) -> None:
    """Write `media.json`, which says that the index is complete."""
    fields = msgspec.to_builtins(manifest)
    sealed = msgspec.structs.replace(manifest, digest=digest(fields, without=("digest",)))
    folder.put(MEDIA_MANIFEST, indented(sealed))


def read_media_manifest(folder: Target) -> MediaManifest | None:
    """Return what `media.json` says, or None if there is none.

    Raises:
        Unsound: it is damaged.
    """
    data = folder.read(MEDIA_MANIFEST)
    if data is None:
        return None
    try:
        fields = parse_object(data)
        manifest = convert(fields, MediaManifest)
    except ValueError as error:
        raise Unsound(f"{MEDIA_MANIFEST} cannot be read: {error}") from error
    if manifest.digest != digest(fields, without=("digest",)):
        raise Unsound(f"the digest of {MEDIA_MANIFEST} does not fit what it says")
    return manifest


def read_index(folder: Target) -> Iterator[IndexLine]:
    """Yield the lines of the index.

    Raises:
        CannotFinishNow: a line is damaged.
    """
    decode = msgspec.json.Decoder(IndexLine).decode
    for number, line in enumerate(read_lines(folder, MEDIA_INDEX), 1):
        try:
            yield decode(line)
        except (ValueError, RecursionError) as error:
            raise CannotFinishNow(f"{MEDIA_INDEX} is damaged: line {number:,}: {error}") from error


def read_removed(folder: Target) -> Iterator[StoredMedia]:
    """Yield the files whose units had left the export the last time. What is damaged is left out."""
    if folder.size_of(MEDIA_REMOVED) is None:
        return
    decode = msgspec.json.Decoder(StoredMedia).decode
    for line in read_lines(folder, MEDIA_REMOVED):
        try:
            yield decode(line)
        except (ValueError, RecursionError):
            return


def is_foreign(folder: Target, name: str, kind: type[FailedMedia | StoredMedia]) -> bool:
    """Return whether there is a file of that name, but not one with such lines: it is the user's own."""
    if not folder.size_of(name):
        return False
    try:
        msgspec.json.decode(next(iter(read_lines(folder, name)), b""), type=kind)
    except (ValueError, RecursionError, CannotFinishNow):
        return True
    return False


class IndexPieces:
    """The pieces of the index that a run writes while files arrive."""

    def __init__(self, folder: Target) -> None:
        self._folder = folder
        self._next = 0

    def read(self) -> Iterator[StoredMedia]:
        """Yield the files in the pieces of unfinished runs. What is damaged is left out."""
        decode = msgspec.json.Decoder(StoredMedia).decode
        for name in self._names():
            self._next = max(self._next, int(name.rpartition("/")[2].partition(".")[0]) + 1)
            for line in (self._folder.read(name) or b"").splitlines():
                try:
                    yield decode(line)
                except (ValueError, RecursionError):
                    break

    def write(self, files: Iterable[StoredMedia]) -> None:
        """Write a piece with these files, durably."""
        name = f"{_PIECES}/{self._next:06}.ndjson"
        self._next += 1
        self._folder.put(name, b"".join(msgspec.json.encode(file) + b"\n" for file in files))

    def delete(self) -> None:
        """Delete all pieces, as the index has what is in them, and what killed runs have left of some."""
        for name in [*self._names(), *self._folder.drafts(_PIECES)]:
            self._folder.delete(name)

    def _names(self) -> list[str]:
        found: list[Any] = self._folder.names(_PIECES)
        return [name for name, _ in found if _is_piece(name)]


def _is_piece(name: str) -> bool:
    file = name.removeprefix(f"{_PIECES}/")
    return file.endswith(".ndjson") and file.removesuffix(".ndjson").isdecimal() and file.isascii()
