"""Read the v1 envelope, ``{"status": 200, "response": ...}``, and the label rows in it.

See docs/wire-format.md.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from encord.http.common import RequestContext
from encord.http.error_utils import check_error_response
from encord.http.v2.error_utils import handle_error_response

from harvester.encord.body import BrokenAnswer, UnreadableAnswer
from harvester.fetch.source import RowsResponse
from harvester.labels.json_paths import paths_of, where
from harvester.labels.records import LARGE_ROW_BYTES
from harvester.labels.surrogates import has_invalid_text, replace_unpaired_surrogates
from harvester.labels.text import has_line_break
from harvester.labels.wire import LabelRow, Row

# Bytes. An answer larger than this contains large rows. Those stay in their raw form, because decoding them
# would hold them in memory twice. Chosen: four times the target size of a bundle.
_MOST_AT_ONCE = 8 * 1024**2

_NULL = msgspec.Raw(b"null")
_NOTHING = tuple(map(msgspec.Raw, (b"null", b"{}", b"[]", b'""', b"false", b"0")))


class _OfRow(msgspec.Struct):
    status: int
    response: LabelRow


class _OfRows(msgspec.Struct):
    status: int
    response: list[LabelRow]


class _OfMany(msgspec.Struct):
    status: int
    response: list[msgspec.Raw]


class _OfAny(msgspec.Struct):
    status: msgspec.Raw = _NULL
    response: msgspec.Raw = _NULL
    payload: msgspec.Raw = _NULL


class _Detail(msgspec.Struct):
    """The text of an error that came without an envelope."""

    message: Any = None
    detail: Any = None


_decode_row = msgspec.json.Decoder(_OfRow).decode
_decode_rows = msgspec.json.Decoder(_OfRows).decode
_decode_many = msgspec.json.Decoder(_OfMany).decode
_decode_any = msgspec.json.Decoder(_OfAny).decode
_decode_detail = msgspec.json.Decoder(_Detail).decode


def rows_of(
    body: bytes | bytearray, wire_bytes: int, *, many: bool, as_sent: bool, context: RequestContext
) -> RowsResponse | None:
    """Return the label rows in `body`, or None if the envelope is empty.

    Rows in raw form are slices of `body`. Unless they are needed `as_sent`, ordinary rows are decoded
    together with the envelope, which saves a second pass.

    Args:
        wire_bytes: size of the body on the network.
        many: whether several rows were requested, so that the response is a list.
        context: passed on to the SDK's exceptions.

    Raises:
        EncordException: the envelope reports an error. The SDK chooses the exception class.
        UnreadableAnswer: the body is complete, but not valid JSON.
        BrokenAnswer: the body is truncated, or not an envelope.
    """
    if not as_sent and (rows := _skeletons(body, many=many)):
        return RowsResponse(rows=rows, wire_bytes=wire_bytes, body_bytes=len(body))
    if many:
        try:
            envelope = _decode_many(body)
        except (msgspec.MsgspecError, RecursionError):
            pass  # an error message or unreadable: handled below
        else:
            if envelope.status == 200:
                return RowsResponse(rows=envelope.response, wire_bytes=wire_bytes, body_bytes=len(body))
    try:
        response = response_of(body, context=context)
    except UnreadableAnswer:
        answer = _with_pairs_only(body, wire_bytes, many=many, context=context)
        if answer is None:
            raise
        return answer
    if response in _NOTHING:  # compared without a copy
        return None
    if many:
        raise BrokenAnswer("the answer is no list of label rows")
    return RowsResponse(rows=[response], wire_bytes=wire_bytes, body_bytes=len(body))


def _with_pairs_only(
    body: bytes | bytearray, wire_bytes: int, *, many: bool, context: RequestContext
) -> RowsResponse | None:
    """Replace unpaired surrogate escapes in `body` by U+FFFD, and return its rows. None if there are none.

    For a body that `rows_of` cannot read. Raises what that raises.
    """
    readable = replace_unpaired_surrogates(body)
    if readable == body:
        return None
    answer = rows_of(readable, wire_bytes, many=many, as_sent=True, context=context)
    if answer is not None:
        answer.replaced = dict(_replaced(answer.rows, readable, memoryview(body)))
    return answer


def _replaced(rows: Sequence[Row], readable: bytes, body: memoryview) -> Iterator[tuple[int, str]]:
    """Yield the index of each row that was changed, and where in it.

    `rows` are slices of `readable`, in order. Compare each with the same bytes of `body`: replacing keeps the
    length.
    """
    end = 0
    for place, row in enumerate(rows):
        assert not isinstance(row, LabelRow)
        view = memoryview(row)
        start = readable.find(view, end)
        end = start + len(view)
        if body[start:end] != view:
            yield place, where(paths_of(body[start:end], has_invalid_text))


def _skeletons(body: bytes | bytearray, *, many: bool) -> list[LabelRow]:
    """Decode all rows at once. Return [] if anything is unusual: then they are read step by step."""
    if len(body) > (_MOST_AT_ONCE if many else LARGE_ROW_BYTES):
        return []
    try:
        if has_line_break(body):
            return []
        envelope = _decode_rows(body) if many else _decode_row(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return []
    rows = envelope.response if isinstance(envelope.response, list) else [envelope.response]
    names = {row.label_hash for row in rows if row.label_hash}
    return rows if envelope.status == 200 and len(names) == len(rows) else []


def response_of(body: bytes | bytearray, *, context: RequestContext) -> msgspec.Raw:
    """Return the response in a v1 envelope. Raises what `rows_of` raises."""
    try:
        envelope = _decode_any(body)
    except RecursionError as error:
        raise UnreadableAnswer("the answer is nested too deep") from error
    except msgspec.ValidationError as error:
        raise BrokenAnswer("the answer is no JSON object") from error
    except msgspec.DecodeError as error:
        # Does not end in '}': truncated, so retry. Ends in '}' but does not parse: one row is corrupt, so
        # split.
        if bytes(body[:1]) != b"{" or not bytes(body[-64:]).rstrip().endswith(b"}"):
            raise BrokenAnswer("the answer is no JSON") from error
        raise UnreadableAnswer(f"the answer is no valid JSON ({error})", body) from error
    if bytes(envelope.status) != b"200":
        _raise_error(envelope, context)
    return envelope.response


def raise_for_status(status: int, headers: Any, body: bytes | bytearray, context: RequestContext) -> None:
    """Raise the exception for an HTTP status that came without an envelope.

    Raises:
        EncordException: the API itself answered. The SDK chooses the exception class.
        BrokenAnswer: something in front of the API answered (a proxy, a load balancer).
    """
    try:
        found = _decode_detail(body)
    except (msgspec.MsgspecError, RecursionError):
        found = None
    if found is None and status not in (401, 413, 429):
        raise BrokenAnswer(f"HTTP status {status}, and not in the API's own form")
    said = found and (found.message or found.detail)
    handle_error_response(status, headers, message=said if isinstance(said, str) else None, context=context)


def is_envelope(body: bytes | bytearray) -> bool:
    """Return whether `body` is a JSON object with a field `status`."""
    try:
        return bytes(_decode_any(body).status) != b"null"
    except (msgspec.MsgspecError, RecursionError):
        return False


def _raise_error(envelope: _OfAny, context: RequestContext) -> None:
    code, payload = msgspec.json.decode(envelope.response), msgspec.json.decode(envelope.payload)
    if code == ["MULTI_LABEL_LIMIT_ERROR"]:
        # The SDK fails if the payload is a string, and assumes a limit of 100 if the server tells none.
        named = payload.get("maximum_labels_allowed") if isinstance(payload, dict) else None
        payload = {"maximum_labels_allowed": named}
    check_error_response(code, context, payload)
