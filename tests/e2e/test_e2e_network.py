"""What stands between harvester and the server: proxies with passwords, and clocks that differ."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from harvester.simulator import Simulator, WorldSpec
from tests.e2e.conftest import Command
from tests.e2e.platform import SMALL, Platform
from tests.encord.recording import Recording, Tunnel, envelope
from tests.patience import LONG

LITTLE_GRACE = Path(__file__).with_name("shim")
PASSWORD = "me:CANARY/p@ss"
ENCODED = "me:CANARY%2Fp%40ss"


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator(WorldSpec(rows=160, objects=2, branches=())) as running:
        yield running


@pytest.fixture(scope="module")
def platform(simulator: Simulator) -> Platform:
    return Platform(simulator)


@pytest.fixture(scope="module")
def whole(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The parts of an export with nothing between."""
    return platform.export(tmp_path_factory.mktemp("whole") / "out", *SMALL).parts


def by_way_of(platform: Platform, address: str, **variables: str) -> Platform:
    """The same platform for a user who has a proxy."""
    proxied = Platform(platform.simulator)
    others = {
        name: value
        for name, value in platform.command.environment.items()
        if not name.lower().endswith("_proxy")
    }
    proxied.command = Command(others | {"HTTPS_PROXY": address} | variables)
    return proxied


@pytest.mark.parametrize("flags", [(), ("--transport", "sdk"), ("--processes", "2")], ids=" ".join)
def test_an_export_goes_through_a_proxy_that_wants_a_password(
    platform: Platform, whole: dict[str, bytes], tmp_path: Path, flags: tuple[str, ...]
) -> None:
    """The same files, and the password in none of them nor on the screen. The SDK rewrites some numbers."""
    with Tunnel(wants=PASSWORD) as proxy:
        ended = by_way_of(platform, f"http://{ENCODED}@{proxy.host}").export(
            tmp_path / "out", *SMALL, *flags, "--log-level", "debug"
        )
        assert proxy.opened
    assert ended.code == 0, ended.said
    assert ended.parts.keys() == whole.keys()
    assert "sdk" in flags or ended.parts == whole
    assert b"CANARY" not in b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert "CANARY" not in ended.said


@pytest.mark.parametrize(
    ("user", "answers", "said"),
    [
        (f"{ENCODED}@", None, "does not accept the user and password of its address (407 Proxy"),
        ("", None, "wants a user and password (407 Proxy Authentication Required): write user:password@ in"),
        ("", "403 Forbidden", "(403 Forbidden): ask for it to be allowed"),
    ],
    ids=["a wrong password", "none", "403"],
)
def test_a_proxy_that_refuses_ends_it_at_once(
    platform: Platform, tmp_path: Path, user: str, answers: str | None, said: str
) -> None:
    """Exit code 4 after one request, in one line with the proxy's name and without the password."""
    with Tunnel(wants="me:another", answers=answers) as proxy:
        ended = by_way_of(platform, f"http://{user}{proxy.host}").export(tmp_path / "out")
        assert len(proxy.asked) == 1
    assert ended.code == 4
    assert ended.said.startswith(f"harvester: the proxy {proxy.url} ")
    assert said in ended.said
    assert ended.said.count("\n") == 1
    assert "redacted" not in ended.said
    assert "CANARY" not in ended.said


def test_a_dead_proxy_is_named(platform: Platform, tmp_path: Path) -> None:
    """Exit code 5, without retries."""
    ended = by_way_of(platform, f"http://{ENCODED}@127.0.0.1:1").export(tmp_path / "out")
    assert ended.code == 5
    assert "nobody answers at the proxy http://127.0.0.1:1: Connection refused" in ended.said
    assert "retried" not in ended.said


def test_a_proxy_that_dies_in_mid_run_is_an_outage(
    platform: Platform, whole: dict[str, bytes], tmp_path: Path
) -> None:
    """It is waited for: back again, the export completes with the same bytes and no row is blamed."""
    with Tunnel() as proxy:
        running = by_way_of(platform, proxy.url).start(tmp_path / "out", *SMALL)
        proxy.die()
        platform.simulator.set_faults()
        assert running.stderr
        assert any(f"nobody answers at the proxy {proxy.url}".encode() in line for line in running.stderr)
    with Tunnel(port=proxy.port) as again:
        _, said = running.communicate(timeout=LONG)
        assert running.returncode == 0, said
        assert again.opened
    ended = platform.export(tmp_path / "out", *SMALL)
    assert ended.parts == whole


def test_a_proxy_that_stays_dead_ends_it_resumable(
    platform: Platform, whole: dict[str, bytes], tmp_path: Path
) -> None:
    """When the time is up, exit code 5 and the command to go on, which leads to the same bytes."""
    with Tunnel() as proxy:
        proxied = by_way_of(platform, proxy.url, PYTHONPATH=str(LITTLE_GRACE))
        running = proxied.start(tmp_path / "out", *SMALL, "--max-duration", "4s")
        proxy.die()
        _, said = running.communicate(timeout=LONG)
    assert running.returncode == 5, said
    assert b"to go on: harvester export" in said
    assert platform.export(tmp_path / "out", *SMALL).parts == whole


@pytest.mark.parametrize("way", ["pooled", "sdk"])
@pytest.mark.parametrize(
    ("ahead", "words"), [(7500, "2 h 5 min behind the server's"), (-259_200, "3 days ahead of the server's")]
)
def test_a_wrong_clock_is_named_where_the_server_refuses_the_date(
    platform: Platform, tmp_path: Path, way: str, ahead: int, words: str
) -> None:
    """Exit code 4 after one request, and no word of keys; by the server's own clock, with its own reason."""
    ended = platform.export(tmp_path / "out", "--transport", way, clock_ahead=ahead)
    assert (ended.code, ended.stats["requests"]) == (4, 1)
    assert f"(the signature is too old, or of the future): this machine's clock is {words}" in ended.said
    assert "add the key" not in ended.said


@pytest.mark.parametrize("way", ["pooled", "sdk"])
@pytest.mark.parametrize(
    ("since", "until", "words"), [(-20, -10, "has expired"), (10, 20, "is not valid yet")], ids=["old", "new"]
)
def test_a_certificate_out_of_its_time_points_to_the_clock(
    platform: Platform, tmp_path: Path, way: str, since: int, until: int, words: str
) -> None:
    """Exit code 4, with this machine's time in the line."""
    authority, today = trustme.CA(), datetime.now(UTC)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    certificate = authority.issue_cert(
        "127.0.0.1", not_before=today + timedelta(since), not_after=today + timedelta(until)
    )
    with Recording(lambda asked: envelope([]), certificate) as server:
        reached = {"ENCORD_DOMAIN": server.url, "REQUESTS_CA_BUNDLE": str(tmp_path / "ca.pem")}
        done = platform.command("projects", "--transport", way, **reached)
    assert done.returncode == 4
    said = f"the certificate of {server.url} {words} as of this machine's clock ({today:%Y-%m-%d }"
    assert said in done.stderr
    assert "check that clock first" in done.stderr
    assert "--ca-bundle" not in done.stderr
