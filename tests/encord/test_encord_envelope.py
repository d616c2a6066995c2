"""The envelope is split into raw rows, and its errors are named by the SDK."""

from typing import Any

import pytest
from encord import exceptions as sdk
from encord.http.common import RequestContext

from harvester.encord import envelope
from harvester.encord.body import BrokenAnswer, UnreadableAnswer
from harvester.labels.wire import LabelRow

CONTEXT = RequestContext(trace_id="t", domain="https://api.encord.com")


def answer(body: bytes, *, many: bool = True) -> list[bytes] | None:
    found = envelope.answer_of(body, 7, many=many, as_sent=True, context=CONTEXT)
    return found and [bytes(row) for row in found.rows]


ROW = (
    r'{"label_hash": "ab/+", "n": 1.00, "big": 123456789012345678901234567890, "\u00e9": "\ud83d\ude00 é",'
    '\n\t"x":{} }'
).encode()


@pytest.mark.parametrize(
    "body", [b'{"status":200,"response":%s}', b'{ "x": 1, "response" : %s , "status": 200 }\n']
)
def test_rows_are_the_bytes_that_were_sent(body: bytes) -> None:
    """Numbers, order, spaces and unknown fields stay, whatever surrounds them."""
    assert answer(body % b"[%s, %s]".replace(b"%s", ROW)) == [ROW, ROW]
    assert answer(body % ROW, many=False) == [ROW]
    assert answer(body % b"[]") == []


def test_rows_are_slices_of_the_body() -> None:
    """A row of 1 MB is not copied: the answer holds no more than the body."""
    body = b'{"status":200,"response":{"a":"' + b"x" * 1024**2 + b'"}}'
    found = envelope.answer_of(body, 7, many=False, as_sent=True, context=CONTEXT)
    assert found is not None
    assert (found.wire_bytes, found.body_bytes) == (7, len(body))
    assert memoryview(found.rows[0]).obj is not None
    assert len(memoryview(found.rows[0])) == len(body) - len(b'{"status":200,"response":}')


READ = b'{"label_hash":"a","data_title":"\xc3\xa9","data_units":{}}'
OTHER = READ.replace(b'"a"', b'"b"')


@pytest.mark.parametrize(("many", "response"), [(True, b"[%s, %s]" % (READ, OTHER)), (False, READ)])
def test_rows_are_read_along_with_the_envelope(many: bool, response: bytes) -> None:
    """Where nobody wants them as sent, their skeletons are what comes."""
    body = b'{"status":200,"response":%b}' % response
    found = envelope.answer_of(body, 7, many=many, as_sent=False, context=CONTEXT)
    assert found is not None
    expected = [LabelRow(label_hash=name, data_title="é", data_units={}) for name in "ab"]
    assert found.rows == expected[: 1 + many]
    assert (found.wire_bytes, found.body_bytes) == (7, len(body))


@pytest.mark.parametrize(
    "odd",
    [
        b'{"data_units":{}}',
        b'{"label_hash":7}',
        b'{"label_hash":"b","data_units":7}',
        b'{"label_hash":"b",\n"data_units":{}}',
        b'{"label_hash":"b","data_units":{}\r}',
        b'{"label_hash":"b","x":"\xff"}',
        b'{"label_hash":"b","x":"%b"}' % (b"x" * 9 * 1024**2),
    ],
    ids=["nameless", "no text", "no units", "two lines", "a carriage return", "no UTF-8", "giant"],
)
@pytest.mark.parametrize("many", [True, False])
def test_rows_among_which_one_is_odd_stay_as_they_were_sent(odd: bytes, many: bool) -> None:
    """It is looked at alone, so that it does not take its neighbours with it, or is taken in pieces."""
    response = b"[%b,%b]" % (READ, odd) if many else odd
    body = b'{"status":200,"response":%b}' % response
    found = envelope.answer_of(body, 7, many=many, as_sent=False, context=CONTEXT)
    assert found is not None
    assert list(map(bytes, found.rows)) == ([READ, odd] if many else [odd])


def test_rows_that_say_they_are_the_same_stay_as_they_were_sent() -> None:
    """One of them repeats a key: which row it is shows where it is looked at alone."""
    rows = [b'{"label_hash":"b","label_hash":"a"}', READ]
    body = b'{"status":200,"response":[%b]}' % b",".join(rows)
    found = envelope.answer_of(body, 7, many=True, as_sent=False, context=CONTEXT)
    assert found is not None
    assert list(map(bytes, found.rows)) == rows


@pytest.mark.parametrize("nothing", [b"null", b"{}", b'""', b"[]", b"0", b"false"])
def test_nothing_is_none(nothing: bytes) -> None:
    """The SDK takes what is falsy for a row that is not there."""
    assert answer(b'{"status":200,"response":' + nothing + b"}", many=False) is None
    assert answer(b'{"status":200,"response":null}') is None
    assert answer(b'{"status":200}') is None


@pytest.mark.parametrize("many", [True, False])
@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"status":400,"response":["CORRUPTED_LABEL_ERROR"]}', sdk.CorruptedLabelError),
        (b'{"response":["AUTHENTICATION_ERROR"],"status":401}', sdk.AuthenticationError),
        (b'{"status":"200","response":[]}', sdk.GenericServerError),
        (b'{"status":500,"response":"UNKNOWN_ERROR"}', sdk.GenericServerError),
        (b'{"detail":"x"}', sdk.GenericServerError),
        (b'{"status":400,"response":["MULTI_LABEL_LIMIT_ERROR"],"payload":"x"}', sdk.MultiLabelLimitError),
    ],
)
def test_errors_are_named_by_the_sdk(body: bytes, kind: type[Exception], many: bool) -> None:
    """Whatever is not exactly status 200 is an error, with the SDK's own name for it."""
    with pytest.raises(kind) as named:
        answer(body, many=many)
    assert named.value.context.trace_id == "t"  # type: ignore[attr-defined]


@pytest.mark.parametrize("payload", ["", ',"payload":"x"', ',"payload":{}'])
def test_a_limit_that_is_not_named_is_not_made_up(payload: str) -> None:
    """The SDK would say 100, or fall over."""
    body = b'{"status":400,"response":["MULTI_LABEL_LIMIT_ERROR"]' + payload.encode() + b"}"
    with pytest.raises(sdk.MultiLabelLimitError) as named:
        answer(body)
    assert named.value.maximum_labels_allowed is None


@pytest.mark.parametrize("many", [True, False])
@pytest.mark.parametrize(
    ("response", "kind"),
    [
        (b'[{"a":NaN}]}', UnreadableAnswer),
        (b'[{"a":"\\ud800","b":NaN}]}', UnreadableAnswer),
        (b'[{"a":1e400},{"b":}]}', UnreadableAnswer),
        (b'[{"a":"cut}, {"b":1}]}', UnreadableAnswer),
        (b"[" + b"[" * 100_000 + b"]" * 100_000 + b"]}", UnreadableAnswer),
        (b'[{"a":1', BrokenAnswer),
        (b'[{"a":"x', BrokenAnswer),
    ],
)
def test_a_bad_row_is_told_from_a_cut_body(response: bytes, kind: type[Exception], many: bool) -> None:
    """A body that came whole and is no JSON has a bad row in it; one without its end is asked for again."""
    with pytest.raises(kind):
        answer(b'{"status":200,"response":' + response, many=many)


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>502</html>", b"null", b"  "])
def test_what_is_no_envelope_is_broken(body: bytes) -> None:
    """A page of something in front of the API is no answer of the API's."""
    for many in (True, False):
        with pytest.raises(BrokenAnswer):
            answer(body, many=many)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (429, b"<html>", sdk.RateLimitExceededError),
        (413, b"<html>", sdk.PayloadTooLargeError),
        (401, b'{"detail":"no"}', sdk.AuthenticationError),
        (403, b'{"message":"no"}', sdk.AuthorisationError),
        (404, b"{}", sdk.ResourceNotFoundError),
        (503, b'{"detail":[{"loc":[]}]}', sdk.UnknownException),
        (502, b"<html>bad gateway</html>", BrokenAnswer),
        (403, b"<html>firewall</html>", BrokenAnswer),
        (504, b"", BrokenAnswer),
    ],
)
def test_a_status_without_an_envelope_is_named_if_the_api_sent_it(
    status: int, body: bytes, kind: type[Exception]
) -> None:
    """What stands in front of the API may say 403 too, and means nothing by it."""
    headers: dict[str, Any] = {"Retry-After": "3"}
    with pytest.raises(kind):
        envelope.raise_for_status(status, headers, body, CONTEXT)


def test_an_envelope_is_told_from_other_json() -> None:
    """Only an object with a status of its own."""
    assert envelope.is_envelope(b'{"response":1,"status":500}')
    assert not envelope.is_envelope(b'{"detail":"x"}')
    assert not envelope.is_envelope(b"[1]")
    assert not envelope.is_envelope(b"<html>")
