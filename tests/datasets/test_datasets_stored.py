"""A data set in an object store is whole or not there, whenever a run is killed. A store in memory."""

from collections.abc import Callable, Iterable
from hashlib import sha256
from itertools import groupby
from typing import Any

import msgspec
import pytest
from obstore.store import MemoryStore

from harvester.datasets import stored
from harvester.datasets.conversion import CONVERSION, NEW, Conversion, ConvertedExport, write_conversion
from harvester.datasets.file_list import FILES, FileTotals, WrittenFile
from harvester.datasets.stored import replaced_in_store
from harvester.errors import StoreAway, TargetRefused, Unsound
from harvester.output.export_spec import Project
from harvester.output.lease import LOCK, Lease
from harvester.output.objectstore import ObjectStoreTarget
from harvester.output.outages import Clock
from harvester.output.store_address import parse_address
from harvester.output.store_client import Objects

NAME = "s3://memory/set"
BEGUN = Conversion(
    version=1,
    harvester="0",
    to="yolo",
    format_version=1,
    options={},
    selection={},
    export=ConvertedExport(project=Project("p", "Small"), digest="", listing=None, counts={}),
    not_exported=[],
    records={},
    remarks={},
    tables={},
    files=FileTotals(0, 0, ""),
)
EARLIER = {"data.yaml": b"1", "labels/a.txt": b"a1", "labels/b.txt": b"b1", "labels/old.txt": b"o"}
LATER = {"data.yaml": b"2", "labels/a.txt": b"a2", "labels/b.txt": b"b1", "labels/new.txt": bytes(300_000)}


class Killed(BaseException):
    """The process is dead: no request leaves it any more."""


class Mortal(Objects):
    """Objects in memory. `seen` is what a reader found after each write: the data set, or None."""

    def __init__(self, store: MemoryStore, dies_at: int = 0) -> None:
        super().__init__(parse_address(NAME), store)
        self.kept, self.dies_at, self.writes = store, dies_at, 0
        self.seen: list[dict[str, bytes] | None] = []

    def _lives(self) -> None:
        if self.dies_at and self.writes >= self.dies_at:
            raise Killed

    def _written(self) -> None:
        self.writes += 1
        self.seen.append(data_set_in(self.kept))

    def get(self, name: str) -> Any:
        self._lives()
        return super().get(name)

    def put(self, name: str, data: bytes, *, over: Any) -> Any:
        self._lives()
        version = super().put(name, data, over=over)
        self._written()
        return version

    def upload(self, name: str, pieces: Iterable[bytes]) -> None:
        self._lives()
        super().upload(name, pieces)
        self._written()

    def copy(self, name: str, to: str) -> None:
        self._lives()
        super().copy(name, to)
        self._written()

    def delete(self, names: str | list[str]) -> None:
        self._lives()
        for name in [names] if isinstance(names, str) else names:  # a store may be killed in between
            super().delete(name)
            self._written()
            self._lives()


def objects_in(store: MemoryStore) -> dict[str, bytes]:
    """Every object but the lock."""
    names = [meta["path"] for page in store.list() for meta in page]
    return {name: bytes(store.get(name).bytes()) for name in names if name != LOCK}


def data_set_in(store: MemoryStore) -> dict[str, bytes] | None:
    """The files that `conversion.json` names, as they are; None if it is not there."""
    there = objects_in(store)
    if CONVERSION not in there:
        return None
    listed = there.get(FILES, b"")
    said = msgspec.json.decode(there[CONVERSION])["files"]["sha256"]
    assert sha256(listed).hexdigest() == said, "the list is another one than conversion.json says"
    names = [msgspec.json.decode(line)["name"] for line in listed.splitlines()]
    return {name: there.get(name, b"") for name in names}


def target_of(objects: Objects, clock: Clock | None = None) -> ObjectStoreTarget:
    return ObjectStoreTarget(NAME, objects=objects, lease=Lease(objects, NAME, clock=clock))


def write(
    target: ObjectStoreTarget,
    files: dict[str, bytes],
    begun: Conversion = BEGUN,
    *,
    meanwhile: Callable[[], object] = lambda: None,
    keep_on: Callable[[], object] = lambda: None,
) -> None:
    """Make a data set of these files."""
    with replaced_in_store(target, begun, keep_on) as (output, finish):
        for name, data in files.items():
            output.put(name, data)
        meanwhile()
        finish(msgspec.structs.replace(begun, files=output.put_list()))


def complete(place: ObjectStoreTarget, name: str) -> None:
    """Describe a data set of one file, which is not there."""
    listed = msgspec.json.encode(WrittenFile(name, 1, "")) + b"\n"
    place.put(FILES, listed)
    totals = FileTotals(1, 1, sha256(listed).hexdigest())
    write_conversion(place, msgspec.structs.replace(BEGUN, files=totals))


def with_earlier() -> MemoryStore:
    store = MemoryStore()
    write(target_of(Objects(parse_address(NAME), store)), EARLIER)
    return store


def test_readers_see_the_earlier_one_or_none_or_the_new_one() -> None:
    """In this order, after each write; at the end there is nothing else."""
    objects = Mortal(with_earlier())
    write(target_of(objects), LATER)
    assert [seen for seen, _ in groupby(objects.seen)] == [EARLIER, None, LATER]
    assert objects_in(objects.kept).keys() == LATER.keys() | {CONVERSION, FILES}


@pytest.mark.parametrize("copied_at_once", [stored.COPIED_AT_ONCE, 100_000])
def test_a_kill_at_any_write_leaves_one_whole_and_the_next_run_ends_it(
    monkeypatch: pytest.MonkeyPatch, copied_at_once: int
) -> None:
    """Also if that one is killed, too; and where files are too large to be copied by the store."""
    monkeypatch.setattr(stored, "COPIED_AT_ONCE", copied_at_once)
    undisturbed = Mortal(with_earlier())
    write(target_of(undisturbed), LATER)
    for number in range(1, undisturbed.writes + 1):
        store = with_earlier()
        for dies_at in (number, 14, 0):
            objects = Mortal(store, dies_at)
            try:
                write(target_of(objects), LATER)
            except Killed:
                store.delete(LOCK)  # its owner is dead
            assert all(seen in (EARLIER, None, LATER) for seen in objects.seen)
        assert objects_in(store) == objects_in(undisturbed.kept)


def test_one_that_fails_leaves_what_was_there() -> None:
    """What it had begun is gone."""
    store = with_earlier()
    before = objects_in(store)

    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write(target_of(Objects(parse_address(NAME), store)), LATER, meanwhile=fail)
    assert objects_in(store) == before


def test_one_that_is_told_to_stop_while_files_are_sent_stops() -> None:
    """Its caller is asked again and again."""

    def stop() -> None:
        raise KeyboardInterrupt

    store = MemoryStore()
    files = {f"labels/{number}.txt": b"1" for number in range(100)}
    with pytest.raises(KeyboardInterrupt):
        write(target_of(Objects(parse_address(NAME), store)), files, keep_on=stop)
    assert objects_in(store) == {}


FOREIGN = "labels/mine.txt"
OTHER = msgspec.structs.replace(BEGUN, options={"task": "segment"})


@pytest.mark.parametrize(
    ("there", "begun", "said"),
    [
        ({"notes.txt": b"mine"}, BEGUN, "holds files that are no data set of ours"),
        ({"manifest.json": b"{}", ".harvester/plan.json": b"{}"}, BEGUN, "no data set of ours"),
        (EARLIER, OTHER, "holds a data set with another option task"),
        (EARLIER | {FOREIGN: b"mine"}, BEGUN, f"holds {FOREIGN}, which is not of its data set"),
    ],
)
def test_what_is_no_earlier_conversion_of_the_same_is_never_overwritten(
    there: dict[str, bytes], begun: Conversion, said: str
) -> None:
    """Nothing at all is written, not even the lock."""
    store = with_earlier() if EARLIER.keys() <= there.keys() else MemoryStore()
    for name in there.keys() - EARLIER.keys():
        store.put(name, there[name])
    objects = Mortal(store)
    with pytest.raises(TargetRefused, match=said):
        write(target_of(objects), LATER, begun)
    assert objects.writes == 0


def test_a_damaged_manifest_is_mended_by_the_same_conversion() -> None:
    """`verify` says to convert again. A file that the new data set does not have is still never deleted."""
    store = with_earlier()
    store.put(CONVERSION, b"{}")
    before = objects_in(store)
    with pytest.raises(TargetRefused, match=r"holds labels/old\.txt, which is not of its data set"):
        write(target_of(Objects(parse_address(NAME), store)), LATER)
    assert objects_in(store) == before
    write(target_of(Objects(parse_address(NAME), store)), EARLIER)
    assert data_set_in(store) == EARLIER


def test_a_file_that_somebody_adds_meanwhile_is_not_overwritten() -> None:
    """It is looked for again before the files get their places."""
    store = with_earlier()
    target = target_of(Objects(parse_address(NAME), store))
    with pytest.raises(TargetRefused, match=r"labels/new\.txt, which is not of its data set"):
        write(target, LATER, meanwhile=lambda: store.put("labels/new.txt", b"mine"))
    assert objects_in(store)["labels/new.txt"] == b"mine"
    assert data_set_in(store) == EARLIER


def test_another_conversion_does_not_take_the_place_of_one_that_was_killed() -> None:
    """It is refused, and the first one can be ended."""
    store = with_earlier()
    objects = Mortal(store, dies_at=11)
    with pytest.raises(Killed):
        write(target_of(objects), LATER)
    store.delete(LOCK)
    assert data_set_in(store) is None
    with pytest.raises(TargetRefused, match="another option task"):
        write(target_of(Objects(parse_address(NAME), store)), LATER, OTHER)
    write(target_of(Objects(parse_address(NAME), store)), LATER)
    assert data_set_in(store) == LATER


@pytest.mark.parametrize("name", ["../outside", ".harvester/lock", "a//b", "/a"])
def test_a_name_that_is_of_no_data_set_is_never_used(name: str) -> None:
    """`conversion.json` is data, and whoever can write there may have made it."""
    store = MemoryStore()
    target = target_of(Objects(parse_address(NAME), store))
    complete(target.within(NEW), name)
    write(target, LATER)
    assert data_set_in(store) == LATER


def test_files_that_are_gone_before_they_got_their_places_are_named() -> None:
    """In one line, with what to do."""
    store = MemoryStore()
    target = target_of(Objects(parse_address(NAME), store))
    complete(target.within(NEW), "labels/a.txt")
    with pytest.raises(Unsound, match=r"\.harvester/new has lost labels/a\.txt: delete all below"):
        write(target, LATER)


class Impatient(Clock):
    """Pauses take no time, but count."""

    def __init__(self) -> None:
        self.at = 1000.0

    def now(self) -> float:
        return self.at

    def pause(self, seconds: float) -> None:
        self.at += seconds


class Away(Mortal):
    """Objects that are away for 20 s from one request on, of all kinds."""

    def __init__(self, clock: Impatient, number: int) -> None:
        super().__init__(with_earlier())
        self.clock, self.number, self.calls, self.until = clock, number, 0, 0.0

    def _lives(self) -> None:
        self.calls += 1
        if self.calls == self.number:
            self.until = self.clock.at + 20
        if self.clock.at < self.until:
            raise StoreAway("the store answers 503 (SlowDown)", answered=True)

    def pages(self, folder: str, after: str | None) -> Any:
        self._lives()
        return super().pages(folder, after)


def test_a_store_that_is_away_at_any_request_is_waited_for() -> None:
    """As exports wait for it."""
    undisturbed = Away(Impatient(), 0)
    write(target_of(undisturbed, undisturbed.clock), LATER)
    for number in range(1, undisturbed.calls + 1):
        objects = Away(Impatient(), number)
        write(target_of(objects, objects.clock), LATER)
        assert objects.until
        assert objects_in(objects.kept) == objects_in(undisturbed.kept)
