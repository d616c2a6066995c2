"""The head of an answer, read without the standard library's parser where it is of the usual kind.

`http.client` parses headers as mail, which is a twelfth of what a call of one row costs.
"""

import http.client
import re

# A status line and whole lines of header fields: nothing folded, no space before a colon, ASCII alone.
_USUAL = re.compile(
    rb"HTTP/1\.1 ([2-5][0-9][0-9]) ([\x20-\x7e]*)\r\n((?:[A-Za-z0-9_-]+:[\x20-\x7e]*\r\n)+)\r\n"
)
_FIELDS = 100  # http.client takes fewer
_NO_BODY = (b"204", b"304")


class Response(http.client.HTTPResponse):
    """An answer to a request that is not HEAD."""

    def begin(self) -> None:
        """As its base, which reads what is chunked, has no length, or is not there in one piece."""
        head = _USUAL.match(self.fp.peek())
        message = _message(head[3]) if head and head[1] not in _NO_BODY else None
        if head is None or message is None:
            super().begin()
            return
        self.fp.read(head.end())
        self.code = self.status = int(head[1])
        self.reason = head[2].decode().strip()
        self.version = 11
        self.headers = self.msg = message
        self.length = int(message["Content-Length"])
        self.chunked = self.will_close = False


def _message(lines: bytes) -> http.client.HTTPMessage | None:
    """The header fields, if they say how long the body is, and that the connection is kept."""
    fields = [line.partition(":") for line in lines.decode().splitlines()]
    message = http.client.HTTPMessage()
    for name, _, value in fields:
        message[name] = value.lstrip()
    kept = message.get("Connection", "keep-alive").lower() == "keep-alive"
    usual = kept and "Transfer-Encoding" not in message and len(fields) < _FIELDS
    return message if usual and message.get("Content-Length", "").isdecimal() else None
