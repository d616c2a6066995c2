"""Many downloads at once: URLs in batches, workers that download, the index in pieces."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import anyio
import msgspec
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from anyio.to_thread import run_sync as in_thread

from harvester.encord.project import ProjectInfo
from harvester.errors import Retry, SkipRow, Unavailable, unwrapped
from harvester.events import Counters
from harvester.fetch.bundles import Batch
from harvester.fetch.pool import Pool
from harvester.labels.extract import Extractor
from harvester.media.answers_of_stores import LinkRefused
from harvester.media.desk import FileToFetch, LinkDesk, LinkSource
from harvester.media.download import Download, Downloaded
from harvester.media.hosts import MOST_IN_FLIGHT, MediaHosts
from harvester.media.index import FailedMedia, IndexPieces, StoredMedia
from harvester.media.links import LabelRowSource, Source, StorageSource
from harvester.media.media_job import MediaJob, MediaObserver
from harvester.media.members import MembersSource
from harvester.media.safe_urls import UrlRules
from harvester.media.wanted import WantedMedia
from harvester.output.drafts import is_partial
from harvester.output.target import Target
from harvester.settings import Format, Selection

if TYPE_CHECKING:
    from harvester.encord.session import Session

# Seconds between two pieces of the index. Files that arrived after the last piece are hashed again by the run
# that follows a kill. Chosen.
_PUT_DOWN_EVERY = 2.0
# Files with their URLs that wait for a worker, so that workers go on while the next URLs are asked for.
_AHEAD = 32
# How often a store may refuse a new URL of a file before the file fails as forbidden.
_MOST_REFUSED_LINKS = 2
# The requests for label rows whose URLs are wanted. Other records of them are not even made.
_SELECTION, _FORMAT = Selection(signed_urls=True), Format(emit=("units",))


class Fetching:
    """Fetches the missing files: `run` does it. Call `put_down` afterwards, also after an error."""

    def __init__(
        self,
        session: "Session",
        project: ProjectInfo,
        job: MediaJob,
        observer: MediaObserver,
        wanted: WantedMedia,
        pieces: IndexPieces,
    ) -> None:
        self._session = session
        self._project = project
        self._job = job
        self._observer = observer
        self._counters = observer.counters
        self._wanted = wanted
        self._pieces = pieces
        self._not_put_down: list[StoredMedia] = []
        self._under_way: set[str] = set()
        self._rests: set[str] = set()

    async def run(self) -> None:
        """Fetch the missing files. Afterwards each is there, noted as failed, or noted as without a file."""
        connection, limits = self._session.connection, self._job.limits
        self._rests = await in_thread(_rests_in, self._job.folder, [""])
        rules = UrlRules.of(connection.domain, self._job.options.allow_private)
        hosts = MediaHosts(connection, limits, rules, self._retried)
        send, receive = anyio.create_memory_object_stream[FileToFetch](_AHEAD)
        try:
            with unwrapped():
                async with self._desk() as desk, anyio.create_task_group() as tasks:
                    tasks.start_soon(self._put_down_now_and_then)
                    async with anyio.create_task_group() as workers:
                        workers.start_soon(self._feed, desk, send)
                        for _ in range(limits.concurrency or MOST_IN_FLIGHT):
                            workers.start_soon(self._work, desk, hosts, receive.clone())
                        receive.close()
                    tasks.cancel_scope.cancel()
        finally:
            self._counters.requests, self._counters.refused = hosts.requests, hosts.refused
            with anyio.CancelScope(shield=True):
                await hosts.close()

    @asynccontextmanager
    async def _desk(self) -> AsyncIterator[LinkDesk]:
        """Open the sources of URLs."""
        rows = self._session.label_rows(self._project, _SELECTION, _FORMAT)
        deadline = self._session.connection.request_deadline
        async with Pool(
            rows, self._job.limits, counters=Counters(), on_event=self._of_pool, request_deadline=deadline
        ) as pool:
            extractor = Extractor(_SELECTION, _FORMAT, self._project.ontology)
            sources: dict[Source, LinkSource] = {
                "storage": StorageSource(self._session),
                "members": MembersSource(self._session),
                "label rows": LabelRowSource(pool, extractor),
            }
            yield LinkDesk(sources, self._counters)

    def _of_pool(self, event: str, fields: object) -> None:
        if event != "row.failed":  # told by file
            self._observer.on_event(event, fields)  # type: ignore[arg-type]  # a mapping

    async def _feed(self, desk: LinkDesk, send: MemoryObjectSendStream[FileToFetch]) -> None:
        """Ask for URLs, batch after batch, as long as workers take them."""
        missing = self._wanted.missing()
        async with send:
            while rows := desk.next_rows(missing):
                files = await desk.ask(rows)
                if folders := [one.file.path for one in files if "/" in one.file.path]:
                    self._rests |= await in_thread(_rests_in, self._job.folder, folders)
                for one in files:
                    if not self._is_settled(one):
                        await send.send(one)

    def _is_settled(self, one: FileToFetch) -> bool:
        """Note what needs no download: it has no file, failed already, or is under way for another row."""
        if one.failed is not None:
            self._fail(one, one.failed.error, one.failed.message, one.failed.attempts)
        elif one.link is None:
            self._counters.without_file += 1
            self._wanted.is_without(one.file)
        else:
            path = one.file.path
            if path in self._under_way or self._wanted.stored(path) is not None:
                return True
            self._under_way.add(path)
            return False
        return True

    async def _work(
        self, desk: LinkDesk, hosts: MediaHosts, receive: MemoryObjectReceiveStream[FileToFetch]
    ) -> None:
        async with receive:
            async for one in receive:
                await self._fetch(desk, hosts, one)
                self._under_way.discard(one.file.path)

    async def _fetch(self, desk: LinkDesk, hosts: MediaHosts, one: FileToFetch) -> None:
        """Download a file, with retries, and note what came of it."""
        path, batch = one.file.path, Batch([one.row], [0])
        download = Download(
            self._job.folder,
            path,
            mime_type=one.file.mime_type or (one.link.mime_type if one.link else None),
            known_size=one.link.bytes if one.link else None,
            has_rest=path in self._rests,
            on_bytes=self._received,
            deadline=self._session.connection.request_deadline,
        )
        try:
            assert one.link is not None
            got = await hosts.of(one.link.url).retry(
                partial(self._attempt, desk, hosts, one, download), batch
            )
        except (SkipRow, Retry) as error:
            self._fail(one, error.failure, error.message, max(1, batch.spent))
        else:
            self._keep(one, got)
        finally:
            with anyio.CancelScope(shield=True):
                await download.close()

    async def _attempt(
        self, desk: LinkDesk, hosts: MediaHosts, one: FileToFetch, download: Download, batch: Batch
    ) -> Downloaded:
        """Download with a URL that is fresh, and with another one if the store refuses it."""
        refused = 0
        while True:
            link = await desk.fresh(one, refused=refused > 0)
            try:
                got = await download.attempt(hosts, link.url)
            except LinkRefused as error:
                refused += 1
                if refused > _MOST_REFUSED_LINKS:
                    batch.spent += 1
                    raise SkipRow(str(error), failure="forbidden") from None
            except Unavailable:
                # An outage of the host is no attempt for this file.
                batch.spent += not hosts.of(link.url).is_down
                raise
            else:
                return got

    def _retried(self, batch: Batch, error: Retry, wait: float) -> None:
        self._counters.retries += 1
        fields = {"attempt": batch.attempts, "wait": round(wait, 3), "error": error.message}
        self._observer.on_event("request.retried", fields)

    def _received(self, count: int) -> None:
        self._counters.received += count

    def _keep(self, one: FileToFetch, got: Downloaded) -> None:
        fetched = datetime.now(UTC).isoformat(timespec="seconds")
        stored = StoredMedia(one.file.path, got.bytes, got.sha256, fetched)
        self._wanted.store(stored)
        self._not_put_down.append(stored)
        self._counters.fetched += 1

    def _fail(self, one: FileToFetch, error: str, message: str, attempts: int) -> None:
        file = one.file
        failed = FailedMedia(
            label_hash=file.label_hash,
            branch_name=file.branch_name,
            data_hash=file.data_hash,
            data_title=one.row.data_title,
            unit_hash=file.unit_hash,
            space_id=file.space_id,
            frame=file.frame,
            error=error,
            message=message,
            attempts=attempts,
        )
        self._wanted.fail(one.wanted, file, failed)
        self._counters.failed += 1
        self._observer.on_event("file.failed", msgspec.structs.asdict(failed))

    async def _put_down_now_and_then(self) -> None:
        while True:
            await anyio.sleep(_PUT_DOWN_EVERY)
            await in_thread(self.put_down)

    def put_down(self) -> None:
        """Write a piece of the index with the files that have arrived since the last one. Blocking."""
        some, self._not_put_down = self._not_put_down, []
        if some:
            self._pieces.write(some)


def _rests_in(folder: Target, paths: Iterable[str]) -> set[str]:
    """Return those of some files of which an earlier run has left a part, and delete its drafts of them.

    Blocking.
    """
    found, dropped = set[str](), list[str]()
    for inside in {path.rpartition("/")[0] for path in paths}:
        for name in folder.drafts(inside):
            where, slash, file = name.rpartition("/")
            if not is_partial(file):
                dropped.append(name)
            elif file.endswith(".part"):
                found.add(where + slash + file[1 : -len(".part")])
    for name in dropped:
        folder.delete(name)
    return found
