"""The simulated API as an ASGI application: answers each request, with the faults that are set."""

import asyncio
from collections.abc import Callable
from email.utils import format_datetime
from typing import Any

import msgspec

from harvester.simulator import v1
from harvester.simulator.delivery import Delivery, Receive, Send
from harvester.simulator.fault_injection import FaultInjector
from harvester.simulator.faults import Faults
from harvester.simulator.messages import Answer, Call, Refusal, Request
from harvester.simulator.site import Site
from harvester.simulator.v1 import V1Call
from harvester.simulator.v2 import PREFIX, V2Call

CONTROL = "/_simulator/"  # GET stats, GET or POST faults, POST edit
CONNECTION = "harvester.simulator.connection"  # in the scope's extensions


class App:
    """ASGI application over a site.

    Args:
        on_faults: called when faults are set, for those that the application cannot play (a closed port).
    """

    def __init__(self, site: Site, on_faults: Callable[[Faults], None]) -> None:
        self._site = site
        self._injector = FaultInjector(site)
        self._on_faults = on_faults

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        request = await _read(scope, receive)
        faults = self._site.faults
        connection = scope["extensions"][CONNECTION]
        delivery = Delivery(
            receive,
            send,
            connection.transport,
            gzip="gzip" in request.header("accept-encoding"),
            trickle=faults.trickle_seconds,
        )
        if request.path.startswith(CONTROL):
            await delivery.send(self._control(request))
            return
        stats = self._site.stats
        if not connection.counted:
            connection.counted = True
            stats.connections += 1
        stats.in_flight += 1
        stats.max_in_flight = max(stats.max_in_flight, stats.in_flight)
        try:
            await delivery.send(await self._api(request, delivery))
        finally:
            stats.in_flight -= 1
            stats.bytes_sent += delivery.bytes_sent

    async def _api(self, request: Request, delivery: Delivery) -> Answer:
        stats = self._site.stats
        stats.requests += 1
        try:
            call = self._understood(request)
        except Refusal as refusal:
            return v1.error(refusal.code, refusal.payload)
        stats.by_kind[call.kind] += 1
        if call.mutates:
            stats.mutations += 1
        refused = self._injector.refusal_of(call)
        if refused is not None:
            return refused
        delay = self._injector.delay(call)
        if delay and not await delivery.patience(delay, self._site.other_faults):
            return Answer(503, [], strike="closed")
        await self._site.world.store.make(call.files())
        answer = self._injector.strike(call, self._true_answer) or self._true_answer(call)
        if answer.strike is None:
            stats.rows_served += answer.rows
        else:
            stats.struck[answer.strike] += 1
        return answer

    def _understood(self, request: Request) -> Call:
        if request.path.startswith(PREFIX):
            return V2Call(request, self._site)
        if request.method != "POST" or request.path not in ("/public", "/public/user"):
            raise Refusal("RESOURCE_NOT_FOUND_ERROR")
        return V1Call(request, self._site)

    def _true_answer(self, call: Call) -> Answer:
        stats, faults = self._site.stats, self._site.faults
        try:
            if not call.authentic():
                stats.unauthentic += 1
                raise Refusal("AUTHENTICATION_ERROR")
            if faults.revoked:
                raise Refusal("AUTHENTICATION_ERROR")
            if faults.clock_ahead and not self._site.authenticator.is_in_time(
                call.request, self._site.clock()
            ):
                raise Refusal("AUTHENTICATION_ERROR", "the signature is too old, or of the future")
            answer = call.answer()
        except Refusal as refusal:
            stats.errors[refusal.code] += 1
            answer = call.error(refusal.code, refusal.payload)
            if faults.clock_ahead:
                answer.headers = (("date", format_datetime(self._site.clock(), usegmt=True)),)
            return answer
        most = faults.max_response_bytes
        if most is not None and (answer.size or 0) > most:
            return self._injector.plain(413)
        # A row that makes the whole answer fail does so before anything is sent.
        return self._injector.plain(int(answer.strike)) if answer.strike in ("413", "500") else answer

    def _control(self, request: Request) -> Answer:
        """Answer a request for statistics, faults or edits, by tests and users. They are not signed.

        `POST edit` takes `Edits` as JSON and answers `Edited`; `POST faults` replaces all `Faults`.
        """
        try:
            match request.method, request.path.removeprefix(CONTROL):
                case "GET", "stats":
                    return Answer(200, [msgspec.json.encode(self._site.stats.snapshot())])
                case "GET", "faults":
                    return Answer(200, [msgspec.json.encode(self._site.faults)])
                case "POST", "faults":
                    self.set_faults(msgspec.json.decode(request.body, type=Faults))
                    return Answer(200, [msgspec.json.encode(self._site.faults)])
                case "POST", "edit":
                    changes = msgspec.json.decode(request.body, type=dict[str, Any])
                    return Answer(200, [msgspec.json.encode(self._site.edit(**changes))])
        except (msgspec.MsgspecError, TypeError, ValueError, KeyError) as exc:
            return Answer(400, [msgspec.json.encode({"message": str(exc)})])
        return Answer(404, [msgspec.json.encode({"message": "no such control"})])

    def set_faults(self, faults: Faults) -> None:
        """Replace the faults."""
        self._site.set_faults(faults, asyncio.get_running_loop().time())
        self._on_faults(faults)


async def _read(scope: dict[str, Any], receive: Receive) -> Request:
    parts: list[bytes] = []
    more = True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
    return Request(
        method=scope["method"],
        target=target.decode("latin-1"),
        path=scope["path"],
        query=scope["query_string"].decode("latin-1"),
        headers=dict(scope["headers"]),
        body=b"".join(parts),
    )
