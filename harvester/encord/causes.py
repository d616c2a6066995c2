"""Find the cause of an exception: libraries wrap exceptions, and some tell the cause only in a text."""

import re
import ssl

import orjson
import urllib3.exceptions
from encord import exceptions as sdk

from harvester.encord.body import BrokenAnswer, TunnelFailed, TunnelRefused, UnreadableAnswer

# http.client raises a plain OSError with this text for any answer to CONNECT other than 200.
_NO_TUNNEL = re.compile(r"Tunnel connection failed: (\d{3})(.*)", re.S)
_BUSY = (408, 425, 429)  # the statuses from 400 to 499 for which a retry may help


def chain_of(error: BaseException) -> list[BaseException]:
    """Return `error` and its causes, including those that libraries keep in `reason` or in the arguments."""
    chain: list[BaseException] = []
    new: list[object] = [error]
    while new:
        found = new.pop(0)
        if isinstance(found, BaseException) and found not in chain:
            chain.append(found)
            new += [found.__cause__, getattr(found, "reason", None), *found.args]
    return chain


def cause_of(error: Exception) -> BaseException:
    """Return the exception that tells most about the cause of `error`: usually the innermost one."""
    chain = chain_of(error)
    for cause in chain:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return cause
        if isinstance(cause, OSError) and (found := _NO_TUNNEL.match(str(cause))):
            status, reason = int(found[1]), found[2].strip()
            final = 400 <= status < 500 and status not in _BUSY
            return TunnelRefused(status, reason) if final else TunnelFailed(f"{status} {reason}".strip())
    wrapped = [cause for cause in chain if isinstance(cause, urllib3.exceptions.HTTPError)]
    if wrapped:
        return wrapped[-1]
    for cause in chain:
        if isinstance(cause, orjson.JSONDecodeError):
            whole = cause.doc.startswith("{") and "unexpected end" not in cause.msg
            return (
                UnreadableAnswer("the answer is no valid JSON", cause.doc.encode())
                if whole
                else BrokenAnswer("the answer is no JSON")
            )
    return chain[1] if isinstance(error, sdk.RequestException) and len(chain) > 1 else error
