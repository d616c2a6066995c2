"""Every error of the SDK and of the network means one thing, by the table."""

import socket
import ssl
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
import requests
import urllib3
from encord import exceptions as sdk
from encord.http.common import RequestContext
from encord.http.error_utils import check_error_response
from urllib3.exceptions import NameResolutionError, NewConnectionError, ProtocolError, ReadTimeoutError

from harvester.encord import faults
from harvester.encord.body import AnswerTooLarge, BrokenAnswer, UnreadableAnswer
from harvester.encord.faults import Asked, parse_retry_after
from harvester.encord.wording import Route
from harvester.errors import (
    BadInput,
    CannotFinishNow,
    CredentialsRefused,
    HarvesterError,
    RateLimited,
    SkipRow,
    Stop,
    TooMuchAsked,
    Unavailable,
)

DOMAIN = "https://api.encord.com"
ROUTE = Route(DOMAIN)
POOL: Any = urllib3.HTTPSConnectionPool("api.encord.com")


def translate(error: Exception, asked: Asked = "row") -> HarvesterError:
    return faults.translate(error, asked=asked, operation="get_label_row", route=ROUTE, row="h")


def named(code: str, payload: Any = None) -> Exception:
    """What the SDK calls `code` in an error envelope."""
    try:
        check_error_response([code], RequestContext(trace_id="t", domain=DOMAIN), payload)
    except Exception as error:
        return error
    raise AssertionError(code)


CODES = {
    #                                  one row             several rows        the project
    "AUTHENTICATION_ERROR": (CredentialsRefused, CredentialsRefused, CredentialsRefused),
    "SSH_KEY_NOT_FOUND_ERROR": (CredentialsRefused, CredentialsRefused, CredentialsRefused),
    "DUPLICATE_SSH_KEY_ERROR": (CredentialsRefused, CredentialsRefused, CredentialsRefused),
    "OPERATION_NOT_ALLOWED": (CredentialsRefused, CredentialsRefused, CredentialsRefused),
    "AUTHORISATION_ERROR": (SkipRow, SkipRow, CredentialsRefused),
    "RESOURCE_NOT_FOUND_ERROR": (SkipRow, SkipRow, BadInput),
    "RATE_LIMIT_ERROR": (RateLimited, RateLimited, RateLimited),
    "MULTI_LABEL_LIMIT_ERROR": (SkipRow, TooMuchAsked, CannotFinishNow),
    "CORRUPTED_LABEL_ERROR": (SkipRow, SkipRow, CannotFinishNow),
    "ANSWER_DICTIONARY_ERROR": (SkipRow, SkipRow, CannotFinishNow),
    "FEATURE_DOES_NOT_EXIST_ERROR": (SkipRow, SkipRow, CannotFinishNow),
    "INVALID_ARGUMENTS_ERROR": (SkipRow, SkipRow, BadInput),
    "WRONG_PROJECT_TYPE_ERROR": (SkipRow, SkipRow, BadInput),
    "METHOD_NOT_ALLOWED_ERROR": (CannotFinishNow, CannotFinishNow, CannotFinishNow),
    "UNKNOWN_ERROR": (Unavailable, Unavailable, Unavailable),
    "AN_ERROR_OF_TOMORROW": (Unavailable, Unavailable, Unavailable),
}


@pytest.mark.parametrize("code", CODES)
def test_each_code_of_the_platform_means_what_the_table_says(code: str) -> None:
    """By what was asked for; the error keeps operation, row and trace id, and says it in one line."""
    for asked, kind in zip(("row", "rows", "project"), CODES[code], strict=True):
        error = translate(named(code), asked)  # type: ignore[arg-type]
        assert type(error) is kind
        assert (error.operation, error.row, error.trace_id) == ("get_label_row", "h", "t")
        assert error.message
        assert "\n" not in error.message


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (named("AUTHORISATION_ERROR"), "forbidden"),
        (named("RESOURCE_NOT_FOUND_ERROR"), "gone"),
        (named("INVALID_ARGUMENTS_ERROR"), "unreadable"),
        (named("CORRUPTED_LABEL_ERROR"), "unreadable"),
        (named("MULTI_LABEL_LIMIT_ERROR"), "too_large"),
        (sdk.PayloadTooLargeError("x"), "too_large"),
        (AnswerTooLarge("x"), "too_large"),
        (UnreadableAnswer("x"), "unreadable"),
        (RecursionError("x"), "unreadable"),
        (named("UNKNOWN_ERROR"), "unavailable"),
        (BrokenAnswer("x"), "unavailable"),
        (KeyError("x"), "unavailable"),
    ],
    ids=repr,
)
def test_a_row_that_fails_is_listed_with_a_code_to_sort_by(error: Exception, failure: str) -> None:
    """One word for each reason, the same whatever the platform calls it."""
    ours = translate(error)
    assert isinstance(ours, SkipRow | Unavailable)
    assert ours.failure == failure


def network(cause: Exception) -> list[Exception]:
    """`cause` as the pooled transport raises it, and as the SDK wraps what requests wraps."""
    retried = urllib3.exceptions.MaxRetryError(POOL, "/public", cause)
    try:
        try:
            raise requests.ConnectionError(retried)
        except requests.ConnectionError as error:
            raise sdk.RequestException("Request session.send failed") from error
    except sdk.RequestException as error:
        return [cause, error]


CERTIFICATE = ssl.SSLCertVerificationError(1, "certificate verify failed: self-signed certificate")
CERTIFICATE.verify_message = "self-signed certificate"

NETWORK = {
    "a certificate that is not trusted": (
        urllib3.exceptions.SSLError(CERTIFICATE),
        CredentialsRefused,
        "cannot be trusted .self-signed certificate.*--ca-bundle",
    ),
    "an unknown host": (
        NameResolutionError("api.encord.com", POOL, socket.gaierror(-2, "Name or service not known")),
        Unavailable,
        "host of https://api.encord.com is not known",
    ),
    "a closed port": (NewConnectionError(POOL, "Connection refused"), Unavailable, "nobody answers at https"),
    "silence": (ReadTimeoutError(POOL, "/public", "Read timed out."), Unavailable, "did not answer in time"),
    "a reset": (
        ProtocolError("Connection aborted.", ConnectionResetError(104, "Connection reset by peer")),
        Unavailable,
        "broke: .*reset by peer",
    ),
    "a body cut short": (
        ProtocolError("IncompleteRead(10 bytes read, 90 more expected)"),
        Unavailable,
        "connection to https://api.encord.com broke",
    ),
}


@pytest.mark.parametrize("case", NETWORK)
def test_the_network_s_faults_mean_the_same_on_both_transports(case: str) -> None:
    """The cause decides, however deep the libraries wrap it."""
    cause, kind, words = NETWORK[case]
    for error in map(translate, network(cause)):
        assert type(error) is kind
        assert __import__("re").search(words, error.message), error.message


@pytest.mark.parametrize(
    ("status", "final"),
    [(302, False), (400, True), (403, True), (407, True), (408, False), (425, False), (429, False),
     (451, True), (499, True), (500, False), (503, False)],
)  # fmt: skip
def test_a_proxy_that_refuses_is_told_from_one_that_is_busy(status: int, final: bool) -> None:
    """By its answer to CONNECT, of which http.client makes a text."""
    error = translate(OSError(f"Tunnel connection failed: {status} So it says"))
    assert type(error) is (CredentialsRefused if final else Unavailable)
    assert f"({status} So it says)" in error.message


def test_only_an_unknown_host_and_a_closed_port_were_never_connected() -> None:
    """Asking them again at the start is of no use; a reset may pass."""
    for case, (cause, _, _) in NETWORK.items():
        for error in network(cause):
            ours = translate(error)
            ours.__cause__ = error
            assert faults.never_connected(ours) == (case in ("an unknown host", "a closed port"))


OURS = {
    "too large": (AnswerTooLarge("x"), SkipRow, TooMuchAsked, CannotFinishNow),
    "whole and no JSON": (UnreadableAnswer("x"), SkipRow, SkipRow, CannotFinishNow),
    "nested too deep": (RecursionError("x"), SkipRow, SkipRow, CannotFinishNow),
    "cut short": (BrokenAnswer("x"), Unavailable, Unavailable, Unavailable),
    "a parser's stumble": (KeyError("label_hash"), Unavailable, Unavailable, Unavailable),
    "413": (sdk.PayloadTooLargeError("x"), SkipRow, TooMuchAsked, CannotFinishNow),
}


@pytest.mark.parametrize("case", OURS)
def test_answers_that_cannot_be_read_mean_what_the_table_says(case: str) -> None:
    """One bad row is skipped, a bundle is made smaller, a cut is asked for again."""
    error, *kinds = OURS[case]
    assert [type(translate(error, asked)) for asked in ("row", "rows", "project")] == kinds  # type: ignore[arg-type]


@pytest.mark.parametrize("response", [b'{"a":{"b":[1,NaN]}}', b'[{"a":{"b":[1,NaN]}}]'])
def test_what_is_no_number_is_named_by_its_place_in_a_row_that_was_asked_for_alone(response: bytes) -> None:
    """Of several rows nobody knows yet which one it is in: they are asked for one by one."""
    error = UnreadableAnswer("the answer is no valid JSON", b'{"status":200,"response":%b}' % response)
    assert translate(error, "row").message == "the label row is no valid JSON: NaN at a.b[1]"
    for asked in ("rows", "project"):
        assert translate(error, asked).message == "the answer is no valid JSON"  # type: ignore[arg-type]


def test_our_own_errors_pass_and_learn_what_was_asked() -> None:
    """An error of ours stays the same object."""
    error = Stop("refused")
    assert translate(error) is error
    assert (error.operation, error.row) == ("get_label_row", "h")


@pytest.mark.parametrize(
    ("payload", "maximum"),
    [
        ({"maximum_labels_allowed": 25}, 25),
        ({"maximum_labels_allowed": 1}, 1),
        ({"maximum_labels_allowed": 0}, None),
        ({"maximum_labels_allowed": "many"}, None),
    ],
)
def test_the_server_s_maximum_goes_along(payload: Any, maximum: int | None) -> None:
    """The number of rows that the server allows is kept, and nothing else for one."""
    error = translate(named("MULTI_LABEL_LIMIT_ERROR", payload), "rows")
    assert isinstance(error, TooMuchAsked)
    assert error.maximum == maximum


def test_a_secret_in_the_server_s_words_is_redacted() -> None:
    """Whatever a message quotes, no signed URL gets through, and it stays short."""
    error = translate(
        named("INVALID_ARGUMENTS_ERROR", "see https://s/x?X-Amz-Signature=s3cret\n" + "y" * 9999)
    )
    assert "s3cret" not in error.message
    assert len(error.message) == 300


def test_retry_after_is_read_in_seconds_and_as_a_date() -> None:
    """Both forms of the header; a date counts from the answer's own clock."""
    now = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
    later = format_datetime(now + timedelta(seconds=90), usegmt=True)
    assert parse_retry_after("120") == 120
    assert parse_retry_after(" 0 ") == 0
    assert parse_retry_after("86400") == 86400
    assert parse_retry_after(later, format_datetime(now, usegmt=True)) == 90
    assert parse_retry_after(format_datetime(now, usegmt=True), later) == 0
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert 55 < (parse_retry_after(soon, "garbage") or 0) <= 60


@pytest.mark.parametrize("garbage", [None, "", "soon", "-1", "1.5.", "٣", "Wed, 99 Foo 2026", "1e3", "\x00"])
def test_garbage_in_retry_after_is_ignored(garbage: str | None) -> None:
    """What names no time is as if it were not there."""
    assert parse_retry_after(garbage) is None
