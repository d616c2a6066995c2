"""The read-only guard: what may be sent, decided before a byte of it is.

The v1 endpoint takes reads and writes alike as POST; `query_method` in the body tells them apart. The
SDK's `initialise_labels()` on a row without labels sends PUT there, which creates a label row.
"""

import re

import msgspec

from harvester.errors import Stop

_READABLE_TYPES = frozenset({"labelrow", "labelrowmetadata"})
_READING_POSTS = re.compile(r"/v2/public/projects/[^/?#]+/label-rows/classifications")


class _CallHead(msgspec.Struct):
    query_type: str
    query_method: str


_decode_query = msgspec.json.Decoder(_CallHead).decode


def check_v1(body: str | bytes) -> None:
    """Lets a v1 request body through if it reads label rows or their listing.

    Raises:
        Stop: it would do anything else, or does not say what it would do.
    """
    try:
        query = _decode_query(body)
    except msgspec.MsgspecError as error:
        raise Stop("refused before sending: a v1 request that does not say what it does") from error
    if query.query_method != "GET" or query.query_type not in _READABLE_TYPES:
        raise Stop(f"refused before sending: {query.query_method} {query.query_type}; harvester only reads")


def check_v2(method: str | None, target: str) -> None:
    """Lets a v2 request through if it is a GET, or the one POST that reads.

    Raises:
        Stop: it is anything else.
    """
    path = target.partition("?")[0]
    if method != "GET" and not (method == "POST" and _READING_POSTS.fullmatch(path)):
        raise Stop(f"refused before sending: {method} {path}; harvester only reads")
