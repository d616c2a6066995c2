"""The Python API of media: `harvester.media` and `harvester.media_async`."""

from functools import partial
from pathlib import Path

import anyio
from anyio.to_thread import run_sync as in_thread

from harvester.api import opened, run_blocking
from harvester.errors import BadInput, how_to_install
from harvester.events import say
from harvester.job import OnEvent
from harvester.media.counters import MediaCounters
from harvester.media.media_job import MEDIA_FOLDER, MediaJob, MediaObserver, MediaSummary
from harvester.media.options import MediaOptions
from harvester.output.target import open_target
from harvester.settings import Connection, Limits
from harvester.stopping import in_own_task
from harvester.sync import project_of


def media(
    target: Path | str,
    output: Path | str | None = None,
    *,
    options: MediaOptions = MediaOptions(),
    limits: Limits = Limits(),
    connection: Connection | None = None,
    stopping: anyio.Event | None = None,
    on_event: OnEvent = say,
) -> MediaSummary:
    """Download the files that a finished export's labels are of to `output`; by default into the export.

    This is `media_async` for code that is not async; see `harvester.export` for where it may be called and
    how it is interrupted.
    """

    async def work(stopping: anyio.Event) -> MediaSummary:
        observer = MediaObserver(MediaCounters(), on_event, stopping)
        return await media_async(
            target, output, options=options, limits=limits, connection=connection, observer=observer
        )

    return run_blocking(work, stopping)


async def media_async(
    target: Path | str,
    output: Path | str | None = None,
    *,
    options: MediaOptions = MediaOptions(),
    limits: Limits = Limits(),
    connection: Connection | None = None,
    observer: MediaObserver | None = None,
) -> MediaSummary:
    """Download the files that a finished export's labels are of to `output`; by default into the export.

    Args:
        target: the export: a directory, or the address of an object store.
        output: where the files go: `media` in the target, another directory, or an object store.
        options: which files.
        observer: counts, events, and the request to stop.

    Raises:
        BadInput: there is no finished export, or a library of the extra `media` is not installed.
        CannotFinishNow, and others: as `harvester.export_async` does; the same call goes on.
    """
    try:
        from harvester.media.collect import collect
    except ModuleNotFoundError as error:
        raise BadInput(f"media need {error.name}: {how_to_install('media')}") from error
    store = open_target(target)
    folder = open_target(output) if output is not None else store.within(MEDIA_FOLDER)
    project = await in_thread(project_of, store)
    observer = observer or MediaObserver(MediaCounters())
    job = MediaJob(store, folder, options, limits)
    async with opened(project.hash, connection, observer.stopping) as (session, info):
        return await in_own_task(partial(collect, session, info, job, observer))
