"""The read-only guard: refuse every request that does not only read, before anything is sent.

At the v1 endpoint both reads and writes are POST requests; `query_method` in the body tells which it is. For
example, the SDK's `initialise_labels()` sends the method PUT for a row without labels, which creates a label
row.
"""

import re

import msgspec

from harvester.errors import Stop

_READABLE_TYPES = frozenset({"labelrow", "labelrowmetadata"})
_READING_POSTS = re.compile(
    r"/v2/public/(?:projects/[^/?#]+/label-rows/classifications|storage/items/get-bulk)"
)


class _CallHead(msgspec.Struct):
    query_type: str
    query_method: str


_decode_query = msgspec.json.Decoder(_CallHead).decode


def check_v1(body: str | bytes) -> None:
    """Check that the body of a v1 request reads label rows or their listing.

    Raises:
        Stop: it does anything else, or does not say what it does.
    """
    try:
        query = _decode_query(body)
    except msgspec.MsgspecError as error:
        raise Stop("refused before sending: a v1 request that does not say what it does") from error
    if query.query_method != "GET" or query.query_type not in _READABLE_TYPES:
        raise Stop(f"refused before sending: {query.query_method} {query.query_type}; harvester only reads")


def check_v2(method: str | None, target: str) -> None:
    """Check that a v2 request is a GET, or one of the two POSTs that read.

    Raises:
        Stop: it is anything else.
    """
    path = target.partition("?")[0]
    if method != "GET" and not (method == "POST" and _READING_POSTS.fullmatch(path)):
        raise Stop(f"refused before sending: {method} {path}; harvester only reads")
