"""What is behind an exception: libraries wrap one in another, and some say with a text what they mean."""

import re
import ssl

import orjson
import urllib3.exceptions
from encord import exceptions as sdk

from harvester.encord.body import BrokenAnswer, TunnelFailed, TunnelRefused, UnreadableAnswer

# The words of Python's http.client for any answer to CONNECT but 200: it raises a bare OSError.
_NO_TUNNEL = re.compile(r"Tunnel connection failed: (\d{3})(.*)", re.S)
_BUSY = (408, 425, 429)  # of the statuses from 400 to 499, those that another attempt may mend


def chain_of(error: BaseException) -> list[BaseException]:
    """`error` and what caused it, also where libraries keep the cause among the arguments."""
    chain: list[BaseException] = []
    new: list[object] = [error]
    while new:
        found = new.pop(0)
        if isinstance(found, BaseException) and found not in chain:
            chain.append(found)
            new += [found.__cause__, getattr(found, "reason", None), *found.args]
    return chain


def cause_of(error: Exception) -> BaseException:
    """The exception that says most: of a wrapped one, what it wraps."""
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
