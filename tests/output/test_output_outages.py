"""A store that is away for a while, in virtual time: what a run does meanwhile, and when it answers again."""

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import pytest
import trustme
from obstore.store import MemoryStore

from harvester.errors import StoreAway, TargetRefused
from harvester.output.lease import LEASE, LOCK, Lease
from harvester.output.objectstore import LARGE, ObjectStoreTarget
from harvester.output.outages import LONGEST_OUTAGE, Clock
from harvester.output.store_address import parse_address
from harvester.output.store_client import Objects
from harvester.output.verify import verify
from tests.encord.recording import Asked, Recording, Reply
from tests.output.small import export
from tests.patience import LONG

NAME = "s3://memory/out"
SLOW = StoreAway("the store answers 503 (SlowDown)", answered=True)
UNREACHABLE = StoreAway("the store cannot be reached")
BEGAN = 1000.0


class SharedClock(Clock):
    """Moves on to the next end of a pause once all of its `users` pause."""

    def __init__(self, users: int = 1) -> None:
        self.at = BEGAN
        self._users = users
        self._ends: list[float] = []
        self._moved = threading.Condition()

    def now(self) -> float:
        return self.at

    def pause(self, seconds: float) -> None:
        with self._moved:
            end = self.at + seconds
            self._ends.append(end)
            self._move()
            assert self._moved.wait_for(lambda: self.at >= end, LONG)

    @contextmanager
    def used(self) -> Iterator[None]:
        """Of one user: for as long as it works."""
        try:
            yield
        finally:
            with self._moved:
                self._users -= 1
                self._move()

    def _move(self) -> None:
        if self._ends and len(self._ends) == self._users:
            self.at = min(self._ends)
            self._ends = [end for end in self._ends if end > self.at]
            self._moved.notify_all()


class Flaky(Objects):
    """Objects in memory that are away from `since` until `until`, by the clock.

    `calls` are all that were made: when, what and of which object.
    """

    def __init__(
        self, clock: SharedClock, error: StoreAway = SLOW, *, store: MemoryStore | None = None
    ) -> None:
        self.kept = store or MemoryStore()
        super().__init__(parse_address(NAME), self.kept)
        self.clock, self.error = clock, error
        self.since = self.until = 0.0
        self.calls: list[tuple[float, str, str]] = []

    def away(self, *, after: float = 0.0, seconds: float) -> None:
        self.since = self.clock.at + after
        self.until = self.since + seconds

    def called(self, what: str, name: str) -> None:
        self.calls.append((self.clock.at, what, name))
        if self.since <= self.clock.at < self.until:
            raise self.error

    def check(self) -> None:
        self.called("check", "")
        super().check()

    def get(self, name: str) -> Any:
        self.called("get", name)
        return super().get(name)

    def version(self, name: str) -> Any:
        self.called("version", name)
        return super().version(name)

    def put(self, name: str, data: bytes, *, over: Any) -> Any:
        self.called("put", name)
        return super().put(name, data, over=over)

    def upload(self, name: str, pieces: Iterable[bytes]) -> None:
        self.called("upload", name)
        super().upload(name, pieces)

    def stream(self, name: str, wait_out: Callable[[Callable[[], Any]], Any]) -> BinaryIO:
        wait_out(lambda: self.called("stream", name))
        return super().stream(name, wait_out)

    def names(self, folder: str) -> list[tuple[str, int]]:
        self.called("names", folder)
        return super().names(folder)

    def pages(self, folder: str, after: str | None) -> Iterator[list[tuple[str, int]]]:
        found = super().pages(folder, after)
        while True:
            self.called("pages", after or "")
            if (page := next(found, None)) is None:
                return
            yield page

    def delete(self, name: str) -> None:
        self.called("delete", name)
        super().delete(name)


def target_of(objects: Flaky, token: str = "") -> ObjectStoreTarget:
    return ObjectStoreTarget(NAME, objects=objects, lease=Lease(objects, NAME, token, clock=objects.clock))


def contents(objects: Flaky) -> dict[str, bytes]:
    """Every object but the lock."""
    store = objects.kept
    names = [meta["path"] for some in store.list() for meta in some]
    return {name: bytes(store.get(name).bytes()) for name in names if name != LOCK}


@pytest.fixture(scope="module")
def undisturbed() -> Flaky:
    """An export in a store that always answers."""
    objects = Flaky(SharedClock())
    export(target_of(objects))
    return objects


@pytest.mark.parametrize(("error", "seconds"), [(SLOW, 8), (UNREACHABLE, 25), (UNREACHABLE, 60)])
def test_an_outage_at_any_moment_is_waited_out(undisturbed: Flaky, error: StoreAway, seconds: float) -> None:
    """Whichever request meets it first: the export ends with the same bytes, and `verify` finds it sound."""
    for number in range(1, len(undisturbed.calls)):
        objects = AwayAt(number, seconds, error)
        export(target_of(objects))
        assert contents(objects) == contents(undisturbed)
        assert number == len(undisturbed.calls) - 1 or objects.clock.at >= BEGAN + seconds
        objects.until = 0.0
        assert verify(target_of(objects)).ok


class AwayAt(Flaky):
    """Goes away at its request of that number."""

    def __init__(self, number: int, seconds: float, error: StoreAway) -> None:
        super().__init__(SharedClock(), error)
        self._number, self._seconds = number, seconds

    def called(self, what: str, name: str) -> None:
        if len(self.calls) == self._number:
            self.away(seconds=self._seconds)
        super().called(what, name)


def test_the_outage_is_told_once_with_the_name_of_the_store(caplog: pytest.LogCaptureFixture) -> None:
    """And that it is over."""
    caplog.set_level("INFO", "harvester")
    export(target_of(AwayAt(5, 60, SLOW)))
    away, answers = caplog.records
    assert (away.message, away.levelname) == ("store.away", "WARNING")
    assert away.fields == {"store": NAME, "why": SLOW.message, "waiting_s": LONGEST_OUTAGE}  # type: ignore[attr-defined]
    assert answers.message == "store.answers"
    assert answers.fields["store"] == NAME  # type: ignore[attr-defined]
    assert 60 <= answers.fields["seconds"] <= 75  # type: ignore[attr-defined]


def test_no_write_is_tried_without_a_lease_that_is_good_for_it() -> None:
    """Ten seconds before the lease ends only its renewal is tried, until that succeeds."""
    objects = Flaky(SharedClock())
    target = target_of(objects)
    with target.lock():
        objects.away(seconds=60)
        target.put("manifest.json", b"{}")
    tried = [at - BEGAN for at, what, name in objects.calls if (what, name) == ("put", "manifest.json")]
    assert len(tried) >= 3
    *during, last = tried
    assert all(at <= LEASE - 10 for at in during)
    assert last >= 60
    renewed = [at - BEGAN for at, what, name in objects.calls if (what, name) == ("put", LOCK)]
    assert renewed[-2] >= 60, "the renewal that decided came after the outage, and before the write"


class FromElsewhere(Flaky):
    """The same store, as another machine sees it, where nothing is known of the lock's owner but its name."""

    def __init__(self, objects: Flaky) -> None:
        super().__init__(objects.clock, objects.error, store=objects.kept)
        self.since, self.until = objects.since, objects.until

    def get(self, name: str) -> Any:
        found = super().get(name)
        return found and (found[0].replace(b'"machine":"', b'"machine":"another than '), found[1])


@pytest.mark.parametrize("asleep", [False, True])
def test_of_two_runs_one_goes_on_when_the_store_answers_again(asleep: bool) -> None:
    """The other one is refused and writes nothing more: the newcomer, or an owner that slept for too long."""
    clock = SharedClock(users=2)
    objects = Flaky(clock)
    owner = target_of(objects)
    objects.away(after=5, seconds=60)
    newcomer = target_of(FromElsewhere(objects))

    def own() -> int:
        with clock.used(), owner.lock():
            taken.set()
            for number in range(12):
                clock.pause(200 if asleep and number == 0 else 5)
                owner.put(f"objects-{number:05}.ndjson", b"1\n")
        return 12

    def come() -> str:
        assert taken.wait(LONG)
        with clock.used(), newcomer.lock():
            newcomer.put("manifest.json", b"{}")
            clock.pause(300)
            return "went on"

    taken = threading.Event()
    with ThreadPoolExecutor(2) as pool:
        one, two = pool.submit(own), pool.submit(come)
        refused, other = (one, two) if asleep else (two, one)
        with pytest.raises(TargetRefused):
            refused.result(LONG)
        assert other.result(LONG)
    assert list(contents(objects)) == (
        ["manifest.json"] if asleep else [f"objects-{number:05}.ndjson" for number in range(12)]
    )


def test_a_listing_goes_on_after_the_page_that_came_last() -> None:
    """All files below the folder with their sizes, each once, and what came before is not asked again."""
    objects = Flaky(SharedClock())
    for number in range(2100):
        objects.kept.put(f"media/{number % 3}/{number:05}.jpg", bytes(number % 5))
    objects.kept.put("mediated/1.jpg", b"")
    names = target_of(objects).within("media").all_names()
    found = [next(names)]
    objects.away(seconds=5)
    found += names
    assert sorted(found) == sorted((f"{n % 3}/{n:05}.jpg", n % 5) for n in range(2100))
    asked = [name for _, what, name in objects.calls if what == "pages"]
    assert asked[0] == ""
    assert asked[-1].startswith("media/1/")


def test_a_store_that_stays_away_ends_it_with_what_it_was_waited_for() -> None:
    """After ten minutes; with exit code 5."""
    objects = Flaky(SharedClock())
    target = target_of(objects)
    with target.lock():
        objects.away(seconds=2 * LONGEST_OUTAGE)
        with pytest.raises(StoreAway, match=r"503 \(SlowDown\), for 6\d\d s") as ended:
            target.put("manifest.json", b"{}")
        assert ended.value.exit_code == 5
        assert LONGEST_OUTAGE <= objects.clock.at - BEGAN < LONGEST_OUTAGE + 15


def test_a_store_is_asked_again_at_growing_intervals() -> None:
    """After a second at first, and every ten at most: some eighty requests in ten minutes."""
    objects = Flaky(SharedClock())
    objects.away(seconds=2 * LONGEST_OUTAGE)
    with pytest.raises(StoreAway):
        target_of(objects).names()
    asked = [at for at, _, _ in objects.calls]
    pauses = [later - sooner for sooner, later in pairwise(asked)]
    assert 0.5 <= pauses[0] <= 1.25
    assert max(pauses) <= 10.25
    assert min(pauses[5:]) >= 5
    assert 60 <= len(asked) <= 130


def test_what_cannot_be_reached_at_first_is_told_at_once() -> None:
    """A wrong address is likelier than an outage. But a store that answers is there, if only with 503."""
    objects = Flaky(SharedClock(), UNREACHABLE)
    objects.away(seconds=60)
    with pytest.raises(StoreAway):
        target_of(objects).read("manifest.json")
    assert objects.clock.at == BEGAN
    objects.error = SLOW
    assert target_of(objects).read("manifest.json") is None
    assert objects.clock.at >= BEGAN + 60


def test_a_worker_that_begins_in_an_outage_waits() -> None:
    """Its export has reached the store before."""
    objects = Flaky(SharedClock(), UNREACHABLE)
    with (parent := target_of(objects)).lock():
        objects.away(seconds=60)
        target_of(objects, parent.opened_as[2]).put("objects-00000.ndjson", b"1\n")
    assert contents(objects) == {"objects-00000.ndjson": b"1\n"}


class HurriedClock(SharedClock):
    """While somebody pauses, the run is told to stop."""

    target: ObjectStoreTarget

    def pause(self, seconds: float) -> None:
        self.target.hurry()
        super().pause(seconds)


def test_a_run_that_is_to_stop_waits_no_longer() -> None:
    """Neither what waits now nor what would come after it."""
    objects = Flaky(clock := HurriedClock())
    clock.target = target = target_of(objects)
    with target.lock():
        objects.away(seconds=60)
        for inner in (target, target.within("generations/00001")):
            with pytest.raises(StoreAway):
                inner.put("manifest.json", b"{}")
    assert clock.at - BEGAN <= 0.25
    assert contents(objects) == {}


@pytest.mark.parametrize("lost", [LOCK, "manifest.json"])
def test_a_write_whose_response_is_lost_is_known_as_our_own(lost: str) -> None:
    """The lock that is taken or renewed as well as a file."""

    class Deaf(Flaky):
        heard = False

        def put(self, name: str, data: bytes, *, over: Any) -> Any:
            version = super().put(name, data, over=over)
            if name == lost and not self.heard:
                self.heard = True
                raise UNREACHABLE
            return version

    objects = Deaf(SharedClock())
    target = target_of(objects)
    target.ensure()
    with target.lock():
        objects.heard = False
        target.put("manifest.json", b"{}")
        objects.clock.at += 2 * LEASE
        objects.heard = False
        target.put("manifest.json", b"{1}")
        assert objects.heard
    assert contents(objects) == {"manifest.json": b"{1}"}


def test_a_large_file_is_sent_again_from_its_beginning() -> None:
    """What was sent before the store went away is dropped there."""

    class Breaks(Flaky):
        broken = False

        def upload(self, name: str, pieces: Iterable[bytes]) -> None:
            if not self.broken:
                self.broken = True
                next(iter(pieces))
                self.away(seconds=60)
            super().upload(name, pieces)

    objects = Breaks(SharedClock())
    target = target_of(objects)
    data = bytes(range(256)) * (LARGE // 128)
    with target.lock():
        draft = target.create("objects-00000.ndjson")
        draft.write(data)
        draft.commit()
    assert contents(objects) == {"objects-00000.ndjson": data}


def test_a_file_that_breaks_off_while_it_is_read_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From where it broke off, and of the same version; what is read is the file."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    data = b"".join(b"%d\n" % number for number in range(500_000))
    dated = {"ETag": '"one"', "Last-Modified": "Tue, 01 Dec 2026 10:00:00 GMT"}
    fields = [f"{name}: {value}" for name, value in {**dated, "Content-Length": len(data)}.items()]
    head = "\r\n".join(["HTTP/1.1 200 OK", *fields, "", ""]).encode()
    asked_again: list[Asked] = []

    def answers(asked: Asked) -> Reply:
        if "range" not in asked.headers:
            return Reply(raw=[head, data[:2_000_000]])
        asked_again.append(asked)
        if len(asked_again) <= 9:  # obstore gives up in between, and is asked anew
            return Reply(b"<Error><Code>SlowDown</Code></Error>", 503)
        start = int(asked.headers["range"].removeprefix("bytes=").partition("-")[0])
        shown = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}
        return Reply(data[start:], 206, dated | shown)

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    with Recording(answers, authority.issue_cert("127.0.0.1")) as running:
        for name, value in {
            "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1",
            "AWS_CA_BUNDLE": str(tmp_path / "ca.pem"), "AWS_ENDPOINT_URL": running.url,
        }.items():  # fmt: skip
            monkeypatch.setenv(name, value)
        objects = Objects(parse_address(NAME))
        target = ObjectStoreTarget(NAME, objects=objects, lease=Lease(objects, NAME, clock=SharedClock()))
        with target.open("objects-00000.ndjson") as file:
            assert file.read() == data
    assert asked_again[-1].headers["if-match"] == '"one"'
