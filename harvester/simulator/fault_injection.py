"""Fault injection: outages, rate limits, delays and strikes, applied to each request."""

import asyncio
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http import HTTPStatus

import msgspec

from harvester.simulator.faults import Faults
from harvester.simulator.messages import Answer, Call
from harvester.simulator.site import Site

# Seconds after a refusal in which a request is not counted as breaking its Retry-After: it may have been sent
# before the refusal arrived.
ON_ITS_WAY = 0.5
A_DAY = 86_400.0

_PAGE = (
    b"<!DOCTYPE html><html><head><title>Bad gateway</title></head><body><h1>Bad gateway</h1></body></html>\n"
)


class FaultInjector:
    """Applies the faults of a site to requests."""

    def __init__(self, site: Site) -> None:
        self._site = site

    @property
    def _now(self) -> float:
        """Seconds since the faults were set."""
        return asyncio.get_running_loop().time() - self._site.faults_since

    def refusal_of(self, call: Call) -> Answer | None:
        """Return the answer to a request that an outage or a rate limit refuses, else None."""
        site, faults, now = self._site, self._site.faults, self._now
        if faults.down or any(start <= now < end for start, end in faults.outages):
            site.stats.in_outage += 1
            return self.plain(503) if faults.outage_as == "503" else Answer(503, [b""], strike="closed")
        if site.pause_since + ON_ITS_WAY <= now < site.pause_until:
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
            return self.plain(429, headers)
        answer = call.error("RATE_LIMIT_ERROR")
        answer.headers = headers
        return answer

    def _retry_after(self, wait: float) -> tuple[tuple[str, str], ...]:
        """Return the header that asks for a pause, and note how long clients should stay away."""
        site, now = self._site, self._now
        headers, seconds = retry_after(site.faults, wait)
        if seconds:
            if now >= site.pause_until:
                site.pause_since = now
            site.pause_until = max(site.pause_until, now + seconds)
        return headers

    def delay(self, call: Call) -> float:
        """Return the seconds until the answer starts. Other faults end the wait."""
        faults, site = self._site.faults, self._site
        if faults.hold_after is not None and call.kind == "labelrow/GET":
            if site.rows_admitted >= faults.hold_after:
                return math.inf
            site.rows_admitted += call.rows
        delay = faults.latency + faults.latency_per_row * call.rows
        if faults.jitter:
            delay += faults.jitter * site.random.random()
        if faults.slow_above is not None and site.stats.in_flight > faults.slow_above:
            delay *= (site.stats.in_flight / faults.slow_above) ** 2
        return delay

    def strike(self, call: Call, answered: Callable[[Call], Answer]) -> Answer | None:
        """Return what a strike makes of the answer that `answered` returns; None if no strike is due."""
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
        return self._struck(call, faults.strikes[number % len(faults.strikes)], answered)

    def _struck(self, call: Call, strike: str, answered: Callable[[Call], Answer]) -> Answer:
        if strike in ("truncated", "stalled", "trickle", "reset", "mute", "closed", "bomb"):
            answer = answered(call)
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
                return self._refused(call, 1.0)
        return self.plain(int(strike)) if strike.isdecimal() else call.error(strike)

    def plain(self, status: int, headers: tuple[tuple[str, str], ...] | None = None) -> Answer:
        """Return a failure as a proxy in front of the API reports it: an HTTP status and a message."""
        self._site.stats.errors[str(status)] += 1
        if headers is None:
            headers = self._retry_after(1.0) if status == 503 else ()
        message = {"message": HTTPStatus(status).phrase}
        return Answer(status, [msgspec.json.encode(message)], headers=headers)


def retry_after(faults: Faults, wait: float) -> tuple[tuple[tuple[str, str], ...], int]:
    """Return the header that asks for a pause of `wait` seconds, if any, and the seconds that it says."""
    seconds = math.ceil(wait if faults.retry_after_seconds is None else faults.retry_after_seconds)
    match faults.retry_after:
        case "seconds":
            value = str(seconds)
        case "date":
            # HTTP dates have whole seconds: round up, so that no client is told to come too early.
            then = datetime.now(UTC) + timedelta(seconds=seconds + 1)
            value = format_datetime(then.replace(microsecond=0), usegmt=True)
        case "garbage":
            value, seconds = "soon, perhaps", 0
        case "day":
            seconds, value = int(A_DAY), str(int(A_DAY))
        case "none":
            return (), 0
    return (("retry-after", value),), seconds
