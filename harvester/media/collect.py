"""The job: which files are wanted -> their URLs, in small batches -> download -> the index."""

import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from importlib.metadata import version
from itertools import chain
from typing import TYPE_CHECKING

import anyio
import msgspec
from anyio.to_thread import run_sync as in_thread

from harvester.encord.project import ProjectInfo
from harvester.errors import BadInput, CannotFinishNow, TargetRefused, Unsound
from harvester.events import one_line
from harvester.media.checking import wrong_with
from harvester.media.dry_run import Foreseen, foresee
from harvester.media.extracting import extract_frames
from harvester.media.fetching import Fetching
from harvester.media.index import (
    MEDIA_FAILED,
    MEDIA_FORMAT,
    MEDIA_INDEX,
    MEDIA_MANIFEST,
    MEDIA_REMOVED,
    FailedMedia,
    IndexPieces,
    ListFile,
    MediaManifest,
    StoredMedia,
    is_foreign,
    read_index,
    read_media_manifest,
    read_removed,
    stored_of,
    write_list,
    write_media_manifest,
)
from harvester.media.media_job import MediaJob, MediaObserver, MediaSummary
from harvester.media.stored_sizes import stored_sizes
from harvester.media.wanted import WantedMedia, wanted_media
from harvester.media.which_units import find_units
from harvester.output.layout import MANIFEST, PLAN
from harvester.output.manifest import Manifest, read_manifest
from harvester.output.target import LocalTarget, Target
from harvester.stopping import Stopping, held, stopping_when

if TYPE_CHECKING:
    from harvester.encord.session import Session

_PIECE = 1024**2
# Seconds after a request to stop in which files under way may still be completed. What has arrived of the
# others is kept.
_GRACE = 2.0


async def collect(
    session: "Session", project: ProjectInfo, job: MediaJob, observer: MediaObserver
) -> MediaSummary:
    """Bring the wanted files of a finished export to `job.folder`, and write their index.

    Raises:
        BadInput, Unsound: there is no finished export, or it is damaged.
        TargetRefused: the folder is in use, or has the media of another project.
        CannotFinishNow: the run was stopped, or a server or the disk is in trouble. The same call goes on.
    """
    counters, began = observer.counters, anyio.current_time()
    async with (
        stopping_when(observer.stopping, job.limits.max_duration) as stopping,
        _locked(job, stopping),
        _filled(job) as (manifest, wanted),
    ):
        pieces = IndexPieces(job.folder)
        await in_thread(_take_stock, job, wanted, pieces)
        counters.files = wanted.files
        counters.there, _ = await in_thread(wanted.there)
        if job.options.dry_run:
            found = await foresee(session, wanted)
            return _foreseen(job, manifest.project.title, found, anyio.current_time() - began)
        fetching = Fetching(session, project, job, observer, wanted, pieces)
        try:
            await stopping.cut_short(fetching.run, grace=_GRACE)
            if job.options.frames is not None:
                frames = partial(extract_frames, job.folder, job.options, wanted, pieces, counters)
                await stopping.cut_short(frames, grace=_GRACE)
        finally:
            with anyio.CancelScope(shield=True):
                await in_thread(fetching.put_down)
        done = await in_thread(_finish, job, manifest, wanted, pieces)
    return MediaSummary(
        target=job.target.name,
        folder=job.folder.name,
        project=manifest.project.title,
        counts=done.counts,
        without_file=done.without_file,
        bytes=done.bytes,
        run={"seconds": round(anyio.current_time() - began, 3), **counters.work()},
        dry_run=job.options.dry_run,
    )


def _foreseen(job: MediaJob, project: str, found: Foreseen, seconds: float) -> MediaSummary:
    return MediaSummary(
        target=job.target.name,
        folder=job.folder.name,
        project=project,
        counts={"files": found.files, "sized": found.sized, "failed": 0},
        without_file={},
        bytes=found.bytes,
        run={"seconds": round(seconds, 3)},
        dry_run=True,
    )


@asynccontextmanager
async def _locked(job: MediaJob, stopping: Stopping) -> AsyncIterator[None]:
    """Hold the lock that covers the folder: the export's own, or that of another directory.

    A dry run makes no directory, so it holds that of the export.
    """
    owner = job.target if job.options.dry_run or _is_inside(job) else job.folder
    await in_thread(owner.ensure)
    async with held(owner, stopping):
        yield


def _is_inside(job: MediaJob) -> bool:
    return job.folder.opened_as[0] == job.target.opened_as[0]


@asynccontextmanager
async def _filled(job: MediaJob) -> AsyncIterator[tuple[Manifest, WantedMedia]]:
    """Find what is wanted."""
    manifest = await in_thread(read_manifest, job.target)
    if manifest is None:
        raise BadInput(f"{one_line(job.target.name)} holds no finished export")
    await in_thread(_check_folder, job, manifest)
    opened = wanted_media()
    wanted = await in_thread(opened.__enter__)
    try:
        await in_thread(find_units, wanted, job.target, manifest, job.options)
        yield manifest, wanted
    finally:
        with anyio.CancelScope(shield=True):
            await in_thread(opened.__exit__, None, None, None)


def _check_folder(job: MediaJob, manifest: Manifest) -> None:
    """Raise TargetRefused if the folder is an export, or has other files under the names of ours."""
    folder, before = job.folder, _media_before(job)
    wrong = None
    if any(folder.size_of(name) is not None for name in (MANIFEST, PLAN)):
        wrong = "is an export"
    elif before is not None and before.project.hash != manifest.project.hash:
        wrong = f"has the media of another project: {before.project.title!r}"
    elif before is None:
        lists = ((MEDIA_FAILED, FailedMedia), (MEDIA_REMOVED, StoredMedia))
        wrong = next(
            (f"has a {name} of something else" for name, kind in lists if is_foreign(folder, name, kind)),
            None,
        )
    if wrong:
        raise TargetRefused(one_line(f"{folder.name} {wrong}: name another directory"))


def _media_before(job: MediaJob) -> MediaManifest | None:
    try:
        return read_media_manifest(job.folder)
    except (Unsound, BadInput):
        job.folder.size_of(MEDIA_MANIFEST)  # raises BadInput if it is no regular file
        return None  # it is written anew


def _take_stock(job: MediaJob, wanted: WantedMedia, pieces: IndexPieces) -> None:
    """Find out which files are there: by the index, its pieces, and their names."""
    folder = job.folder
    if not job.options.dry_run:
        folder.sweep()
    recheck = job.options.recheck or _index_is_damaged(job)
    if folder.size_of(MEDIA_INDEX) is not None:
        try:
            for line in read_index(folder):
                wanted.store(stored_of(line))
        except CannotFinishNow:
            pass  # what is missing in it is found by name
    for stored in (*read_removed(folder), *pieces.read()):
        wanted.store(stored)
    with stored_sizes(folder) as size_of:
        for path in chain(wanted.frames(), wanted.paths()):
            _look_at(job, wanted, path, size_of(path), recheck=recheck)


def _index_is_damaged(job: MediaJob) -> bool:
    """Return whether the index is not as it was written, so that what it says has to be checked."""
    before, size_of = _media_before(job), job.folder.size_of
    if before is None or size_of(MEDIA_INDEX) is None:
        return False
    return wrong_with(job.folder, MEDIA_INDEX, before.index.bytes, before.index.sha256, size_of) is not None


def _look_at(job: MediaJob, wanted: WantedMedia, path: str, size: int | None, *, recheck: bool) -> None:
    """Compare a file with its line of the index. Index it if a killed run left it without a line.

    `recheck`: hash it, too. A damaged file is deleted, but not in a dry run.
    """
    folder, stored = job.folder, wanted.stored(path)
    if size is None:
        if stored is not None:
            wanted.lose(path)
        return
    if stored is not None and stored.bytes == size and not recheck:
        return
    if stored is None:
        wanted.store(_hashed(folder, path, size))
    elif stored.bytes != size or _hashed(folder, path, size).sha256 != stored.sha256:
        if not job.options.dry_run:
            folder.delete(path)
        wanted.lose(path)


def _hashed(folder: Target, path: str, size: int) -> StoredMedia:
    hashed = sha256()
    with folder.open(path) as file:
        while data := file.read(_PIECE):
            hashed.update(data)
        if isinstance(folder, LocalTarget):
            when = datetime.fromtimestamp(os.fstat(file.fileno()).st_mtime, UTC)
        else:
            when = datetime.now(UTC)  # when an object was written is not known here
    return StoredMedia(path, size, hashed.hexdigest(), when.isoformat(timespec="seconds"))


def _finish(job: MediaJob, manifest: Manifest, wanted: WantedMedia, pieces: IndexPieces) -> MediaManifest:
    """Write the index, the lists of failed and removed files, and last `media.json`."""
    folder = job.folder
    index = write_list(folder, MEDIA_INDEX, wanted.index_lines())
    failed = _list_or_nothing(folder, MEDIA_FAILED, wanted.failed_lines(), wanted.failed())
    gone = wanted.gone()
    if gone:  # some may have been deleted by hand
        with stored_sizes(folder) as size_of:
            gone = [each for each in gone if size_of(each.path) is not None]
    if job.options.prune:
        for each in gone:
            folder.delete(each.path)
        gone = []
    lines = (msgspec.json.encode(each) + b"\n" for each in gone)
    removed = _list_or_nothing(folder, MEDIA_REMOVED, lines, len(gone))
    files, size = wanted.there()
    done = MediaManifest(
        format=MEDIA_FORMAT,
        harvester=version("encord-harvester"),
        project=manifest.project,
        export=manifest.digest,
        options=job.options,
        counts={
            "files": files + wanted.failed(),
            "fetched": files,
            "failed": wanted.failed(),
            "removed": len(gone),
        },
        without_file=wanted.without_file(),
        bytes=size,
        index=index,
        failed=failed,
        removed=removed,
    )
    write_media_manifest(folder, done)
    pieces.delete()
    return done


def _list_or_nothing(folder: Target, name: str, lines: Iterable[bytes], count: int) -> ListFile | None:
    """Write a file of lines if there are any, otherwise delete it."""
    if count:
        return write_list(folder, name, lines)
    folder.delete(name)
    return None
