"""Checks media against their index. Needs no server, and writes nothing."""

from collections.abc import Iterator
from hashlib import sha256

from harvester.errors import BadInput, CannotFinishNow, Unsound
from harvester.media.index import MEDIA_INDEX, MEDIA_MANIFEST, read_index, read_media_manifest
from harvester.media.stored_sizes import SizeOf, stored_sizes
from harvester.output.target import Target
from harvester.output.verify import Problem

_PIECE = 1024**2


def has_media(folder: Target) -> bool:
    """Return whether media were fetched into this folder, or are being fetched."""
    try:
        return any(folder.size_of(name) is not None for name in (MEDIA_MANIFEST, MEDIA_INDEX)) or bool(
            folder.names(".harvester/index")
        )
    except BadInput:
        return True  # no regular file in the place of one


def media_problems(folder: Target, prefix: str = "") -> Iterator[Problem]:
    """Yield what is wrong with the media in a folder: files, index, lists, and `media.json`.

    Blocking, in constant memory. `prefix` stands before the names of the files.
    """

    def problem(name: str, what: str) -> Problem:
        return Problem(prefix + name, what, remedy="media")

    try:
        manifest = read_media_manifest(folder)
    except Unsound as error:
        yield problem(MEDIA_MANIFEST, error.message)
        manifest = None
    except BadInput as error:
        yield problem(MEDIA_MANIFEST, f"{error.message}: move it away")
        manifest = None
    else:
        if manifest is None:
            yield problem(MEDIA_MANIFEST, "missing: not all files are fetched")
    if manifest is not None:
        for listed in (manifest.index, manifest.failed, manifest.removed):
            if listed is not None and (
                wrong := wrong_with(folder, listed.name, listed.bytes, listed.sha256, folder.size_of)
            ):
                yield problem(listed.name, wrong)
    try:
        if folder.size_of(MEDIA_INDEX) is None:
            return
        with stored_sizes(folder) as size_of:
            for line in read_index(folder):
                if wrong := wrong_with(folder, line.path, line.bytes, line.sha256, size_of):
                    yield problem(line.path, wrong)
    except CannotFinishNow as error:
        yield problem(MEDIA_INDEX, error.message)
    except BadInput as error:
        yield problem(MEDIA_INDEX, f"{error.message}: move it away")


def wrong_with(folder: Target, name: str, size: int, digest: str, size_of: SizeOf) -> str | None:
    """Return what is wrong with a file, or None. `digest` is the sha256 that it should have. Blocking."""
    try:
        there = size_of(name)
        if there is None:
            return "missing"
        if there != size:
            return f"{there:,} bytes, not {size:,}"
        hashed = sha256()
        with folder.open(name) as file:
            while data := file.read(_PIECE):
                hashed.update(data)
    except (OSError, BadInput, CannotFinishNow) as error:
        return f"cannot be read: {error}"
    return None if hashed.hexdigest() == digest else "its bytes are not those that were fetched"
