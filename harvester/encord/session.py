"""An open session with the platform: find projects, list their rows, fetch their label rows."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import Any, TypeVar
from uuid import UUID

import msgspec
import orjson
import tenacity
from encord.configs import Config
from encord.http.v2.payloads import Page
from encord.orm.base_dto import BaseDTO, PrivateAttr
from encord.orm.project import ProjectFilterParams

from harvester.encord import faults
from harvester.encord.connections import proxy_for
from harvester.encord.contract import check_calls
from harvester.encord.credentials import Credentials, load_credentials
from harvester.encord.deadline import within
from harvester.encord.label_rows import ProjectLabelRows, options_for
from harvester.encord.project import ProjectInfo
from harvester.encord.sdk import Listing, PlainTransport, Transport, list_options, sdk_config
from harvester.encord.sdk_version import unknown_sdk
from harvester.encord.storage import StorageItem, children_of, items_of, scene_links
from harvester.encord.wording import Route
from harvester.errors import (
    BadInput,
    CannotFinishNow,
    CredentialsRefused,
    HarvesterError,
    Retry,
    did_you_mean,
)
from harvester.events import say
from harvester.fetch.source import LabelRows
from harvester.filters import request_selection
from harvester.settings import Connection, Format, Selection

# Attempts for all calls except those for label rows, which are retried by harvester/fetch/retry.py. The waits
# between them sum to about 45 seconds: enough for a server that restarts.
_ATTEMPTS = 9
_LONGEST_WAIT = 60.0  # seconds. If Retry-After is longer, the run ends, because nothing is done yet. Chosen
_PROJECTS_TO_SUGGEST_FROM = 1000
_MOST_CANDIDATES = 10

T = TypeVar("T")


class _ProjectFields(BaseDTO):
    """The fields of a project that are needed. Changes of other fields by the platform do no harm."""

    project_hash: str
    title: str
    last_edited_at: str = ""
    ontology_hash: str


class _WorkflowFields(BaseDTO):
    """The workflow of a project; None if it has none."""

    workflow: dict[str, Any] | None = None


class _DatasetFields(BaseDTO):
    """A dataset of a project."""

    dataset_hash: str
    title: str


class _DatasetsResponse(BaseDTO):
    results: list[_DatasetFields]


class _BranchFields(BaseDTO):
    name: str


class _PageQuery(BaseDTO):
    page_token: str | None = None


class _OntologyFields(BaseDTO):
    """The fields of an ontology that are needed."""

    editor: dict[str, Any]
    _sent: bytes | None = PrivateAttr(default=None)

    @classmethod
    def from_json(cls, answer: bytes) -> "_OntologyFields":
        """Parse an answer and keep the JSON of `editor`: parsing loses how numbers were written."""
        read = cls.from_dict(orjson.loads(answer))
        read._sent = bytes(msgspec.json.decode(answer, type=_OntologyResponse).editor)
        return read

    @property
    def as_sent(self) -> bytes:
        """Return the JSON of `editor` as sent; serialised again if the transport keeps no JSON."""
        return orjson.dumps(self.editor) if self._sent is None else self._sent


class _OntologyResponse(msgspec.Struct):
    editor: msgspec.Raw


class Session:
    """A read-only session. All methods block, and are thread-safe."""

    def __init__(self, connection: Connection, transport: Transport) -> None:
        self._connection = connection
        self._transport = transport
        self._route = Route(connection.domain, proxy_for(connection.domain))
        self._answered = False  # whether the server has answered any call

    @classmethod
    def open(cls, connection: Connection, credentials: Credentials | None = None) -> "Session":
        """Return a session with `credentials`, by default those of the connection. Sends no request yet.

        Raises:
            CredentialsRefused: there are no credentials, or they cannot be used.
            BadInput: the CA bundle or the proxy cannot be used, or this version of the SDK is unknown.
        """
        check_calls()
        config = sdk_config(connection, credentials or load_credentials(connection))
        make = PlainTransport if connection.transport == "sdk" else _pooled_transport()
        return cls(connection, make(connection, config))

    @property
    def connection(self) -> Connection:
        """Return the connection settings of the session."""
        return self._connection

    def projects(self) -> list[ProjectInfo]:
        """Return the projects that the credentials may read, without their ontologies."""
        return self._ask("list_projects", lambda: [_info(project) for project in self._listed(None)])

    def find_project(self, wanted: str) -> ProjectInfo:
        """Return the project with the hash or exact title `wanted`, with its ontology.

        Raises:
            BadInput: there is no such project, or several have the title; the message lists them.
            CredentialsRefused: the credentials are refused, or do not allow reading the project.
        """
        project = self._by_hash(wanted) if _is_hash(wanted) else None
        project = project or self._by_title(wanted)
        ontology = self._ask(
            "get_ontology", lambda: self._get(f"ontologies/{project.ontology_hash}", _OntologyFields)
        )
        return msgspec.structs.replace(_info(project), ontology=ontology.as_sent)

    def stages(self, project: ProjectInfo) -> list[str]:
        """Return the titles of the workflow's stages; empty if the platform does not provide them."""
        path = f"projects/{project.project_hash}"
        found = self._if_available("get_project", lambda: self._get(path, _WorkflowFields).workflow or {})
        stages = (found or {}).get("stages") or ()
        return [stage["title"] for stage in stages if stage.get("title")]

    def branches(self, project: ProjectInfo) -> list[str]:
        """Return the names of the branches, ``main`` first; empty if the platform does not provide them."""
        path = f"projects/{project.project_hash}/branches"
        found = self._if_available(
            "list_branches", lambda: [one.name for one in self._pages(path, _PageQuery(), _BranchFields)]
        )
        return ["main", *(name for name in found if name != "main")] if found is not None else []

    def datasets(self, project: ProjectInfo) -> dict[str, str]:
        """Return the titles of the datasets by hash; empty if the platform does not provide them."""
        path = f"projects/{project.project_hash}/datasets"
        found = self._if_available("list_datasets", lambda: self._get(path, _DatasetsResponse).results)
        return {dataset.dataset_hash: dataset.title for dataset in found or ()}

    @contextmanager
    def listing(
        self, project: ProjectInfo, selection: Selection, format: Format = Format()
    ) -> Iterator[Listing]:
        """Open the listing of all rows in `selection`, labelled or not, with the fields that `format` needs.

        Needs constant memory, except with `transport="sdk"`: the SDK keeps the whole listing in memory.

        Raises:
            CannotFinishNow: the listing cannot be fetched or read at present. Also raised by iterating over
                it.
        """
        with_metadata = selection.client_metadata or "rows" in format.kinds
        options = list_options(selection, with_metadata=with_metadata)
        operation = "list_label_rows"
        listed = self._ask(operation, lambda: self._transport.listing(project.project_hash, options))
        with listed as listing:
            yield _TranslatedListing(listing, partial(self._once, operation))

    def label_rows(
        self, project: ProjectInfo, selection: Selection, format: Format, *, as_sent: bool = False
    ) -> LabelRows:
        """Return the source of label rows of `project`, with the parts that `selection` and `format` need.

        With `as_sent`, each row comes as its JSON, even if no row records are written.
        """
        as_sent = as_sent or "rows" in format.kinds
        single, bundle = self._transport.label_rows(project.project_hash, as_sent=as_sent)
        return ProjectLabelRows(
            single,
            bundle,
            options_for(project, request_selection(selection, format)),
            route=self._route,
            check_access=lambda: self._may_read(project.project_hash),
        )

    def storage_items(self, uuids: Sequence[str], *, signed: bool = True) -> list[StorageItem]:
        """Return storage items, each with a signed URL if it is a single file. The URLs are secrets.

        Raises:
            CredentialsRefused, BadInput: one of them does not exist or may not be read.
        """
        return self._ask("get_storage_items", lambda: items_of(self._transport.api, uuids, signed=signed))

    def storage_children(self, item: StorageItem) -> list[StorageItem]:
        """Return the items that an item is made of, as `storage_items` does."""
        return self._ask("get_child_items", lambda: children_of(self._transport.api, item))

    def scene_links(self, uuid: str) -> dict[str, str]:
        """Return the signed URLs of a scene's files, by the address that each has in the scene."""
        return self._ask("read_scene", lambda: scene_links(self._transport.api, uuid))

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    # -- projects ---------------------------------------------------------------------------------

    def _get(self, path: str, result_type: type[T]) -> T:
        return self._transport.api.get(path, None, result_type)  # type: ignore[type-var]  # all of ours are DTOs

    def _listed(self, title: str | None) -> Iterator[_ProjectFields]:
        return self._pages("projects", ProjectFilterParams(title_eq=title), _ProjectFields)

    def _pages(self, path: str, query: Any, result_type: type[T]) -> Iterator[T]:
        """Yield the items of all pages. (The SDK's iterator never ends if the last page's token is ''.)"""
        while True:
            page = self._transport.api.get(path, query, Page[result_type])  # type: ignore[valid-type]  # as the SDK does
            yield from page.results
            if not page.next_page_token or page.next_page_token == query.page_token:
                return
            query.page_token = page.next_page_token

    def _may_read(self, project_hash: str) -> None:
        """Raise CredentialsRefused if the project may not be read. Do nothing if that cannot be found out."""
        try:
            self._translating("get_project", lambda: self._get(f"projects/{project_hash}", _ProjectFields))
        except CredentialsRefused:
            raise
        except HarvesterError:
            return

    def _by_hash(self, wanted: str) -> _ProjectFields | None:
        try:
            return self._ask("get_project", lambda: self._get(f"projects/{wanted}", _ProjectFields))
        except BadInput:
            return None  # there is no such hash: it may be a title that looks like one

    def _by_title(self, wanted: str) -> _ProjectFields:
        found = self._ask("list_projects", lambda: list(self._listed(wanted)))
        found = [project for project in found if project.title == wanted]
        if len(found) == 1:
            return found[0]
        if found:
            listed = ", ".join(
                f"{project.project_hash} (edited {project.last_edited_at[:10]})"
                for project in found[:_MOST_CANDIDATES]
            )
            raise BadInput(f"{len(found)} projects have the title {wanted!r}, name one by its hash: {listed}")
        titles = self._ask(
            "list_projects",
            lambda: [project.title for project in islice(self._listed(None), _PROJECTS_TO_SUGGEST_FROM)],
        )
        message = f"no project that these credentials can read has the hash or title {wanted!r}"
        raise BadInput("; ".join(filter(None, (message, did_you_mean(wanted, titles)))))

    # -- faults -----------------------------------------------------------------------------------

    def _ask(self, operation: str, call: Callable[[], T]) -> T:
        """Return what `call` returns, with retries if they may help. If it still fails, the run must end."""
        again = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(_ATTEMPTS),
            wait=_wait,
            retry=tenacity.retry_if_exception(self._should_retry),
            before_sleep=_report_retry,
            reraise=True,
        )
        try:
            answer: T = again(self._translating, operation, call)
            return answer
        except Retry as error:
            raise _stop(error) from error

    def _if_available(self, operation: str, call: Callable[[], T]) -> T | None:
        """Do as `_ask`, but return None if the platform refuses the call or lacks it. For optional facts."""
        try:
            return self._ask(operation, call)
        except (BadInput, CredentialsRefused):
            return None

    def _translating(self, operation: str, call: Callable[[], T]) -> T:
        """Return what `call` returns; translate its exceptions to our errors."""
        if self._connection.transport == "sdk":  # which only limits the time between two bytes
            call = partial(within, self._connection.request_deadline, call)
        try:
            answer = call()
        except Exception as error:
            raise faults.translate(error, asked="project", operation=operation, route=self._route) from error
        self._answered = True
        return answer

    def _should_retry(self, error: BaseException) -> bool:
        if not isinstance(error, Retry) or (not self._answered and faults.never_connected(error)):
            # No connection at the start: probably a wrong address, so do not retry. Later it is an outage.
            return False
        return (error.retry_after or 0) <= _LONGEST_WAIT

    def _once(self, operation: str, call: Callable[[], T]) -> T:
        """Return what `call` returns, without retries. If it fails, the run must end."""
        try:
            return self._translating(operation, call)
        except Retry as error:
            raise _stop(error) from error


class _TranslatedListing:
    """A listing whose reads go through `reading`, which translates exceptions to our errors."""

    def __init__(self, listing: Listing, reading: Callable[[Callable[[], Any]], Any]) -> None:
        self._listing = listing
        self._reading = reading

    def __iter__(self) -> Iterator[list[msgspec.Raw]]:
        items = iter(self._listing)
        while (some := self._reading(lambda: next(items, None))) is not None:
            yield some

    def digest(self) -> str | None:
        digest: str | None = self._reading(self._listing.digest)
        return digest


def _pooled_transport() -> Callable[[Connection, Config], Transport]:
    """Import the pooled transport late: if the SDK lacks an internal it needs, the plain one still works."""
    try:
        from harvester.encord.transport import PooledTransport
    except (ImportError, AttributeError) as error:
        raise unknown_sdk(str(error)) from error
    return PooledTransport


def _info(project: _ProjectFields) -> ProjectInfo:
    return ProjectInfo(
        project_hash=project.project_hash, title=project.title, last_edited_at=project.last_edited_at
    )


def _is_hash(text: str) -> bool:
    try:
        return len(text) == 36 and bool(UUID(text))
    except ValueError:
        return False


def _stop(error: Retry) -> CannotFinishNow:
    return CannotFinishNow(error.message, operation=error.operation, trace_id=error.trace_id)


def _report_retry(state: tenacity.RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    say("request.retried", {"operation": state.args[0], "error": str(error), "seconds": state.upcoming_sleep})


_jitter = tenacity.wait_exponential(multiplier=0.5, max=10) + tenacity.wait_random(0, 1)


def _wait(state: tenacity.RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    named = error.retry_after if isinstance(error, Retry) else None
    # Wait for the backoff even if Retry-After is 0.
    return max(named or 0.0, float(_jitter(state)))
