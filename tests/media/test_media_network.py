"""Media through what stands between harvester and the stores: proxies, and authorities of one's own."""

import shutil
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.e2e.conftest import Command
from tests.encord.recording import Tunnel
from tests.media.conftest import Fetched, MediaPlatform

PDFS = ("--data-type", "pdf")
PASSWORD = "me:CANARY/p@ss"
ENCODED = "me:CANARY%2Fp%40ss"


@pytest.fixture
def target(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "out"))


def by_way_of(platform: MediaPlatform, **variables: str) -> Command:
    """The command of a user with these variables, and none of other proxies or authorities."""
    given = platform.command.environment.items()
    others = {name: value for name, value in given if not name.lower().endswith(("_proxy", "ca_bundle"))}
    return replace(platform.command, environment=others | variables)


def fetched(platform: MediaPlatform, command: Command, target: Path, *flags: str) -> Fetched:
    platform.simulator.set_faults()
    authority = ("--ca-bundle", str(platform.simulator.ca_file))
    done = command.installed("media", target, *PDFS, *authority, "--json", *flags)
    return platform.ended(done, target / "media")


def test_files_come_through_a_proxy_that_wants_a_password(platform: MediaPlatform, target: Path) -> None:
    """Over TLS, with --ca-bundle: API and store alike; the password is in no file and not on the screen."""
    with Tunnel(wants=PASSWORD) as proxy:
        command = by_way_of(platform, HTTPS_PROXY=f"http://{ENCODED}@{proxy.host}")
        done = fetched(platform, command, target, "--log-level", "debug")
        ports = {int(opened.rpartition(":")[2]) for opened in proxy.opened}
    assert done.code == 0, done.said
    done.check()
    assert done.summary["run"]["fetched"] > 0
    assert urlsplit(platform.simulator.url).port in ports
    assert len(ports) == 2  # files have a port of their own
    assert "CANARY" not in done.said


def test_a_host_without_proxy_is_reached_without(platform: MediaPlatform, target: Path) -> None:
    """NO_PROXY holds for the stores as it does for the API."""
    with Tunnel(wants="me:another") as proxy:
        command = by_way_of(platform, HTTPS_PROXY=proxy.url, NO_PROXY="127.0.0.1")
        done = fetched(platform, command, target)
        assert not proxy.asked
    assert done.code == 0, done.said


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        (None, "wants a user and password (407 Proxy Authentication Required): write user:password@"),
        ("403 Forbidden", "refuses to connect to 127.0.0.1 (403 Forbidden): ask for it to be allowed"),
    ],
)
def test_a_proxy_that_refuses_the_store_is_named_at_once(
    platform: MediaPlatform, target: Path, answers: str | None, said: str
) -> None:
    """The API is reached without it: each file fails after one attempt, with what to do."""
    domain = f"https://localhost:{urlsplit(platform.simulator.url).port}"  # files are on 127.0.0.1
    with Tunnel(wants="me:another", answers=answers) as proxy:
        command = by_way_of(platform, HTTPS_PROXY=proxy.url, NO_PROXY="localhost", ENCORD_DOMAIN=domain)
        done = fetched(platform, command, target)
        assert len(proxy.asked) == len(done.failed) > 0
    assert done.code == 3, done.said
    assert {line["error"] for line in done.failed} == {"forbidden"}
    assert all(f"the proxy {proxy.url} {said}" in line["message"] for line in done.failed)
    assert done.summary["run"]["retries"] == 0


def test_an_unknown_authority_is_named(platform: MediaPlatform, target: Path) -> None:
    """Without --ca-bundle there is no connection: exit code 4, in one line that names the flag."""
    done = by_way_of(platform).installed("media", target, *PDFS)
    assert done.returncode == 4
    assert "name that with --ca-bundle" in done.stderr
    assert "Traceback" not in done.stderr
