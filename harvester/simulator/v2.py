"""The v2 API: ``/v2/public/...``; JSON in camel case, errors by HTTP status."""

import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from itertools import islice
from typing import Any, TypeVar
from urllib.parse import parse_qs

import msgspec
import orjson

from harvester.simulator.messages import Answer, Refusal, Request
from harvester.simulator.site import Site
from harvester.simulator.storage.catalogue import StoredFile

PREFIX = "/v2/public/"
# Small pages, so that every client has to follow page tokens.
PROJECTS_A_PAGE = 3
BRANCHES_A_PAGE = 2
TASKS_A_PAGE = 100
MOST_CLASSIFICATIONS = 1000  # label rows a call, as the SDK's documentation says
MOST_ITEMS = 1000  # storage items a call: a guess

_STATUS = {
    "INVALID_ARGUMENTS_ERROR": 400,
    "AUTHENTICATION_ERROR": 401,
    "AUTHORISATION_ERROR": 403,
    "RESOURCE_NOT_FOUND_ERROR": 404,
    "METHOD_NOT_ALLOWED_ERROR": 405,
    "RESOURCE_EXISTS_ERROR": 409,
    "RATE_LIMIT_ERROR": 429,
}
_HASH = r"([0-9a-fA-F-]{36})"


Body = TypeVar("Body", bound=msgspec.Struct)


class ClassificationsBody(msgspec.Struct, rename="camel"):
    label_uuids: list[str]
    branch_name: str = "main"


class ItemsBody(msgspec.Struct, rename="camel"):
    item_uuids: list[str]
    sign_urls: bool = False


class V2Call:
    """One v2 call."""

    def __init__(self, request: Request, site: Site) -> None:
        self.request = request
        self._site = site
        self._query = parse_qs(request.query)
        path = request.path.removeprefix(PREFIX).rstrip("/")
        self.kind = f"{request.method} {path}"
        self.mutates = request.method != "GET"
        self._answer: Callable[[], Answer] | None = None
        for method, pattern, name, handler in _ROUTES:
            found = pattern.fullmatch(path)
            if found is not None and method == request.method:
                arguments = found.groups()
                self.kind = f"{method} {name}"
                self.mutates = False
                self._answer = lambda: handler(self, *arguments)  # noqa: B023 - the loop ends here
                break

    @property
    def rows(self) -> int:
        return 0

    def files(self) -> list[StoredFile]:
        if "storage/" not in self.kind:
            return []
        uuids = re.findall(_HASH, self.request.path)[-1:]
        if self.kind.endswith("get-bulk"):
            with suppress(Refusal):
                uuids = self._body(ItemsBody).item_uuids[:MOST_ITEMS]
        found = [each.item for uuid in uuids if (each := self._site.world.store.find_item(uuid)) is not None]
        if self.kind.endswith("child-items"):
            found = [child for item in found for child in item.children]
        return [item.file for item in found if item.file is not None]

    def authentic(self) -> bool:
        return self._site.authenticator.knows_v2(self.request)

    def error(self, code: str, payload: object = None) -> Answer:
        return error(code, payload)

    def answer(self) -> Answer:
        if self._answer is None:
            raise Refusal("METHOD_NOT_ALLOWED_ERROR" if self.mutates else "RESOURCE_NOT_FOUND_ERROR")
        return self._answer()

    def projects(self) -> Answer:
        query = {_snake(name): values[0] for name, values in self._query.items()}
        hostile = self._site.faults.hostile_titles
        return self._page(self._site.projects.matching(query, hostile=hostile), PROJECTS_A_PAGE)

    def project(self, project_hash: str) -> Answer:
        return _success(self._site.open_project(project_hash))

    def ontology(self, ontology_hash: str) -> Answer:
        if ontology_hash.lower() != self._site.world.ontology_hash:
            raise Refusal("RESOURCE_NOT_FOUND_ERROR")
        return _success(self._ontology())

    def ontologies(self) -> Answer:
        return _success({"results": [self._ontology()]})

    def _ontology(self) -> dict[str, Any]:
        own = self._site.projects.own
        return {
            "ontologyUuid": self._site.world.ontology_hash,
            "title": f"Ontology of {own['title']}",
            "description": "",
            "editor": self._site.world.ontology(),
            "createdAt": own["createdAt"],
            "lastEditedAt": self._site.world.ontology_edited(),
            "userRole": own["userRole"],
        }

    def datasets(self, project_hash: str) -> Answer:
        own = self._site.is_own(self._site.open_project(project_hash))
        return _success({"results": self._site.world.datasets() if own else []})

    def branches(self, project_hash: str) -> Answer:
        own = self._site.is_own(self._site.open_project(project_hash))
        names = self._site.world.branches() if own else ["main"]
        return self._page(({"name": name} for name in names), BRANCHES_A_PAGE)

    def tasks(self, project_hash: str, stage: str) -> Answer:
        own = self._site.is_own(self._site.open_project(project_hash))
        tasks = self._site.world.tasks(stage) if own else []
        return self._page(filter(self._wanted, tasks), TASKS_A_PAGE)

    def _wanted(self, task: Mapping[str, Any]) -> bool:
        """Return whether a workflow task passes the query's filters."""
        allowed = {"dataHash": "dataHashes", "status": "statuses", "assignee": "userEmails"}
        contained = self._query.get("dataTitleContains", [""])[0]
        return contained in task["dataTitle"] and all(
            task.get(field) in self._query[name] for field, name in allowed.items() if name in self._query
        )

    def classifications(self, project_hash: str) -> Answer:
        own = self._site.is_own(self._site.open_project(project_hash))
        body = self._body(ClassificationsBody)
        if len(body.label_uuids) > MOST_CLASSIFICATIONS:
            raise Refusal("INVALID_ARGUMENTS_ERROR", f"at most {MOST_CLASSIFICATIONS} label rows")
        labels = self._site.world.classifications(body.label_uuids, body.branch_name) if own else []
        return _success({"labels": [orjson.Fragment(label) for label in labels]})

    def _body(self, kind: type[Body]) -> Body:
        try:
            return msgspec.json.decode(self.request.body, type=kind)
        except msgspec.DecodeError as exc:
            raise Refusal("INVALID_ARGUMENTS_ERROR", str(exc)) from exc

    def items(self) -> Answer:
        """Answer storage items, in the order asked for."""
        body = self._body(ItemsBody)
        if len(body.item_uuids) > MOST_ITEMS:
            raise Refusal("INVALID_ARGUMENTS_ERROR", f"at most {MOST_ITEMS} storage items")
        found = [self._site.items.one(uuid, signed=body.sign_urls) for uuid in body.item_uuids]
        return _success({"results": found})

    def item(self, uuid: str) -> Answer:
        return _success(self._site.items.one(uuid, signed=self._flag("signUrl")))

    def child_items(self, folder: str, uuid: str) -> Answer:
        found = self._site.items.children(folder, uuid, signed=self._flag("signUrls"))
        return _success({"results": found})

    def item_summary(self, folder: str, uuid: str) -> Answer:
        return _success(self._site.items.summary(uuid))

    def scene(self, uuid: str) -> Answer:
        return _success(self._site.items.scene(uuid))

    def _flag(self, name: str) -> bool:
        return self._query.get(name, [""])[0].lower() == "true"

    def _page(self, items: Iterable[Any], size: int) -> Answer:
        """Answer one page. The token is the number of the next page's first item, and never empty."""
        try:
            first = int(self._query.get("pageToken", ["0"])[0])
        except ValueError as exc:
            raise Refusal("INVALID_ARGUMENTS_ERROR", "no such page") from exc
        found = list(islice(items, first, first + size + 1))
        more = str(first + size) if len(found) > size else None
        return _success({"results": found[:size], "nextPageToken": more})


def error(code: str, payload: object = None) -> Answer:
    """Return an error: an HTTP status and a message."""
    return Answer(_STATUS.get(code, 422), [orjson.dumps({"message": str(payload or code)})])


def _success(response: object) -> Answer:
    return Answer(200, [orjson.dumps(response)])


def _snake(name: str) -> str:
    return re.sub("[A-Z]", lambda letter: "_" + letter[0].lower(), name)


def _route(
    method: str, path: str, handler: Callable[..., Answer]
) -> tuple[str, re.Pattern[str], str, Callable[..., Answer]]:
    return method, re.compile(path.replace("{}", _HASH)), path, handler


_ROUTES = (
    _route("GET", "projects", V2Call.projects),
    _route("GET", "projects/{}", V2Call.project),
    _route("GET", "ontologies", V2Call.ontologies),
    _route("GET", "ontologies/{}", V2Call.ontology),
    _route("GET", "projects/{}/datasets", V2Call.datasets),
    _route("GET", "projects/{}/branches", V2Call.branches),
    _route("GET", "projects/{}/workflow/stages/{}/tasks", V2Call.tasks),
    _route("POST", "projects/{}/label-rows/classifications", V2Call.classifications),
    _route("POST", "storage/items/get-bulk", V2Call.items),
    _route("GET", "storage/items/{}", V2Call.item),
    _route("GET", "storage/folders/{}/items/{}/child-items", V2Call.child_items),
    _route("GET", "storage/folders/{}/items/{}/summary", V2Call.item_summary),
    _route("GET", "scene/{}", V2Call.scene),
)
