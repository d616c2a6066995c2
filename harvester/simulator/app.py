"""The simulated API as an ASGI application: from a request to its answer, and all that may go wrong."""

import asyncio
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http import HTTPStatus
from typing import Any

import msgspec

from harvester.simulator import v1
from harvester.simulator.delivery import Delivery, Receive, Send
from harvester.simulator.faults import Faults
from harvester.simulator.messages import Answer, Call, Refusal, Request
from harvester.simulator.site import Site
from harvester.simulator.v1 import V1Call
from harvester.simulator.v2 import PREFIX, V2Call

CONTROL = "/_simulator/"
CONNECTION = "harvester.simulator.connection"  # in the scope's extensions

# Seconds after a refusal in which a request does not count as sent inside its Retry-After: it may have been
# on its way already.
ON_ITS_WAY = 0.25
A_DAY = 86_400.0

_PAGE = (
    b"<!DOCTYPE html><html><head><title>Bad gateway</title></head><body><h1>Bad gateway</h1></body></html>\n"
)


class App:
    """ASGI application over a site.

    Args:
        on_faults: told of new faults, for what the application cannot do itself.
    """

    def __init__(self, site: Site, on_faults: Callable[[Faults], None]) -> None:
        self._site = site
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
        turned_away = self._turned_away(call)
        if turned_away is not None:
            return turned_away
        if (delay := self._delay(call)) and not await delivery.patience(delay):
            return Answer(503, [], strike="closed")
        answer = self._struck(call) or self._true_answer(call)
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
            answer = call.answer()
        except Refusal as refusal:
            stats.errors[refusal.code] += 1
            return call.error(refusal.code, refusal.payload)
        most = faults.max_response_bytes
        if most is not None and (answer.size or 0) > most:
            return self._plain(413)
        # A row that takes the whole answer down does so before anything is sent.
        return self._plain(int(answer.strike)) if answer.strike in ("413", "500") else answer

    # -- faults -----------------------------------------------------------------------------------

    @property
    def _now(self) -> float:
        """Seconds since the faults were set."""
        return asyncio.get_running_loop().time() - self._site.faults_since

    def _turned_away(self, call: Call) -> Answer | None:
        """The answer to a request that is not even looked at: outage, rate limit."""
        site, faults, now = self._site, self._site.faults, self._now
        if faults.down or any(start <= now < end for start, end in faults.outages):
            site.stats.in_outage += 1
            return self._plain(503) if faults.outage_as == "503" else Answer(503, [b""], strike="closed")
        if site.gate_since + ON_ITS_WAY <= now < site.gate_until:
            site.stats.in_retry_after += 1
        full = faults.max_in_flight is not None and site.stats.in_flight > faults.max_in_flight
        wait = 1.0 if full else site.limiter.admit(now)
        if not wait:
            return None
        return self._refused(call, wait)

    def _refused(self, call: Call, wait: float) -> Answer:
        self._site.stats.refused += 1
        headers = self._retry_after(wait)
        if self._site.faults.refused_as == "status":
            return self._plain(429, headers)
        answer = call.error("RATE_LIMIT_ERROR")
        answer.headers = headers
        return answer

    def _retry_after(self, wait: float) -> tuple[tuple[str, str], ...]:
        """The header that asks for a pause, and the gate that it closes."""
        faults, site, now = self._site.faults, self._site, self._now
        seconds = math.ceil(faults.retry_after_seconds or wait)
        match faults.retry_after:
            case "seconds":
                value = str(seconds)
            case "date":
                # Whole seconds: rounded up, so that nobody is asked to come too early.
                then = datetime.now(UTC) + timedelta(seconds=seconds + 1)
                value = format_datetime(then.replace(microsecond=0), usegmt=True)
            case "garbage":
                return (("retry-after", "soon, perhaps"),)
            case "day":
                seconds, value = int(A_DAY), str(int(A_DAY))
            case "none":
                return ()
        if now >= site.gate_until:
            site.gate_since = now
        site.gate_until = max(site.gate_until, now + seconds)
        return (("retry-after", value),)

    def _delay(self, call: Call) -> float:
        faults, site = self._site.faults, self._site
        delay = faults.latency + faults.latency_per_row * call.rows
        if faults.jitter:
            delay += faults.jitter * site.random.random()
        if faults.slow_above is not None and site.stats.in_flight > faults.slow_above:
            delay *= (site.stats.in_flight / faults.slow_above) ** 2
        return delay

    def _struck(self, call: Call) -> Answer | None:
        """The answer that a strike makes of this request; None if it is not its turn."""
        site, faults = self._site, self._site.faults
        if not faults.strikes or not ("*" in faults.on or call.kind in faults.on):
            return None
        if faults.every is not None and (site.turn("request") + 1) % faults.every:
            return None
        if site.random.random() >= faults.probability:
            return None
        number = site.turn("strike")
        if faults.times is not None and number >= faults.times:
            return None
        return self._strike(call, faults.strikes[number % len(faults.strikes)])

    def _strike(self, call: Call, strike: str) -> Answer:
        if strike in ("truncated", "stalled", "trickle", "reset", "mute", "closed", "bomb"):
            answer = self._true_answer(call)
            answer.strike = strike
            return answer
        self._site.stats.struck[strike] += 1
        match strike:
            case "html":
                return Answer(502, [_PAGE], content_type="text/html")
            case "html_200":
                return Answer(200, [_PAGE], content_type="text/html")
            case "not_json":
                return Answer(200, [b'{"status": 200, "response": [{"label_hash": '])
            case "redirect":
                elsewhere = f"https://elsewhere.invalid{call.request.target}"
                return Answer(307, [b""], headers=(("location", elsewhere),))
            case "429":
                self._site.stats.refused += 1
                return self._plain(429, self._retry_after(1.0))
        return self._plain(int(strike)) if strike.isdecimal() else call.error(strike)

    def _plain(self, status: int, headers: tuple[tuple[str, str], ...] | None = None) -> Answer:
        """A failure of what stands in front of the API: an HTTP status and a message."""
        self._site.stats.errors[str(status)] += 1
        if headers is None:
            headers = self._retry_after(1.0) if status == 503 else ()
        message = {"message": HTTPStatus(status).phrase}
        return Answer(status, [msgspec.json.encode(message)], headers=headers)

    # -- control ----------------------------------------------------------------------------------

    def _control(self, request: Request) -> Answer:
        """Statistics, faults and edits; for the test that drives the simulator, so without a signature."""
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
                    self._site.edit(msgspec.json.decode(request.body, type=dict[str, Any]))
                    return Answer(200, [b"{}"])
        except (msgspec.MsgspecError, TypeError, ValueError, KeyError) as exc:
            return Answer(400, [msgspec.json.encode({"message": str(exc)})])
        return Answer(404, [msgspec.json.encode({"message": "no such control"})])

    def set_faults(self, faults: Faults) -> None:
        """From now on, these faults and no others."""
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
