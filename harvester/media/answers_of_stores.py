"""What a store's answer to a GET means: the file, a part of it, or which error. Pure."""

import re
from collections.abc import Mapping

import msgspec

from harvester.encord.faults import parse_retry_after
from harvester.errors import HarvesterError, RateLimited, SkipRow, Unavailable

_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})", re.ASCII)
_LENGTH = re.compile(r"\d{1,18}", re.ASCII)
_HTML = re.compile(rb"\s*(?:<!doctype\s+html|<html[\s>])", re.IGNORECASE)
# Not compressed: some stores send an empty value, and some keep the "aws-chunked" of the upload.
_AS_IT_IS = ("", "identity", "aws-chunked")
# What a store answers to a URL that has expired: 403, and 400 where that is Google's ("ExpiredToken").
_LINK_REFUSED = (400, 401, 403)


class LinkRefused(Exception):
    """The store refuses the URL. It may have expired: ask for another one."""


class FileStart(msgspec.Struct):
    """What an answer says of the file.

    `first` is the position of the first byte of the body, `total` the size of the file, None if unknown.
    `validator` is what identifies these bytes in `If-Range` (RFC 9110, 13.1.5), if there is one.
    """

    first: int
    total: int | None
    validator: str | None


def start_of(status: int, headers: Mapping[str, str], *, asked_from: int) -> FileStart:
    """Return what a successful answer says of the file. The bytes from `asked_from` on were asked for.

    Raises:
        LinkRefused: the URL is refused.
        RateLimited, Unavailable: a retry may help.
        SkipRow: there is no such file, or it cannot be read.
    """
    if status not in (200, 206):
        raise _error_of(status, headers)
    if (encoding := headers.get("Content-Encoding", "").strip()[:20]).lower() not in _AS_IT_IS:
        raise SkipRow(f"the store sends the file compressed ({encoding}), though asked not to")
    validator = _validator(headers)
    if status == 200:
        length = headers.get("Content-Length", "")
        return FileStart(0, int(length) if _LENGTH.fullmatch(length) else None, validator)
    found = _RANGE.fullmatch(headers.get("Content-Range", ""))
    if found is None or int(found[1]) != asked_from or int(found[2]) + 1 != int(found[3]):
        raise Unavailable("the store answers with another part of the file than was asked for")
    return FileStart(asked_from, int(found[3]), validator)


def check_content(data: bytes, headers: Mapping[str, str], mime_type: str | None, path: str) -> None:
    """Raise SkipRow if the answer is an HTML page, and the file is not: an error page, or a login page.

    `data` are the first bytes of the file. If nothing says what the file is, it may be a page.
    """
    unknown = mime_type is None and path.endswith(".bin")
    is_text = path.endswith((".html", ".htm", ".xhtml", ".txt")) or (mime_type or "").startswith("text/")
    is_text = is_text or unknown
    sent = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if not is_text and (sent == "text/html" or _HTML.match(data)):
        raise SkipRow("the store sends a web page instead of the file")


def is_complete(headers: Mapping[str, str], size: int) -> bool:
    """Return whether an answer with status 416 says that the file has this size: nothing of it is missing."""
    return size > 0 and headers.get("Content-Range") == f"bytes */{size}"


def _error_of(status: int, headers: Mapping[str, str]) -> HarvesterError | LinkRefused:
    retry_after = parse_retry_after(headers.get("Retry-After"), headers.get("Date"))
    if status in _LINK_REFUSED:
        return LinkRefused(f"the store refuses the URL (status {status})")
    if status in (404, 410):
        return SkipRow(f"the store has no such file (status {status})", failure="gone")
    if status == 429:
        return RateLimited("the store limits the rate (status 429)", retry_after=retry_after)
    if status in (408, 416, 425) or status >= 500:
        return Unavailable(f"the store failed (status {status})", retry_after=retry_after)
    return SkipRow(f"the store answers with status {status}")


def _validator(headers: Mapping[str, str]) -> str | None:
    tag = headers.get("ETag", "")
    if tag.startswith('"') and tag.endswith('"') and len(tag) > 1:  # a weak one does not identify bytes
        return tag
    return headers.get("Last-Modified") if not tag else None
