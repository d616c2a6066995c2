"""The v1 endpoint: ``POST /public`` and ``POST /public/user``; envelopes, query types and methods."""

from collections.abc import Iterator
from itertools import chain
from typing import Any

import msgspec

from harvester.simulator.corruptions import corrupted, corrupted_item, retitled
from harvester.simulator.faults import LISTED_TWICE
from harvester.simulator.messages import Answer, Refusal, Request
from harvester.simulator.projects import with_user_role
from harvester.simulator.site import Site

PIECE = 1 << 16  # bytes of a streamed answer

# Faults of a row that affect the whole answer, and the strike that they amount to.
_STRIKES = {"error_500": "500", "too_large": "413", "hang": "stalled", "bomb": "bomb"}


class Values(msgspec.Struct):
    uid: Any = None
    payload: Any = None


class Body(msgspec.Struct):
    query_type: str
    query_method: str
    values: Values = msgspec.field(default_factory=Values)


_DECODER = msgspec.json.Decoder(Body)


class V1Call:
    """One v1 call.

    Raises:
        Refusal: the body is not a call.
    """

    def __init__(self, request: Request, site: Site) -> None:
        self.request = request
        self._site = site
        try:
            self._body = _DECODER.decode(request.body)
        except (msgspec.DecodeError, UnicodeDecodeError) as exc:
            raise Refusal("INVALID_ARGUMENTS_ERROR", f"not a call: {exc}") from exc
        self.kind = f"{self._body.query_type}/{self._body.query_method}"
        self.mutates = self._body.query_method != "GET"

    @property
    def rows(self) -> int:
        uid = self._body.values.uid
        return len(uid) if isinstance(uid, list) else int(isinstance(uid, str))

    def files(self) -> tuple[()]:
        return ()

    def authentic(self) -> bool:
        return self._site.authenticator.knows_v1(self.request)

    def error(self, code: str, payload: object = None) -> Answer:
        return error(code, payload)

    def answer(self) -> Answer:
        uid = self._body.values.uid
        payload = self._body.values.payload or {}
        if self.request.path == "/public/user":
            if self.kind != "projectwithuserrole/GET":
                raise Refusal("METHOD_NOT_ALLOWED_ERROR")
            hostile = self._site.faults.hostile_titles
            found = self._site.projects.matching(payload.get("filter") or {}, hostile=hostile)
            return success(msgspec.json.encode([with_user_role(project) for project in found]))
        if self.request.header("resourcetype") != "project":
            raise Refusal("AUTHORISATION_ERROR")
        own = self._site.is_own(self._site.open_project(self.request.header("resourceid")))
        match self.kind:
            case "labelrowmetadata/GET":
                return self._listing(payload) if own else success(b"[]")
            case "labelrow/GET" if own:
                return self._one(uid, payload) if isinstance(uid, str) else self._many(uid or [], payload)
            case "labelrow/PUT" if own:
                return self._create(uid, payload)
            case "labelrow/POST" if own:
                return success(b"true")
        raise Refusal("METHOD_NOT_ALLOWED_ERROR" if own else "RESOURCE_NOT_FOUND_ERROR")

    def _listing(self, payload: dict[str, Any]) -> Answer:
        site = self._site
        query = {key: value for key, value in payload.items() if key not in site.faults.ignored_filters}
        try:
            items = site.world.listing(query)
            if site.faults.plays(*LISTED_TWICE):
                items = chain(items, site.world.listed_again(query, site.row_trouble))
        except ValueError as exc:
            raise Refusal("INVALID_ARGUMENTS_ERROR", str(exc)) from exc
        return Answer(200, self._listing_pieces(items), compressible=True)

    def _listing_pieces(self, items: Iterator[bytes]) -> Iterator[bytes]:
        """Yield the listing as it is made, so that only a piece of it is in memory."""
        changed = self._site.hostile_rows or self._site.troubles_listed
        lead, piece, size = b'{"status": 200, "response": [', list[bytes](), 0
        for item in items:
            item = self._corrupted_item(item) if changed else item
            piece.append(item)
            size += len(item)
            if size > PIECE:
                yield lead + b",".join(piece)
                lead, piece, size = b",", [], 0
        yield (lead if piece or lead != b"," else b"") + b",".join(piece) + b"]}"

    def _corrupted_item(self, item: bytes) -> bytes:
        """Return a listing's item with the fault of its row."""
        label_hash = msgspec.json.decode(item).get("label_hash")
        place = self._site.hostile_rows.get(label_hash)
        item = item if place is None else retitled(item, place)
        trouble = self._site.row_trouble(label_hash) if label_hash else None
        return corrupted_item(item, trouble) if trouble else item

    def _one(self, label_hash: str, payload: dict[str, Any]) -> Answer:
        if self._site.row_trouble(label_hash) == "forbidden":
            raise Refusal("AUTHORISATION_ERROR")
        row = self._row(label_hash, payload, bundled=False)
        if row is None:
            raise Refusal("RESOURCE_NOT_FOUND_ERROR")
        return self._with_strike(success(row, rows=1), [label_hash])

    def _many(self, asked: list[str], payload: dict[str, Any]) -> Answer:
        """Answer a list of label rows: without duplicates, shuffled, without rows that do not exist."""
        maximum = self._site.faults.max_rows
        if maximum is not None and len(asked) > maximum:
            raise Refusal("MULTI_LABEL_LIMIT_ERROR", {"maximum_labels_allowed": maximum})
        if not all(isinstance(label_hash, str) for label_hash in asked):
            raise Refusal("INVALID_ARGUMENTS_ERROR", "a label hash is a string")
        hashes = list(dict.fromkeys(asked))
        self._site.random.shuffle(hashes)
        rows = [
            row for row in (self._row(found, payload, bundled=True) for found in hashes) if row is not None
        ]
        match self._site.bundle_trouble():
            case "missing":
                del rows[:1]
            case "duplicate":
                rows += rows[:1]
            case "foreign":
                other = self._site.another_row(set(asked))
                rows[:1] = [row for row in (other and self._row(other, payload, bundled=True),) if row]
        return self._with_strike(success(*_listed(rows), rows=len(rows)), hashes)

    def _row(self, label_hash: str, payload: dict[str, Any], *, bundled: bool) -> bytes | None:
        """Return the row as it is sent; None if it does not exist, or not for this user."""
        trouble = self._site.row_trouble(label_hash)
        if trouble in ("deleted", "forbidden") or (bundled and trouble == "unbundled"):
            return None
        wanted = self._site.another_row({label_hash}) if trouble == "foreign" else label_hash
        row = self._site.world.label_row(
            wanted or label_hash,
            reviews=bool(payload.get("include_reviews")),
            signed_urls=bool(payload.get("get_signed_url")),
            object_feature_hashes=payload.get("include_object_feature_hashes"),
            classification_feature_hashes=payload.get("include_classification_feature_hashes"),
            # Only the bundled call has this argument.
            include_archived=bundled and bool(payload.get("include_archived")),
            stale=trouble == "stale" and self._site.is_stale(label_hash),
        )
        if row is None:
            return None
        if label_hash in self._site.hostile_rows:
            row = retitled(row, self._site.hostile_rows[label_hash])
        return row if trouble is None else corrupted(row, trouble)

    def _with_strike(self, answer: Answer, hashes: list[str]) -> Answer:
        """Return the answer with the fault that one of its rows causes for all of it."""
        for trouble in filter(None, map(self._site.row_trouble, hashes)):
            if trouble == "corrupt":
                raise Refusal("CORRUPTED_LABEL_ERROR")
            answer.strike = answer.strike or _STRIKES.get(trouble)
        return answer

    def _create(self, uid: object, payload: dict[str, Any]) -> Answer:
        """Make label rows for data units: the SDK's `initialise_labels()` on a row without one. A write."""
        hashes = uid if isinstance(uid, list) else [uid]
        branch, signed = payload.get("branch_name") or "main", bool(payload.get("get_signed_url"))
        made = [
            self._site.world.create(str(data_hash), branch, signed_urls=signed)
            for data_hash in dict.fromkeys(hashes)
        ]
        self._site.stats.label_rows_made = self._site.world.label_rows_made
        rows = [row for row in made if row is not None]
        if len(rows) < len(made):
            raise Refusal("RESOURCE_NOT_FOUND_ERROR")
        return success(*_listed(rows)) if isinstance(uid, list) else success(rows[0])


def success(*response: bytes, rows: int = 0) -> Answer:
    """Return an answer of success with JSON, which may come in pieces."""
    return Answer(200, [b'{"status": 200, "response": ', *response, b"}"], compressible=True, rows=rows)


def _listed(items: list[bytes]) -> Iterator[bytes]:
    """Yield the pieces of a JSON list. Rows are large, so they are not joined before they are sent."""
    yield b"["
    for place, item in enumerate(items):
        if place:
            yield b","
        yield item
    yield b"]"


def error(code: str, payload: object = None) -> Answer:
    """Return an error envelope: HTTP status 200, with another status in the body."""
    body: dict[str, object] = {"status": 400, "response": [code]}
    if payload is not None:
        body["payload"] = payload
    return Answer(200, [msgspec.json.encode(body)], compressible=True)
