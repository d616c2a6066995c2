"""A wrong clock is named: it makes certificates look expired and signatures look stale."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
import trustme

from harvester.clock import difference, http_date
from harvester.encord.project import ProjectInfo
from harvester.encord.session import Session
from harvester.errors import CredentialsRefused
from harvester.settings import Format, Selection
from tests.encord.recording import PROJECT, Recording, Reply, envelope

Connect = Callable[..., Session]
WAYS = pytest.mark.parametrize("way", ["pooled", "sdk"])
NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)


@WAYS
@pytest.mark.parametrize(
    ("since", "until", "words"), [(-20, -10, "has expired"), (10, 20, "is not valid yet")], ids=["old", "new"]
)
def test_a_certificate_out_of_its_time_points_to_the_clock(
    authority: trustme.CA, connect: Connect, way: str, since: int, until: int, words: str
) -> None:
    """Days from now: another authority would be of no help. Exit code 4, with this machine's time."""
    today = datetime.now(UTC)
    certificate = authority.issue_cert(
        "127.0.0.1", not_before=today + timedelta(since), not_after=today + timedelta(until)
    )
    with (
        Recording(lambda asked: envelope([]), certificate) as server,
        pytest.raises(CredentialsRefused, match=words) as refused,
    ):
        connect(domain=server.url, transport=way).projects()
    message = refused.value.message
    assert f"the certificate of {server.url} {words} as of this machine's clock ({today:%Y-%m-%d }" in message
    assert "check that clock first" in message
    assert "--ca-bundle" not in message


def refusing(status: int, ahead: timedelta | None, reason: str) -> Reply:
    """A refusal of a server whose clock is `ahead` of this one, or which does not say what it shows."""
    date = "" if ahead is None else format_datetime(datetime.now(UTC) + ahead, usegmt=True)
    return Reply(b'{"message": "%b"}' % reason.encode(), status, {"Date": date})


@WAYS
@pytest.mark.parametrize(
    ("ahead", "words"),
    [
        (timedelta(hours=2, minutes=5), "this machine's clock is 2 h 5 min behind the server's"),
        (timedelta(days=-3), "this machine's clock is 3 days ahead of the server's"),
    ],
    ids=["behind", "ahead"],
)
def test_a_refused_date_says_how_far_the_clocks_differ(
    server: Recording, connect: Connect, way: str, ahead: timedelta, words: str
) -> None:
    """By the Date of the answer, with the server's own words; the key may be good."""
    server.answers = lambda asked: refusing(401, ahead, "signature is stale")
    with pytest.raises(CredentialsRefused, match=rf"credentials \(signature is stale\): {words}") as refused:
        connect(transport=way).projects()
    assert "set the clock" in refused.value.message
    assert "add the key" not in refused.value.message
    server.answers = lambda asked: refusing(403, ahead, "not now.")
    with pytest.raises(CredentialsRefused, match=f"not now.* Also, {words}"):
        connect(transport=way).projects()


@WAYS
@pytest.mark.parametrize(
    ("ahead", "options"),
    [
        (timedelta(seconds=40), {}),
        (None, {}),
        (timedelta(hours=2), {"ssh_key": None, "bearer_token": "t0ken"}),
    ],
    ids=["they agree", "it does not say", "a token has no date"],
)
def test_where_the_clock_is_not_at_fault_it_is_not_named(
    server: Recording, connect: Connect, way: str, ahead: timedelta | None, options: dict[str, Any]
) -> None:
    """Then it is the credentials; a 401's own reason is shown."""
    server.answers = lambda asked: refusing(401, ahead, "token expired")
    with pytest.raises(CredentialsRefused, match=r"\(token expired\): add the key") as refused:
        connect(transport=way, **options).projects()
    assert "clock" not in refused.value.message


def test_label_rows_are_signed_without_a_date(server: Recording, connect: Connect) -> None:
    """What is refused of them in mid-run is not the clock's fault."""
    server.answers = lambda asked: refusing(401, timedelta(hours=2), "revoked")
    rows = connect().label_rows(ProjectInfo(PROJECT, "T", ""), Selection(), Format())
    with pytest.raises(CredentialsRefused, match=r"\(revoked\): add the key"):
        rows.get_label_row("a")


@pytest.mark.parametrize("reply", [Reply(b"<html>", 401), Reply(b"", 401)])
def test_a_401_is_a_refusal_whoever_sends_it(server: Recording, connect: Connect, reply: Reply) -> None:
    """A gateway in front of the API does not use its form; it would not let the next request by either."""
    server.answers = lambda asked: reply
    with pytest.raises(CredentialsRefused):
        connect().projects()
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("ahead", "words"),
    [
        (timedelta(seconds=59), None),
        (timedelta(seconds=-59), None),
        (timedelta(seconds=60), "1 min ahead of"),
        (timedelta(seconds=-89), "1 min behind"),
        (timedelta(minutes=59, seconds=59), "1 h ahead of"),
        (timedelta(hours=26, minutes=3), "1 day 2 h ahead of"),
        (timedelta(days=-400), "400 days behind"),
    ],
)
def test_a_difference_is_told_in_its_two_largest_units(ahead: timedelta, words: str | None) -> None:
    """From a minute on."""
    assert difference(NOW, NOW + ahead) == words
    assert difference(None) is None


def test_the_date_of_an_answer_is_read_or_unknown() -> None:
    """What is no date is none."""
    assert http_date(format_datetime(NOW, usegmt=True)) == NOW
    assert [http_date(text) for text in (None, "", "today", "Wed, 99 Foo 2026")] == [None] * 4
