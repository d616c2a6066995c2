"""One open session with the platform: its projects, their listings, their label rows."""

from collections.abc import Callable, Iterator
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
from harvester.encord.label_rows import ProjectLabelRows, options_for
from harvester.encord.project import ProjectInfo
from harvester.encord.sdk import Listing, PlainTransport, Transport, list_options, sdk_config
from harvester.encord.sdk_version import unknown_sdk
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

# Calls before the first label row are asked again here; who fetches label rows does it by himself.
# Their waits sum to three quarters of a minute: a server that is restarted is waited for.
_ATTEMPTS = 9
_LONGEST_WAIT = 60.0  # seconds: a server that asks for more is not waited for before anything is done
_PROJECTS_TO_SUGGEST_FROM = 1000
_MOST_CANDIDATES = 10

T = TypeVar("T")


class _ProjectFields(BaseDTO):
    """As much of a project as is needed: what else the platform adds or changes does not matter here."""

    project_hash: str
    title: str
    last_edited_at: str = ""
    ontology_hash: str


class _WorkflowFields(BaseDTO):
    """The workflow of a project, None where it has none."""

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
    """As much of an ontology as is needed. `as_sent` is the editor structure's JSON."""

    editor: dict[str, Any]
    _sent: bytes | None = PrivateAttr(default=None)

    @classmethod
    def from_json(cls, answer: bytes) -> "_OntologyFields":
        """The same from the bytes of an answer, which are kept: parsing loses the spelling of numbers."""
        read = cls.from_dict(orjson.loads(answer))
        read._sent = bytes(msgspec.json.decode(answer, type=_OntologyResponse).editor)
        return read

    @property
    def as_sent(self) -> bytes:
        """Written anew where the transport hands on what it has parsed."""
        return orjson.dumps(self.editor) if self._sent is None else self._sent


class _OntologyResponse(msgspec.Struct):
    editor: msgspec.Raw


class Session:
    """Reads, and cannot write. Blocking, and safe to use from many threads."""

    def __init__(self, connection: Connection, transport: Transport) -> None:
        self._connection = connection
        self._transport = transport
        self._route = Route(connection.domain, proxy_for(connection.domain))
        self._answered = False

    @classmethod
    def open(cls, connection: Connection, credentials: Credentials | None = None) -> "Session":
        """A session with `credentials`, or else the connection's. Asks nothing of the server yet.

        Raises:
            CredentialsRefused: there are no credentials, or they cannot be used.
            BadInput: the CA bundle or the proxy cannot be used, or the SDK is not one that we know.
        """
        check_calls()
        config = sdk_config(connection, credentials or load_credentials(connection))
        make = PlainTransport if connection.transport == "sdk" else _pooled_transport()
        return cls(connection, make(connection, config))

    @property
    def connection(self) -> Connection:
        """What the session was opened with."""
        return self._connection

    def projects(self) -> list[ProjectInfo]:
        """The projects that the credentials may read, without their ontologies."""
        return self._ask("list_projects", lambda: [_info(project) for project in self._listed(None)])

    def find_project(self, wanted: str) -> ProjectInfo:
        """The project with the hash or exact title `wanted`, with its ontology.

        Raises:
            BadInput: there is none, or several have the title; the message lists them.
            CredentialsRefused: the credentials are refused, or may not read it.
        """
        project = self._by_hash(wanted) if _is_hash(wanted) else None
        project = project or self._by_title(wanted)
        ontology = self._ask(
            "get_ontology", lambda: self._get(f"ontologies/{project.ontology_hash}", _OntologyFields)
        )
        return msgspec.structs.replace(_info(project), ontology=ontology.as_sent)

    def stages(self, project: ProjectInfo) -> list[str]:
        """The titles of the workflow's stages; none where the platform does not tell them."""
        path = f"projects/{project.project_hash}"
        found = self._if_told("get_project", lambda: self._get(path, _WorkflowFields).workflow or {})
        stages = (found or {}).get("stages") or ()
        return [stage["title"] for stage in stages if stage.get("title")]

    def branches(self, project: ProjectInfo) -> list[str]:
        """The names of the branches, ``main`` among them; none where the platform does not tell them."""
        path = f"projects/{project.project_hash}/branches"
        found = self._if_told(
            "list_branches", lambda: [one.name for one in self._pages(path, _PageQuery(), _BranchFields)]
        )
        return ["main", *(name for name in found if name != "main")] if found is not None else []

    def datasets(self, project: ProjectInfo) -> dict[str, str]:
        """The titles of the datasets by their hashes; none where the platform does not tell them."""
        path = f"projects/{project.project_hash}/datasets"
        found = self._if_told("list_datasets", lambda: self._get(path, _DatasetsResponse).results)
        return {dataset.dataset_hash: dataset.title for dataset in found or ()}

    @contextmanager
    def listing(
        self, project: ProjectInfo, selection: Selection, format: Format = Format()
    ) -> Iterator[Listing]:
        """All rows that the server lists for `selection`, labelled or not, with what `format` needs of them.

        Memory stays flat, but for `transport="sdk"`, where the SDK holds them all.

        Raises:
            CannotFinishNow: the listing cannot be had, or read, now. Also while it is read.
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
        """The label rows of `project`, with what `selection` and `format` need and nothing else.

        `as_sent` wants each row's JSON even where no row records are emitted.
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

    def close(self) -> None:
        """Closes the connections."""
        self._transport.close()

    # -- projects ---------------------------------------------------------------------------------

    def _get(self, path: str, result_type: type[T]) -> T:
        return self._transport.api.get(path, None, result_type)  # type: ignore[type-var]  # all of ours are DTOs

    def _listed(self, title: str | None) -> Iterator[_ProjectFields]:
        return self._pages("projects", ProjectFilterParams(title_eq=title), _ProjectFields)

    def _pages(self, path: str, query: Any, result_type: type[T]) -> Iterator[T]:
        """Page after page. The SDK's own iterator never ends where the last page's token is ''."""
        while True:
            page = self._transport.api.get(path, query, Page[result_type])  # type: ignore[valid-type]  # as the SDK does
            yield from page.results
            if not page.next_page_token or page.next_page_token == query.page_token:
                return
            query.page_token = page.next_page_token

    def _may_read(self, project_hash: str) -> None:
        """Raises CredentialsRefused if the project is refused; where that cannot be learnt, nothing."""
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
            return None  # not known: a title may look like a hash

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
        """`call`, asked again a few times where that may help; what still fails then stops the run."""
        again = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(_ATTEMPTS),
            wait=_wait,
            retry=tenacity.retry_if_exception(self._worth_asking_again),
            before_sleep=_tell,
            reraise=True,
        )
        try:
            answer: T = again(self._translating, operation, call)
            return answer
        except Retry as error:
            raise _stop(error) from error

    def _if_told(self, operation: str, call: Callable[[], T]) -> T | None:
        """`_ask`, but None where the platform refuses it or has no such call: an export can do without."""
        try:
            return self._ask(operation, call)
        except (BadInput, CredentialsRefused):
            return None

    def _translating(self, operation: str, call: Callable[[], T]) -> T:
        try:
            answer = call()
        except Exception as error:
            raise faults.translate(error, asked="project", operation=operation, route=self._route) from error
        self._answered = True
        return answer

    def _worth_asking_again(self, error: BaseException) -> bool:
        if not isinstance(error, Retry) or (not self._answered and faults.never_connected(error)):
            return False  # nobody there from the start: a wrong address; later it is an outage
        return (error.retry_after or 0) <= _LONGEST_WAIT

    def _once(self, operation: str, call: Callable[[], T]) -> T:
        """`call`, which is not asked again: where it fails, it stops the run."""
        try:
            return self._translating(operation, call)
        except Retry as error:
            raise _stop(error) from error


class _TranslatedListing:
    """A listing, each of whose reads goes through `reading`, which names what goes wrong."""

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
    """Imported late: if what it stands on is gone from the SDK, the plain transport still works."""
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


def _tell(state: tenacity.RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    say("request.retried", {"operation": state.args[0], "error": str(error), "seconds": state.upcoming_sleep})


_jitter = tenacity.wait_exponential(multiplier=0.5, max=10) + tenacity.wait_random(0, 1)


def _wait(state: tenacity.RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    named = error.retry_after if isinstance(error, Retry) else None
    return max(named or 0.0, float(_jitter(state)))  # a Retry-After of 0 is no leave to hammer
