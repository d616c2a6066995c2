"""Everything that can be made to go wrong, seen by a raw client."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
import urllib3

from harvester.simulator import Faults, Simulator, WorldSpec
from harvester.simulator.corruptions import DEPTH
from harvester.simulator.faults import HOSTILE_TITLES
from harvester.simulator.limiter import Limiter
from harvester.simulator.world import World
from tests.simulator.client import Client, Got

SPEC = WorldSpec(rows=100, mix="image", objects_per_row=5)
HASHES = [h for item in World(SPEC).listing({}) if (h := json.loads(item).get("label_hash"))]


@pytest.fixture(scope="module")
def running() -> Iterator[Simulator]:
    with Simulator(SPEC) as running:
        yield running


@pytest.fixture
def simulator(running: Simulator) -> Iterator[Simulator]:
    yield running
    running.set_faults()


@pytest.fixture
def client(simulator: Simulator) -> Iterator[Client]:
    made = Client(simulator)
    yield made
    made.close()


def ask(client: Client) -> Got:
    """The first three labelled rows, in one list."""
    return client.rows(*HASHES[:3])


def is_open(client: Client) -> bool:
    """Whether the port takes connections."""
    try:
        ask(client)
    except urllib3.exceptions.NewConnectionError:
        return False
    except (urllib3.exceptions.ProtocolError, urllib3.exceptions.SSLError):
        pass  # it was connected already, and lost that
    return True


def found(got: Got) -> list[str]:
    """The label hashes of a list answer."""
    return sorted(row["label_hash"] for row in got.json["response"])


# -- answers that are not what was asked for --------------------------------------------------------


@pytest.mark.parametrize(
    ("faults", "status", "body"),
    [
        ({"strikes": ["400"]}, 400, b"Bad Request"),
        ({"strikes": ["403"]}, 403, b"Forbidden"),
        ({"strikes": ["404"]}, 404, b"Not Found"),
        ({"strikes": ["500"]}, 500, b"Internal Server Error"),
        ({"strikes": ["502"]}, 502, b"Bad Gateway"),
        ({"strikes": ["503"]}, 503, b"Service Unavailable"),
        ({"strikes": ["504"]}, 504, b"Gateway Timeout"),
        ({"strikes": ["413"]}, 413, b"message"),
        ({"strikes": ["429"]}, 429, b"message"),
        ({"strikes": ["html"]}, 502, b"<!DOCTYPE html>"),
        ({"strikes": ["html_200"]}, 200, b"<!DOCTYPE html>"),
        ({"strikes": ["not_json"]}, 200, b'[{"label_hash": '),
        ({"strikes": ["redirect"]}, 307, b""),
        ({"strikes": ["UNKNOWN_ERROR"]}, 200, b'"response":["UNKNOWN_ERROR"]'),
        ({"down": True}, 503, b"Service Unavailable"),
        ({"outages": [[0, 60]]}, 503, b"Service Unavailable"),
        ({"revoked": True}, 200, b'["AUTHENTICATION_ERROR"]'),
        ({"forbidden": True}, 200, b'["AUTHORISATION_ERROR"]'),
        ({"max_rows": 2}, 200, b'{"maximum_labels_allowed":2}'),
        ({"max_response_bytes": 1000}, 413, b"message"),
        ({"rate": 1, "burst": 0}, 429, b"Too Many Requests"),
        ({"rate": 1, "burst": 0, "refused_as": "envelope"}, 200, b'["RATE_LIMIT_ERROR"]'),
        ({"max_in_flight": 0}, 429, b"Too Many Requests"),
        ({"rows": {"1": "corrupt"}}, 200, b'["CORRUPTED_LABEL_ERROR"]'),
        ({"rows": {"1": "error_500"}}, 500, b"message"),
        ({"rows": {"1": "too_large"}}, 413, b"message"),
    ],
    ids=str,
)
def test_an_answer_is_replaced(
    simulator: Simulator, client: Client, faults: dict[str, Any], status: int, body: bytes
) -> None:
    """Each switch gives its status and body, and the true answer comes back when it is off."""
    simulator.set_faults(**faults)
    got = ask(client)
    assert got.status == status
    assert body in got.body
    simulator.set_faults()
    assert found(ask(client)) == sorted(HASHES[:3])


@pytest.mark.parametrize(
    ("faults", "error"),
    [
        ({"strikes": ["truncated"]}, (urllib3.exceptions.ProtocolError, urllib3.exceptions.SSLError)),
        ({"strikes": ["reset"]}, (urllib3.exceptions.ProtocolError, urllib3.exceptions.SSLError)),
        ({"strikes": ["closed"]}, (urllib3.exceptions.ProtocolError, urllib3.exceptions.SSLError)),
        ({"strikes": ["stalled"]}, urllib3.exceptions.ReadTimeoutError),
        ({"strikes": ["mute"]}, urllib3.exceptions.ReadTimeoutError),
        ({"latency": 30}, urllib3.exceptions.ReadTimeoutError),
        ({"rows": {"2": "hang"}}, urllib3.exceptions.ReadTimeoutError),
        ({"down": True, "outage_as": "closed"}, urllib3.exceptions.ProtocolError),
    ],
    ids=str,
)
def test_a_connection_fails(
    simulator: Simulator, faults: dict[str, Any], error: type[Exception] | tuple[type[Exception], ...]
) -> None:
    """Cut, reset, stalled or mute: the client's own error, and no answer."""
    impatient = Client(simulator, timeout=0.5 if error is urllib3.exceptions.ReadTimeoutError else 60)
    simulator.set_faults(**faults)
    with pytest.raises(error):
        ask(impatient)
    impatient.close()


def test_a_reset_is_a_reset() -> None:
    """The connection ends with RST after half of the body; without TLS the client can tell."""
    with Simulator(SPEC, Faults(strikes=("reset",)), tls=False) as plain:
        client = Client(plain)
        with pytest.raises(urllib3.exceptions.ProtocolError, match="reset by peer"):
            ask(client)
        client.close()


def test_a_closed_port_opens_again(simulator: Simulator) -> None:
    """During the window connections are refused; after it everything is as before."""
    simulator.set_faults(outages=[[0, 0.3]], outage_as="port_closed")
    impatient, patient = Client(simulator), Client(simulator)
    while is_open(impatient):  # the port closes a moment after the answer that promised it
        pass
    retries = urllib3.Retry(total=20, backoff_factor=0.05, backoff_max=0.1)
    http = urllib3.PoolManager(ca_certs=str(simulator.ca_file), retries=retries)
    assert http.request("GET", f"{simulator.url}/_simulator/faults").status == 200
    assert found(ask(patient)) == sorted(HASHES[:3])
    for pool in (impatient, patient, http):
        pool.close() if isinstance(pool, Client) else pool.clear()


def test_answers_are_held_until_other_faults_are_set(simulator: Simulator) -> None:
    """Once so many rows were answered; calls for no rows are answered as ever."""
    simulator.set_faults(hold_after=3)
    patient = Client(simulator)
    with ThreadPoolExecutor(1) as thread:
        assert ask(patient).status == 200
        held = thread.submit(ask, patient)
        while not simulator.stats()["in_flight"]:
            pass
        assert patient.v2("GET", "projects").status == 200
        assert not held.done()
        simulator.set_faults()
        assert held.result().status == 200
    patient.close()


def test_an_answer_trickles(simulator: Simulator, client: Client) -> None:
    """The second half comes byte by byte: slower than any read timeout notices, and whole."""
    simulator.set_faults(strikes=["trickle"], trickle_seconds=0.0005)
    row = client.v1("labelrow/GET", HASHES[0], {})
    assert row.json["response"]["label_hash"] == HASHES[0]


def test_a_bomb_is_small_and_grows(simulator: Simulator) -> None:
    """100 MB of zeros, as a strike or for a row, in less than 1 MB of gzip."""
    quiet = Client(simulator)
    for faults in ({"strikes": ["bomb"]}, {"rows": {HASHES[0]: "bomb"}}):
        simulator.set_faults(**faults)
        before = simulator.stats()["bytes_sent"]
        got = ask(quiet)
        assert simulator.stats()["bytes_sent"] - before < 1_000_000
        assert len(got.body) == 100_000_000
        assert not got.body.strip(b"\0")
    quiet.close()


def test_strikes_come_in_turn_on_every_nth_request_and_so_often(simulator: Simulator, client: Client) -> None:
    """Two strikes in turn, on every second request, three times, and on label rows alone."""
    simulator.set_faults(strikes=["500", "503"], every=2, times=3)
    statuses = []
    for _ in range(10):
        statuses.append(ask(client).status)
        assert client.v2("GET", "projects").status == 200
    assert statuses == [200, 500, 200, 503, 200, 500, 200, 200, 200, 200]


def test_chance_is_the_same_for_the_same_seed(simulator: Simulator, client: Client) -> None:
    """A probability strikes at random, and again so after it is set again."""
    runs = []
    for seed in (1, 1, 2):
        simulator.set_faults(strikes=["500"], probability=0.5, seed=seed)
        runs.append([ask(client).status for _ in range(20)])
    assert runs[0] == runs[1] != runs[2]
    assert set(runs[0]) == {200, 500}


def test_strikes_can_be_aimed(simulator: Simulator, client: Client) -> None:
    """`on` names kinds of requests; * is all of them."""
    simulator.set_faults(strikes=["500"], on=["GET projects"])
    assert (client.v2("GET", "projects").status, ask(client).status) == (500, 200)
    simulator.set_faults(strikes=["500"], on=["*"])
    assert (client.v2("GET", "projects").status, ask(client).status) == (500, 500)


def test_a_listing_can_be_cut_in_the_middle(simulator: Simulator, client: Client) -> None:
    """A streamed answer breaks off too."""
    simulator.set_faults(strikes=["truncated"], on=["labelrowmetadata/GET"])
    with pytest.raises((urllib3.exceptions.ProtocolError, urllib3.exceptions.SSLError)):
        client.v1("labelrowmetadata/GET", None, {})


# -- rows -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trouble", "inside"),
    [
        ("line_separator", "one\u2028two\u2029three\u0085four".encode()),
        ("surrogate", rb"\ud800 alone"),
        ("big_integer", b":123456789012345678901234567890,"),
        ("duplicate_keys", b'"simulator":1,"simulator":2'),
        ("nan", b"[NaN,Infinity,-Infinity,1e400]"),
        ("nested", b"[" * DEPTH + b"]" * DEPTH),
        ("pretty", b'{\n  "'),
    ],
)
def test_a_row_holds_a_hostile_value(
    simulator: Simulator, client: Client, trouble: str, inside: bytes
) -> None:
    """The row named holds it, in an object; its neighbours are as they were."""
    simulator.set_faults(rows={HASHES[1]: trouble})
    alone, together = client.v1("labelrow/GET", HASHES[1], {}).body, ask(client).body
    assert inside in alone
    assert inside in together
    neighbour = World(SPEC).label_row(HASHES[0])
    assert neighbour is not None
    assert neighbour in together


def test_a_row_is_huge(simulator: Simulator) -> None:
    """50 MB of JSON for one row."""
    simulator.set_faults(rows={"1": "huge"})
    patient = Client(simulator)
    assert len(patient.v1("labelrow/GET", HASHES[1], {}).body) > 50_000_000
    patient.close()


def test_a_broken_row_breaks_the_whole_answer(simulator: Simulator, client: Client) -> None:
    """Its JSON is cut off, so no bundle with it can be read; bundles without it can."""
    simulator.set_faults(rows={"1": "broken"})
    with pytest.raises(json.JSONDecodeError):
        _ = ask(client).json
    assert found(client.rows(HASHES[0], HASHES[2])) == sorted([HASHES[0], HASHES[2]])


@pytest.mark.parametrize(
    ("trouble", "code"), [("deleted", "RESOURCE_NOT_FOUND_ERROR"), ("forbidden", "AUTHORISATION_ERROR")]
)
def test_a_row_goes_away(simulator: Simulator, client: Client, trouble: str, code: str) -> None:
    """Left out of a bundle; alone, an error that says why."""
    simulator.set_faults(rows={"1": trouble})
    assert found(ask(client)) == sorted([HASHES[0], HASHES[2]])
    assert client.v1("labelrow/GET", HASHES[1], {}).json["response"] == [code]


def test_another_row_comes_in_its_place(simulator: Simulator, client: Client) -> None:
    """A row that is not the one asked for, alone and in a list."""
    simulator.set_faults(rows={"1": "foreign"})
    assert client.v1("labelrow/GET", HASHES[1], {}).json["response"]["label_hash"] != HASHES[1]
    assert HASHES[1] not in found(ask(client))


@pytest.mark.parametrize("trouble", ["missing", "duplicate", "foreign"])
def test_a_bundle_is_not_what_was_asked(simulator: Simulator, client: Client, trouble: str) -> None:
    """Every second list answer lacks a row, has one twice, or has a stranger."""
    simulator.set_faults(bundle=[trouble], bundle_every=2)
    right, wrong, again = (found(ask(client)) for _ in range(3))
    assert right == again == sorted(HASHES[:3])
    asked, got = set(HASHES[:3]), set(wrong)
    assert {
        "missing": len(wrong) == 2 and got < asked,
        "duplicate": len(wrong) == 4 and got == asked,
        "foreign": len(wrong) == 3 and len(got - asked) == 1,
    }[trouble]


def test_titles_are_hostile(simulator: Simulator, client: Client) -> None:
    """Paths, escapes, NUL, 255 bytes and bidi marks in the listing, in rows, and as projects."""
    simulator.set_faults(hostile_titles=True)
    listed = client.v1("labelrowmetadata/GET", None, {}).json["response"]
    titles = {item["data_title"] for item in listed if item.get("label_hash")}
    assert titles >= set(HOSTILE_TITLES)
    row = client.v1("labelrow/GET", HASHES[0], {}).json["response"]
    assert row["data_title"] == HOSTILE_TITLES[0]
    projects = client.v1("projectwithuserrole/GET", None, {}, path="/public/user").json["response"]
    assert {item["project"]["title"] for item in projects} >= set(HOSTILE_TITLES)


# -- rates ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("faults", "header"),
    [
        ({"retry_after": "seconds", "retry_after_seconds": 7}, "7"),
        ({"retry_after": "seconds"}, "1"),
        ({"retry_after": "garbage"}, "soon, perhaps"),
        ({"retry_after": "day"}, "86400"),
        ({"retry_after": "none"}, None),
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "refusal", [{"rate": 2.0, "burst": 0}, {"strikes": ["429"]}, {"down": True}], ids=str
)
def test_a_refusal_says_when_to_come_back(
    simulator: Simulator, client: Client, faults: dict[str, Any], refusal: dict[str, Any], header: str | None
) -> None:
    """Retry-After in each of its forms, for a rate limit, a 429 and a 503."""
    simulator.set_faults(**faults, **refusal)
    assert ask(client).headers.get("retry-after") == header


def test_retry_after_can_be_a_date(simulator: Simulator, client: Client) -> None:
    """An HTTP date, never before the time it stands for."""
    simulator.set_faults(rate=1, burst=0, retry_after="date", retry_after_seconds=30)
    seconds = (parsedate_to_datetime(ask(client).headers["retry-after"]) - datetime.now(UTC)).total_seconds()
    assert 20 < seconds <= 31


def test_asking_before_retry_after_is_over_is_counted(simulator: Simulator) -> None:
    """Requests inside the gate count, except those that may have been on their way when it closed."""
    simulator.set_faults(rate=1000, strikes=["429"], times=1, retry_after="seconds", retry_after_seconds=60)
    client, before = Client(simulator), simulator.stats()["in_retry_after"]
    assert ask(client).status == 429
    assert ask(client).status == 200
    assert simulator.stats()["in_retry_after"] == before
    while simulator.stats()["in_retry_after"] == before:
        assert ask(client).status == 200
    client.close()


def test_refusals_outages_and_kinds_are_counted(simulator: Simulator, client: Client) -> None:
    """The statistics tell what was asked and what became of it."""
    before = simulator.stats()
    ask(client)
    simulator.set_faults(rate=1, burst=0)
    ask(client)
    simulator.set_faults(down=True)
    ask(client)
    simulator.set_faults(strikes=["html"])
    ask(client)
    after = simulator.stats()
    changed = {
        name: after[name] - before[name] for name in ("requests", "refused", "in_outage", "rows_served")
    }
    assert changed == {"requests": 4, "refused": 1, "in_outage": 1, "rows_served": 3}
    assert after["by_kind"]["labelrow/GET"] - before["by_kind"]["labelrow/GET"] == 4
    assert after["struck"]["html"] == before["struck"].get("html", 0) + 1
    assert after["in_flight"] == 0


def admitted(limiter: Limiter, times: list[float]) -> list[float]:
    return [now for now in times if not limiter.admit(now)]


def every(step: float, until: float) -> list[float]:
    return [number * step for number in range(round(until / step))]


def test_a_token_bucket_admits_its_burst_and_then_its_rate() -> None:
    """50 at once, then 10 a second, and it says how long the next one has to wait."""
    limiter = Limiter(Faults(rate=10, burst=50))
    assert len(admitted(limiter, [0.0] * 80)) == 50
    assert limiter.admit(0.0) == pytest.approx(0.1)
    assert len(admitted(limiter, every(0.01, 10.0))) == pytest.approx(100, abs=1)


def test_a_capacity_drops_and_returns() -> None:
    """40 % between the tenth second and the twentieth, whatever the requests do."""
    limiter = Limiter(Faults(rate=50, burst=5, capacity=((10, 0.4), (20, 1.0))))
    times = admitted(limiter, every(0.001, 30.0))
    shares = [sum(start <= now < start + 10 for now in times) for start in (0, 10, 20)]
    assert shares == [pytest.approx(full, abs=6) for full in (500, 200, 500)]


def test_a_fixed_window_admits_so_many_and_no_more_until_the_next() -> None:
    """The whole window's share at once, then nothing until it is over."""
    limiter = Limiter(Faults(rate=10, window=2.0))
    assert len(admitted(limiter, [0.5] * 100)) == 20
    assert limiter.admit(0.5) == pytest.approx(1.5)
    assert len(admitted(limiter, [2.0] * 100)) == 20


def test_a_capacity_of_nothing_admits_nothing() -> None:
    """A share of 0 is a limit like any other."""
    limiter = Limiter(Faults(rate=10, burst=1, capacity=((0, 0.0),)))
    assert admitted(limiter, [0.0]) == [0.0]
    assert admitted(limiter, every(0.1, 5.0)) == []


# -- settings ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("faults", "said"),
    [
        ({"strikes": ("no_such",)}, "no_such"),
        ({"down": True, "outage_as": "port_closed"}, "outages"),
        ({"every": 0}, "n-th"),
        ({"rate": 0}, "rate"),
    ],
    ids=str,
)
def test_faults_that_cannot_be_are_refused(simulator: Simulator, faults: dict[str, Any], said: str) -> None:
    """At once where they are made, and by the running server too."""
    with pytest.raises(ValueError, match=said):
        Faults(**faults)
    with pytest.raises(ValueError, match=said):
        simulator.set_faults(**faults)
