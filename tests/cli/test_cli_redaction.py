"""Secrets never leave: not in a log line, not in an error, not on the terminal."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester import events
from harvester.events import GONE, one_line, printable, redact

PEM = (
    "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAACANARY\nCANARY==\n"
    "-----END OPENSSH PRIVATE KEY-----"
)
V1 = "a1" * 32 + ":" + "CA" * 64
JWT = "eyJhbGciOiJIUzI1NiJ9.CANARY.CANARY"

SECRETS = {
    "a private key": PEM,
    "a private key in a repr": repr(PEM),
    "a private key cut off": PEM[:80],
    "a private key's body alone": PEM.splitlines()[1],
    "a v1 signature": f"sent {V1} to the server".replace("CA", "ca"),
    "a bearer token": "token was Bearer CANARY-123.abc",
    "a JSON web token": f"claims {JWT} refused",
    "an authorization header": "Authorization: CANARY of any kind",
    "an authorization header in a dict": "{'Authorization': 'Custom CANARY', 'Accept': '*/*'}",
    "an authorization header in JSON": '{"authorization": "Custom CANARY"}',
    "an authorization header in escaped JSON": r"{\"Authorization\": \"Custom CANARY\"}",
    "a v2 signature header": "Signature: encord-sig=:CANARY:",
    "a v2 signature in a dict": "{'Signature': 'encord-sig=:CANARY:', 'Host': 'h'}",
    "a cookie": "Set-Cookie: session=CANARY; HttpOnly",
    "an S3 signature": "X-Amz-Signature=CANARY&x=1",
    "an S3 credential header": "X-Amz-Security-Token: CANARY",
    "a Google signature": "x-goog-signature=CANARY",
    "an Azure signature": "blob?sv=1&sig=CANARY%3D",
    "a URL's query": "GET https://storage.example/a/b.jpg?whatever=CANARY failed",
    "a URL's query in JSON": '{"data_url": "https://storage.example/a?q=CANARY"}',
    "a URL's user": "proxy http://me:CANARY@proxy.example:3128/ refused",
    "a request target": "Max retries exceeded with url: /bucket/key?X-Goog-Credential=CANARY (Caused by X)",
    "a token parameter": "access_token=CANARY",
    "a passphrase": "passphrase=CANARY",
}


@pytest.mark.parametrize("text", SECRETS.values(), ids=SECRETS.keys())
def test_redact_removes_secret(text: str) -> None:
    """The secret is gone, and something says so in its place."""
    cleaned = redact(text)
    assert "CANARY" not in cleaned
    assert "caca" not in cleaned
    assert GONE in cleaned


@pytest.mark.parametrize(
    "text",
    [
        "unknown shape 'box': one of bounding_box, polygon",
        "project 3d1f0c0e-5f3a-4f4e-9d3e-2f1f6f1b2a11 not found",
        "see https://api.encord.com/v2/public/projects for more? yes",
        "a signature that does not match",
        "0a" * 32,
        "title_like: 50% of a=b?",
        "+mGbz8lM and /ghwDXVK",
    ],
)
def test_redact_leaves_the_rest(text: str) -> None:
    """What is no secret reaches the reader unchanged."""
    assert redact(text) == text


@given(st.text())
def test_redact_twice_is_redact_once(text: str) -> None:
    """Redaction is stable, so that text which passes it twice is not garbled."""
    assert redact(redact(text)) == redact(text)


def test_redact_takes_hostile_text_quickly() -> None:
    """A megabyte made to confuse the patterns comes through (the suite's own patience is the limit)."""
    for hostile in (
        "-a" * 100_000,
        "/=" * 100_000,
        "eyJ-" * 50_000,
        "-----BEGIN A-----" * 50_000,
        "://" * 100_000,
    ):
        redact(hostile)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[31mred\x1b[0m", "ared"),
        ("\x1b]0;title\x07x", "x"),
        ("\x1b]8;;https://x\x1b\\link", "link"),
        ("\x9b2Jx", "x"),
        ("a\x00b\x07c\x7f", "abc"),
        ("two\nlines\r\nand\ttab\u2028more", "two lines and tab more"),
        ("abc\u202etxt.exe\u2066", "abctxt.exe"),
        ("lone \ud800 surrogate", "lone  surrogate"),
        ("plain ünïcode 図 🙂", "plain ünïcode 図 🙂"),
    ],
)
def test_printable_keeps_the_terminal_safe(text: str, shown: str) -> None:
    """A title cannot steer the terminal, break the line or turn it around."""
    assert printable(text) == shown


@given(st.text())
def test_printable_is_one_line_of_encodable_text(text: str) -> None:
    """Whatever comes in, one line without control characters goes out."""
    shown = printable(text)
    assert len(shown.splitlines()) <= 1
    assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in shown)
    shown.encode()


def test_one_line_caps_what_it_quotes() -> None:
    """A whole response body in an error does not fill the screen."""
    assert len(one_line("x" * 100_000)) == 2000


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """A stream that the log lines go to; loggers are put back afterwards."""
    loggers = [logging.getLogger(name) for name in ("harvester", *events.FOREIGN_LOGGERS)]
    before = [(one, one.handlers, one.level, one.propagate) for one in loggers]
    yield io.StringIO()
    for one, handlers, level, propagate in before:
        one.handlers, one.propagate = handlers, propagate
        one.setLevel(level)


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("text", SECRETS.values(), ids=SECRETS.keys())
def test_log_lines_hold_no_secret(log: io.StringIO, text: str, as_json: bool) -> None:
    """Event, field, nested field, exception and other libraries' lines all pass the redaction."""
    events.configure("debug", log, as_json)
    events.logger().info("part.committed", field=text, nested={"deep": [text, text.encode()]})
    events.logger().info(text)
    logging.getLogger("urllib3.connectionpool").warning("retrying %s", text)
    try:
        raise ValueError(text)
    except ValueError:
        events.logger().exception("row.failed")
    assert "CANARY" not in log.getvalue()
    assert "caca" not in log.getvalue()
    assert log.getvalue().count(GONE) >= 6


def test_secret_fields_are_hidden_by_name(log: io.StringIO) -> None:
    """A field named like a secret is hidden whatever its value looks like."""
    events.configure("debug", log, True)
    events.logger().info("x", passphrase="plain", headers={"Authorization": "plain", "Accept": "json"})
    line = json.loads(log.getvalue())
    assert line["passphrase"] == GONE
    assert line["headers"] == {"Authorization": GONE, "Accept": "json"}


def test_json_log_line_is_whole(log: io.StringIO) -> None:
    """A JSON log line holds event, level, time and the fields, also those named like a log record's own."""
    events.configure("info", log, True)
    events.say("row.failed", {"label_hash": "h", "message": "gone", "name": "n", "attempts": 3})
    line = json.loads(log.getvalue())
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "row.failed",
        "level": "warning",
        "label_hash": "h",
        "message": "gone",
        "name": "n",
        "attempts": 3,
    }


def test_the_sdk_is_not_heard_below_warning(log: io.StringIO) -> None:
    """The SDK's INFO line, which quotes each request, is dropped at every level of ours."""
    events.configure("debug", log, False)
    logging.getLogger("encord.http.querier").info("Request: %s", "body")
    logging.getLogger("urllib3.connectionpool").debug("https://host/?x=1")
    assert log.getvalue() == ""


def test_configuring_twice_does_not_double_the_lines(log: io.StringIO) -> None:
    """The later configuration replaces the former."""
    events.configure("info", log, False)
    events.configure("info", log, False)
    events.logger().info("export.started")
    assert log.getvalue().count("export.started") == 1


def test_counters_snapshot_names_every_counter() -> None:
    """A snapshot is a plain dict that later counting does not change."""
    counters = events.Counters()
    before = counters.snapshot()
    counters.harvested += 2
    counters.failed += 1
    assert set(before.values()) == {0}
    assert counters.snapshot() == {**before, "harvested": 2, "failed": 1}
    assert counters.done == 3
