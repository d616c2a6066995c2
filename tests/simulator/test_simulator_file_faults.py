"""What can go wrong with files: each fault, as a client that fetches them meets it."""

from collections.abc import Callable, Iterator

import pytest
import urllib3
from encord import EncordUserClient

from harvester.simulator import Simulator, WorldSpec
from harvester.simulator.faults import MEDIA_STRIKES, Faults
from tests.simulator.files import Files, path

SPEC = WorldSpec(rows=40, unlabelled=0, mix="pdf", odd=False)


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator(SPEC) as running:
        yield running


@pytest.fixture(scope="module")
def urls(simulator: Simulator) -> list[str]:
    """A signed URL of every file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REQUESTS_CA_BUNDLE", str(simulator.ca_file))
        user = EncordUserClient.create_with_ssh_private_key(
            ssh_private_key_path=str(simulator.ssh_key_file), domain=simulator.url
        )
        rows = user.get_project(simulator.project_hash).list_label_rows_v2()
        items = user.get_storage_items([row.backing_item_uuid or "" for row in rows], sign_url=True)
    return [item.get_signed_url() or "" for item in items]


@pytest.fixture
def web(simulator: Simulator) -> Iterator[Files]:
    fetched = Files(simulator)
    yield fetched
    fetched.close()
    simulator.set_faults()


Seen = Callable[[Files, str, bytes], bool]


def status(code: int) -> Seen:
    return lambda web, url, true: web.get(url).status == code


def body(check: Callable[[bytes, bytes], bool]) -> Seen:
    return lambda web, url, true: check(web.get(url).data, true)


def to(check: Callable[[str, str], bool]) -> Seen:
    def seen(web: Files, url: str, true: bytes) -> bool:
        answer = web.get(url)
        return answer.status == 302 and check(answer.headers["location"], url)

    return seen


def breaks(web: Files, url: str, true: bytes) -> bool:
    """The connection ends before the body does, or before the answer."""
    try:
        web.get(url)
    except (urllib3.exceptions.ProtocolError, urllib3.exceptions.IncompleteRead):
        return True
    return False


def comes_to_nothing(web: Files, url: str, true: bytes) -> bool:
    """Headers come, then half of the body, and no more; or nothing at all."""
    try:
        answer = web.open(url, timeout=0.3)
        answer.read()
    except urllib3.exceptions.ReadTimeoutError:
        return True
    return False


def elsewhere(location: str, url: str) -> bool:
    return location == url.replace("127.0.0.1", "localhost")


STRIKES: dict[str, Seen] = {
    "403": status(403),
    "404": status(404),
    "429": status(429),
    "500": status(500),
    "503": status(503),
    "expired": lambda web, url, true: web.get(url).status == (400 if "X-Goog" in url else 403),
    "truncated": breaks,
    "reset": breaks,
    "closed": breaks,
    "stalled": comes_to_nothing,
    "mute": comes_to_nothing,
    "slow": body(lambda got, true: got == true),
    "wrong_length": body(lambda got, true: got == true[:-7]),
    "wrong_checksum": body(lambda got, true: len(got) == len(true) and got != true),
    "html": lambda web, url, true: web.get(url).headers["content-type"] == "text/html",
    "changed": breaks,
    "redirect_http": to(lambda location, url: location == url.replace("https:", "http:")),
    "redirect_private": to(lambda location, url: location.startswith("https://10.")),
    "redirect_host": to(elsewhere),
    "redirect_loop": to(lambda location, url: location == url),
}


def test_every_fault_of_files_is_tried() -> None:
    assert set(STRIKES) == MEDIA_STRIKES


@pytest.mark.parametrize("strike", sorted(STRIKES))
def test_a_struck_file_is_struck_as_often_as_asked_for(
    simulator: Simulator, urls: list[str], web: Files, strike: str
) -> None:
    """Twice here; then the file comes as it is."""
    url = urls[0]
    true = web.get(url).data
    assert true.startswith(b"%PDF")
    simulator.set_faults(media=(strike,), media_times=2, trickle_seconds=0.001)
    before = simulator.stats()["struck"].get(strike, 0)
    assert STRIKES[strike](web, url, true)
    assert STRIKES[strike](web, url, true)
    got = web.get(url)
    assert (got.status, got.data == true) == (200, strike != "changed")
    assert simulator.stats()["struck"][strike] - before == 2


def test_another_host_serves_the_same_file(simulator: Simulator, urls: list[str], web: Files) -> None:
    """Its URL is still signed, and no fault is played there."""
    true = web.get(urls[0]).data
    simulator.set_faults(media=("redirect_host",))
    location = web.get(urls[0]).headers["location"]
    assert web.get(location).data == true


def test_a_changed_file_has_another_etag(simulator: Simulator, urls: list[str], web: Files) -> None:
    """A range of the first version, asked for with If-Range, is the whole second one."""
    first = web.get(urls[0])
    simulator.set_faults(media=("changed",), media_times=1)
    assert breaks(web, urls[0], first.data)
    again = web.get(urls[0], Range="bytes=50-", If_Range=first.headers["etag"])
    assert again.status == 200
    assert again.headers["etag"] != first.headers["etag"]
    assert len(again.data) == len(first.data)
    assert again.data != first.data


def test_a_share_of_the_files_is_struck(simulator: Simulator, urls: list[str], web: Files) -> None:
    """The same ones every time; each fault on some of them."""
    faults = Faults(media=("404", "500"), media_share=0.5)
    simulator.set_faults(faults)
    first = [web.get(url).status for url in urls]
    assert [web.get(url).status for url in urls] == first
    assert set(first) == {200, 404, 500}
    assert 8 < first.count(200) < 32
    simulator.set_faults(faults, seed=1)
    assert [web.get(url).status for url in urls] != first


def test_files_have_a_rate_of_their_own(simulator: Simulator, urls: list[str], web: Files) -> None:
    """429 above it, with Retry-After where the faults say so; the API's rate is another."""
    simulator.set_faults(media_rate=3, retry_after="seconds", retry_after_seconds=2)
    answers = [web.get(url) for url in urls[:8]]
    assert [answer.status for answer in answers[:3]] == [200, 200, 200]
    refused = [answer for answer in answers if answer.status == 429]
    assert refused
    assert {answer.headers["retry-after"] for answer in refused} == {"2"}
    assert simulator.stats()["media_refused"] == len(refused)
    simulator.set_faults(media=("429",))
    assert "retry-after" not in web.get(urls[0]).headers


def test_faults_and_bytes_are_counted_for_each_file(
    simulator: Simulator, urls: list[str], web: Files
) -> None:
    url = urls[-1]
    true = web.get(url).data
    before = simulator.stats()["media"][path(url)]
    simulator.set_faults(media=("truncated",), media_times=1)
    assert breaks(web, url, true)
    after = simulator.stats()["media"][path(url)]
    assert after["struck"] - before["struck"] == 1
    assert after["bytes"] - before["bytes"] == len(true) // 2


@pytest.mark.parametrize(
    "wrong",
    [{"media": ("no such",)}, {"media_share": 1.5}, {"media_rate": 0}, {"media_url_life": 0.5}],
    ids=str,
)
def test_faults_of_files_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        Faults(**wrong)  # type: ignore[arg-type]
