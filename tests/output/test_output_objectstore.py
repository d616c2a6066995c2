"""Targets in an object store, against moto's S3 server over HTTP on loopback and obstore's store in memory.

Azure and Google are tested as far as their addresses: what differs there is obstore's.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import anyio
import msgspec
import pytest
import trustme
from obstore.exceptions import GenericError
from obstore.store import MemoryStore

from harvester.errors import (
    BadInput,
    CannotFinishNow,
    CredentialsRefused,
    HarvesterError,
    StoreAway,
    TargetRefused,
)
from harvester.output.lease import LEASE, LOCK, Lease
from harvester.output.lock_owner import LockOwner
from harvester.output.objectstore import LARGE, ObjectStoreTarget
from harvester.output.outages import Clock
from harvester.output.store_address import parse_address
from harvester.output.store_client import Objects
from harvester.output.store_errors import translate
from harvester.output.target import LocalTarget, open_target
from harvester.output.verify import verify
from harvester.settings import object_store_ca_bundle, object_store_plain_http
from harvester.stopping import held, stopping_when
from tests.conformance import check_target
from tests.encord.recording import Recording, Reply, Tunnel
from tests.engines.test_engines_messages import WORK
from tests.output.small import PURPOSE, contents, export
from tests.output.stores import BUCKET, S3, answering, reach, s3_server
from tests.patience import LONG


@pytest.fixture(scope="module")
def server() -> Iterator[S3]:
    with s3_server() as running:
        yield running


@pytest.fixture
def s3(server: S3, monkeypatch: pytest.MonkeyPatch) -> S3:
    reach(server, monkeypatch)
    return server


MEMORY = "s3://memory/out"


class InMemory(Objects):
    """Objects in a store in memory."""

    def __init__(self, store: MemoryStore | None = None) -> None:
        super().__init__(parse_address(MEMORY), store or MemoryStore())


def memory(objects: Objects | None = None, **timing: Any) -> ObjectStoreTarget:
    """A target of these objects. `timing`: options of its lease."""
    objects = objects or InMemory()
    return ObjectStoreTarget(MEMORY, objects=objects, lease=Lease(objects, MEMORY, **timing))


# -- a target like any other ----------------------------------------------------------------------


def test_a_bucket_is_a_target(s3: S3) -> None:
    """It keeps every promise of the protocol, as the shipped conformance check has them."""
    check_target(lambda: open_target(f"s3://{BUCKET}/conformance"))


def test_the_root_of_a_bucket_is_a_target(s3: S3) -> None:
    """Without a prefix, too."""
    s3.client.create_bucket(Bucket="whole-bucket")
    check_target(lambda: open_target("s3://whole-bucket"))


def test_a_store_in_memory_is_a_target() -> None:
    """obstore's own, whose conditional writes follow the same rules as S3's, Google's and Azure's."""
    store = MemoryStore()
    check_target(lambda: memory(InMemory(store)))


@pytest.mark.parametrize("compress", [None, "zstd"])
def test_an_export_has_the_same_files_as_a_local_one(s3: S3, tmp_path: Path, compress: str | None) -> None:
    """Byte by byte, the plan, the commit records and the manifest among them; all but the lock."""
    format_ = msgspec.structs.replace(PURPOSE.format, compress=compress)
    spec = msgspec.structs.replace(PURPOSE, format=format_)
    export(LocalTarget(tmp_path), spec)
    target = open_target(f"s3://{BUCKET}/same-{compress}")
    export(target, spec)
    stored, local = s3.contents(f"same-{compress}"), contents(tmp_path)
    assert stored.pop(".harvester/lock") != local.pop(".harvester/lock")
    assert stored == local
    assert verify(target).problems == []


@pytest.mark.parametrize(
    "name", ["manifest.json", "rows-00001.ndjson", ".harvester/plan.json", ".harvester/commits/00002.json"]
)
def test_damage_in_a_bucket_is_named_and_mended(s3: S3, name: str) -> None:
    """As in a directory: `verify` names the object, the next export ends with the same bytes."""
    prefix = f"damage-{name}"
    target = open_target(f"s3://{BUCKET}/{prefix}")
    export(target)
    whole = s3.contents(prefix)
    s3.put(f"{prefix}/{name}", whole[name][:-9] + b"x")
    assert any(problem.name == name for problem in verify(target).problems)
    export(open_target(f"s3://{BUCKET}/{prefix}"))
    assert {**s3.contents(prefix), ".harvester/lock": b""} == {**whole, ".harvester/lock": b""}


def test_a_folder_of_a_target_is_a_target(s3: S3) -> None:
    """Its name opens it, in another process too, and its files are no files of the whole."""
    whole = open_target(f"s3://{BUCKET}/whole")
    inner = whole.within("generations/00001")
    inner.put("manifest.json", b"{}")
    inner.within("deeper").put("x", b"1")
    assert inner.name == f"s3://{BUCKET}/whole/generations/00001"
    assert open_target(inner.name).read("manifest.json") == b"{}"
    assert whole.names("generations/00001") == [("generations/00001/manifest.json", 2)]
    assert whole.names() == []


# -- large files ----------------------------------------------------------------------------------


def test_a_large_file_is_uploaded_in_pieces(s3: S3) -> None:
    """It is seen by nobody before it is complete, and then whole."""
    target = open_target(f"s3://{BUCKET}/large")
    pieces = [bytes([i]) * 1024**2 for i in range(2 * LARGE // 1024**2)]
    draft = target.create("objects-00000.ndjson")
    for piece in pieces:
        draft.write(piece)
    assert target.names() == []
    draft.commit()
    assert target.read("objects-00000.ndjson") == b"".join(pieces)
    assert s3.uploads() == []
    [etag] = [
        found["ETag"] for found in s3.client.list_objects_v2(Bucket=BUCKET, Prefix="large/")["Contents"]
    ]
    assert etag.strip('"').endswith("-4"), "four pieces: S3 counts them in the tag"


def test_an_upload_that_is_dropped_is_aborted(s3: S3) -> None:
    """Nothing stays behind in the store, not even what only the bill shows."""
    draft = open_target(f"s3://{BUCKET}/dropped").create("objects-00000.ndjson")
    for _ in range(2 * LARGE // 1024**2):
        draft.write(bytes(1024**2))
    draft.discard()
    assert s3.uploads() == []
    assert s3.contents("dropped") == {}


def test_many_uploads_wait_for_their_pieces_at_once(s3: S3) -> None:
    """Open parts that wait for rows keep none of the others from being written."""
    target = open_target(f"s3://{BUCKET}/many")
    drafts = [target.create(f"objects-{i:05}.ndjson") for i in range(12)]
    for draft in drafts:
        draft.write(bytes(LARGE))
    target.put("manifest.json", b"{}")
    for draft in drafts:
        draft.commit()
    assert [size for _, size in target.names()] == [2, *[LARGE] * 12]


def test_an_upload_that_fails_says_so(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    """To whoever commits it, large or small."""
    with answering(403, b"<Error><Code>AccessDenied</Code></Error>") as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        target = open_target(f"s3://{BUCKET}/fails")
        for size in (LARGE, 2):
            draft = target.create("objects-00000.ndjson")
            draft.write(bytes(size))
            with pytest.raises(CredentialsRefused, match="AccessDenied"):
                draft.commit()


# -- two writers ----------------------------------------------------------------------------------


def test_a_second_process_is_told_who_holds_the_target(s3: S3) -> None:
    """At once, on the same machine; nothing is touched."""
    with lock_owner(f"s3://{BUCKET}/held") as process:
        before = s3.contents("held")
        with pytest.raises(TargetRefused) as refused:
            export(open_target(f"s3://{BUCKET}/held"))
        assert f"s3://{BUCKET}/held is in use by process {process.pid} on " in refused.value.message
        assert s3.contents("held") == before


def test_the_lock_of_a_killed_process_is_no_obstacle(s3: S3) -> None:
    """On its own machine it is seen that it is dead: no waiting for its lease to end."""
    with lock_owner(f"s3://{BUCKET}/killed") as process:
        process.kill()
        process.wait()
    with open_target(f"s3://{BUCKET}/killed").lock():
        pass


def test_of_many_that_come_at_once_one_wins(s3: S3) -> None:
    """Eight threads with targets of their own: one holds the lease, the others are refused."""
    targets = [open_target(f"s3://{BUCKET}/race") for _ in range(8)]
    done = Event()

    def attempt(target: ObjectStoreTarget) -> str:
        try:
            with target.lock():
                done.wait(LONG)
                return "held"
        except TargetRefused:
            return "refused"

    with ThreadPoolExecutor(8) as pool:
        attempts = [pool.submit(attempt, target) for target in targets]
        while sum(each.done() for each in attempts) < 7:
            assert not done.wait(0.01)
        done.set()
    assert sorted(each.result() for each in attempts) == ["held", *["refused"] * 7]


class VirtualClock(Clock):
    """Stands still but for the leases' own pauses."""

    def __init__(self, during_pause: Callable[[float], object] = lambda at: None) -> None:
        self.at = 1000.0
        self._during_pause = during_pause

    def now(self) -> float:
        return self.at

    def pause(self, seconds: float) -> None:
        self.at += seconds
        self._during_pause(self.at)


ELSEWHERE = LockOwner(
    pid=7, host="elsewhere", since="2026-01-01", command="harvester export", machine="another"
)


def held_elsewhere(beat: int = 0) -> bytes:
    """The lock of a process of another machine, dead or alive."""
    return msgspec.json.encode({"token": "theirs", "beat": beat, "owner": ELSEWHERE})


def left_by_another_machine() -> MemoryStore:
    store = MemoryStore()
    store.put(LOCK, held_elsewhere())
    return store


def test_the_lease_of_another_machine_is_taken_once_it_has_ended() -> None:
    """A holder that gives no sign of life for a whole lease, by our own clock, is taken for dead."""
    clock = VirtualClock()
    with memory(InMemory(left_by_another_machine()), clock=clock).lock():
        assert clock.at == pytest.approx(1000 + LEASE, abs=1)


def test_a_holder_on_another_machine_that_gives_a_sign_of_life_is_let_be() -> None:
    """The newcomer is refused as soon as it sees one, and names the holder."""
    store = left_by_another_machine()
    clock = VirtualClock(lambda at: at > 1009 and store.put(LOCK, held_elsewhere(beat=1)))
    target = memory(InMemory(store), clock=clock)
    with pytest.raises(TargetRefused, match="in use by process 7 on elsewhere since"), target.lock():
        pass
    assert clock.at == pytest.approx(1010, abs=1)


def test_a_holder_that_slept_through_its_lease_writes_nothing_more() -> None:
    """Neither the manifest nor anything else, whole or in pieces: its successor has the target."""
    store, clock = MemoryStore(), VirtualClock()
    sleeper, successor = (memory(InMemory(store), clock=clock) for _ in range(2))
    with sleeper.lock():
        pieces = sleeper.create("objects-00000.ndjson")
        pieces.write(bytes(LARGE))
        clock.at += 2 * LEASE
        store.put(LOCK, held_elsewhere())
        with pytest.raises(TargetRefused, match="was taken over by process 7 on elsewhere"):
            sleeper.put("manifest.json", b"{}")
        with pytest.raises(TargetRefused):
            sleeper.delete("manifest.json")
        with pytest.raises(TargetRefused):
            pieces.commit()
    assert [name for name, _ in successor.names()] == []
    assert b"theirs" in (successor.read(LOCK) or b""), "and it does not free what is not its own"


def test_a_holder_that_was_only_out_of_reach_goes_on() -> None:
    """Nobody has taken the lease in the meantime: it is renewed ahead of the next write."""
    clock = VirtualClock()
    target = memory(clock=clock)
    with target.lock():
        clock.at += 10 * LEASE
        target.put("manifest.json", b"{}")
    assert target.read("manifest.json") == b"{}"


@pytest.mark.parametrize(("passed", "renewals"), [(0.0, 0), (20.0, 0), (20.1, 1), (29.9, 1)])
def test_a_write_waits_for_a_renewal_in_the_last_third_of_the_lease(passed: float, renewals: int) -> None:
    """With less than ten of its thirty seconds left: a write that takes long must not outlive it."""
    clock = VirtualClock()
    target = memory(clock=clock)

    def beat() -> int:
        return json.loads(target.read(LOCK) or b"")["beat"]

    with target.lock():
        before = beat()
        clock.at += passed
        target.put("manifest.json", b"{}")
        assert beat() - before == renewals


def test_a_write_that_was_under_way_when_the_lease_went_overwrites_nothing() -> None:
    """Between making sure and writing the holder falls asleep: its write is of an older version."""
    store, clock = MemoryStore(), VirtualClock()

    class Asleep(InMemory):
        def put(self, name: str, data: bytes, *, over: Any) -> Any:
            if name == "manifest.json" and clock.at < 1001:
                clock.at += 2 * LEASE
                store.put(LOCK, held_elsewhere())
                store.put("manifest.json", b"theirs")
            return super().put(name, data, over=over)

    sleeper = memory(Asleep(store), clock=clock)
    with sleeper.lock(), pytest.raises(TargetRefused, match="was taken over"):
        sleeper.put("manifest.json", b"ours")
    assert sleeper.read("manifest.json") == b"theirs"


def test_a_worker_whose_export_has_lost_the_target_stops_writing() -> None:
    """A worker process holds no lease of its own: it works for the holder whose token it was given."""
    store = MemoryStore()
    parent = memory(InMemory(store))
    with parent.lock():
        worker = worker_of(parent, store)
        worker.put("objects-00000.ndjson", b"1\n")
        parent.put("objects-00001.ndjson", b"2\n")
    with pytest.raises(TargetRefused, match="no longer in the hands of the export"):
        worker.put("objects-00002.ndjson", b"3\n")
    with parent.lock(), pytest.raises(TargetRefused):
        worker.put("objects-00002.ndjson", b"3\n")


def test_a_worker_that_writes_first_after_a_takeover_writes_nothing() -> None:
    """It does not take the new holder for its own, and leaves the finished files of that one alone."""
    store = MemoryStore()
    parent = memory(InMemory(store))
    with parent.lock():
        worker = worker_of(parent, store)
        draft = worker.create("objects-00000.ndjson")
        draft.write(b"old\n")
        store.put(LOCK, held_elsewhere())
        store.put("objects-00000.ndjson", b"new\n")
        for write in (draft.commit, partial(worker.delete, "objects-00000.ndjson")):
            with pytest.raises(TargetRefused, match="no longer in the hands of the export"):
                write()
    assert worker.read("objects-00000.ndjson") == b"new\n"


def worker_of(parent: ObjectStoreTarget, store: MemoryStore) -> ObjectStoreTarget:
    return memory(InMemory(store), token=parent.opened_as[2])


@pytest.mark.parametrize("successor", [None, held_elsewhere()], ids=["none", "one"])
def test_a_lease_that_was_given_back_lets_nothing_through(successor: bytes | None) -> None:
    """Whether or not somebody holds it by now; until it is taken again."""
    store = MemoryStore()
    target = memory(InMemory(store), clock=VirtualClock())
    with target.lock():
        inner = target.within("generations/00001")
    if successor:
        store.put(LOCK, successor)
    for each in (target, inner):
        with pytest.raises(TargetRefused, match="no longer in the hands of this export, which has ended"):
            each.put("manifest.json", b"{}")
    assert target.read("manifest.json") is None
    with target.lock():
        target.put("manifest.json", b"{}")


def test_a_lease_that_is_lost_ends_what_runs_under_it() -> None:
    """At the next renewal, though nothing is written: with the error that names the new holder."""
    store = MemoryStore()
    target = memory(InMemory(store), renewal=0.01)

    async def main() -> None:
        with anyio.fail_after(LONG):
            async with stopping_when(None, None) as ending, held(target, ending):
                store.put(LOCK, held_elsewhere())
                await anyio.sleep_forever()

    with pytest.raises(TargetRefused, match="was taken over by process 7 on elsewhere"):
        anyio.run(main)
    assert target.read(LOCK) == held_elsewhere()


def test_a_worker_in_a_folder_works_for_the_holder_of_the_whole(s3: S3) -> None:
    """A generation of a sync, opened as its export's process has it opened: guarded by the same lease."""
    whole = open_target(f"s3://{BUCKET}/folder-of-whole")
    with whole.lock():
        generation = whole.within("generations/00001")
        work = msgspec.structs.replace(
            WORK, **dict(zip(("target", "folder", "token"), generation.opened_as, strict=True))
        )
        worker = work.open_target()
        worker.put("objects-00000.ndjson", b"1\n")
        assert generation.read("objects-00000.ndjson") == b"1\n"
    with pytest.raises(TargetRefused, match="no longer in the hands of the export"):
        worker.put("objects-00001.ndjson", b"2\n")


def test_a_lock_that_is_waited_for_can_be_given_up() -> None:
    """A signal during the wait for another machine's lease ends the run at once."""
    target = memory(InMemory(left_by_another_machine()))

    async def main() -> None:
        stopping = anyio.Event()
        async with stopping_when(stopping, None) as ending:
            stopping.set()
            async with held(target, ending):
                raise AssertionError("nobody gave it")

    with pytest.raises(CannotFinishNow, match="stopped"):
        anyio.run(main)


class CreatesUnconditionally(InMemory):
    """Takes no notice of "only if there is none"."""

    def put(self, name: str, data: bytes, *, over: Any) -> Any:
        return super().put(name, data, over=over or self.version(name))


class ReplacesUnconditionally(InMemory):
    """Takes no notice of `If-Match`."""

    def put(self, name: str, data: bytes, *, over: Any) -> Any:
        return super().put(name, data, over=over and self.version(name))


class ReplacesNothing(InMemory):
    """Answers 501 to `If-Match`, as obstore reports it."""

    def put(self, name: str, data: bytes, *, over: Any) -> Any:
        if over:
            raise translate(self.address, GenericError("Server returned non-2xx status code: 501: <html>"))
        return super().put(name, data, over=over)


class NamesNoVersions(InMemory):
    """Leaves out the ETag."""

    def put(self, name: str, data: bytes, *, over: Any) -> Any:
        super().put(name, data, over=over)
        return {}


@pytest.mark.parametrize(
    "store", [CreatesUnconditionally, ReplacesUnconditionally, ReplacesNothing, NamesNoVersions]
)
def test_a_store_without_conditional_writes_is_refused(store: type[InMemory]) -> None:
    """Two exports could not be kept apart there. Before anything is harvested, not at the first renewal."""
    with pytest.raises(BadInput, match="conditional writes"), memory(store()).lock():
        raise AssertionError("taken")


def test_the_lease_is_renewed_while_it_is_held() -> None:
    """Without anybody writing, by a thread of its own."""
    target, beats = memory(renewal=0.01), set[int]()
    with target.lock():
        while len(beats) < 3:
            beats.add(msgspec.json.decode(target.read(LOCK) or b"")["beat"])


# -- addresses and errors -------------------------------------------------------------------------


def test_addresses_of_all_three_clouds_are_understood() -> None:
    """Scheme, bucket, prefix; slashes too many are no matter."""
    assert parse_address("s3://bucket/a/b/") == ("s3", "bucket", "a/b")
    assert parse_address("gs://bucket") == ("gs", "bucket", "")
    assert parse_address("az://container//x") == ("az", "container", "x")
    assert str(parse_address("az://container//x/")) == "az://container/x"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("s3://", "names no bucket: write s3://bucket/prefix"),
        ("az://", "names no container"),
        ("s3://me:secret@bucket/x", "no user, port, query or fragment"),
        ("s3://bucket/x?sig=secret", "no user, port, query or fragment"),
        ("s3://bucket/a/../b", "names no bucket"),
        ("https://bucket/x?sig=secret", "no target is at https://: use s3://, gs://, az:// or a directory"),
        ("s3://[", "is no address"),
    ],
)
def test_what_is_no_address_is_bad_input(name: str, said: str) -> None:
    """One line, and nothing of what may be secret in it."""
    with pytest.raises(BadInput) as refused:
        open_target(name)
    assert said in refused.value.message
    assert "secret" not in refused.value.message


def test_an_address_that_became_a_path_is_bad_input() -> None:
    """`Path("s3://bucket")` is a directory called ``s3:`` to Python: no export should end up there."""
    with pytest.raises(BadInput, match="give the address of an object store as text"):
        open_target(Path("s3://bucket/x"))


ERRORS = [
    (403, "AccessDenied", CredentialsRefused, "the store refuses these credentials (AccessDenied)"),
    (403, "InvalidAccessKeyId", CredentialsRefused, "(InvalidAccessKeyId)"),
    (400, "ExpiredToken", CredentialsRefused, "(ExpiredToken)"),
    (401, "", CredentialsRefused, "the store refuses these credentials"),
    (404, "NoSuchBucket", BadInput, "there is no such bucket"),
    (301, "PermanentRedirect", BadInput, "is in another region"),
    (400, "AuthorizationHeaderMalformed", BadInput, "is in another region (AuthorizationHeaderMalformed)"),
    (503, "SlowDown", StoreAway, "the store answers 503 (SlowDown)"),
    (507, "", StoreAway, "the store answers 507"),
    (429, "", StoreAway, "the store answers 429"),
    (400, "InvalidRequest", CannotFinishNow, "the store answers 400 (InvalidRequest)"),
    (501, "NotImplemented", BadInput, "such as conditional writes (NotImplemented)"),
    (501, "", BadInput, "its store does not do what an export there needs"),
]


@pytest.mark.parametrize(("status", "code", "kind", "said"), ERRORS)
def test_errors_of_the_store_become_ours(
    s3: S3, monkeypatch: pytest.MonkeyPatch, status: int, code: str, kind: type[HarvesterError], said: str
) -> None:
    """Each with its exit code, and no address or key but the target's own name."""
    with answering(
        status, f"<Error><Code>{code}</Code><Message>see key AKIA</Message></Error>".encode()
    ) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        with pytest.raises(kind) as raised:
            Objects(parse_address("s3://labels/out")).check()
    assert type(raised.value) is kind
    assert raised.value.message.startswith("s3://labels/out: ")
    assert said in raised.value.message
    assert "AKIA" not in raised.value.message
    assert "http" not in raised.value.message


SKEWED = "<Code>RequestTimeTooSkewed</Code><Message>The difference is too large.</Message>"


@pytest.mark.parametrize(
    ("ahead", "words"),
    [
        (timedelta(hours=1, minutes=1), "this machine's clock is 1 h 1 min behind the store's: set it"),
        (timedelta(minutes=-16), "this machine's clock is 16 min ahead of the store's: set it"),
        (timedelta(0), "check this machine's clock ("),
        (None, "check this machine's clock ("),
    ],
    ids=["behind", "ahead", "they agree", "it does not say"],
)
def test_a_store_that_refuses_the_date_says_how_far_the_clocks_differ(
    s3: S3, monkeypatch: pytest.MonkeyPatch, ahead: timedelta | None, words: str
) -> None:
    """By the time in its answer; the credentials may be good. Exit code 4."""
    shown = (
        "" if ahead is None else f"<ServerTime>{datetime.now(UTC) + ahead:%Y-%m-%dT%H:%M:%SZ}</ServerTime>"
    )
    with answering(403, f"<Error>{SKEWED}{shown}</Error>".encode()) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        with pytest.raises(CredentialsRefused) as raised:
            open_target("s3://labels/out").ensure()
    said = "s3://labels/out: the store refuses the request's date (RequestTimeTooSkewed): "
    assert raised.value.message.startswith(said + words)


@pytest.mark.parametrize(
    "text",
    [
        "AuthenticationFailed: Request date header too old: 'Sat, 31 Jan 2026 12:00:00 GMT'",
        "SignatureDoesNotMatch: Signature expired: 20260131T120000Z is now earlier than 20260131T124500Z",
        "SignatureDoesNotMatch: Signature not yet current: 20260131T120000Z is still later than",
        "invalid_grant: Invalid JWT: Token must be a short-lived token (60 minutes)",
    ],
)
def test_other_clouds_words_for_a_wrong_clock_are_known(text: str) -> None:
    """As their documentation has them."""
    refused = translate(parse_address("az://container/out"), Exception(text))
    assert isinstance(refused, CredentialsRefused)
    assert "the store refuses the request's date: check this machine's clock" in refused.message


CERTIFICATES = {
    "old": ((-20, -10), "has expired as of this machine's clock"),
    "new": ((10, 20), "is not valid yet as of this machine's clock"),
    "of an unknown authority": (
        None,
        "cannot be trusted: if a private authority signed it, set AWS_CA_BUNDLE",
    ),
}


@pytest.mark.parametrize("case", CERTIFICATES)
def test_a_store_s_certificate_is_named(
    s3: S3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, case: str
) -> None:
    """Out of its time, the clock is to be looked at first. Exit code 4."""
    days, words = CERTIFICATES[case]
    ours, theirs = trustme.CA(), trustme.CA()
    ours.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    if days:
        since, until = (datetime.now(UTC) + timedelta(number) for number in days)
        certificate = ours.issue_cert("127.0.0.1", not_before=since, not_after=until)
    else:
        certificate = theirs.issue_cert("127.0.0.1")
    with Recording(lambda asked: Reply(b""), certificate) as running:
        monkeypatch.setenv("AWS_ENDPOINT_URL", running.url)
        with pytest.raises(CredentialsRefused, match=f"the store's certificate {words}"):
            open_target("s3://labels/out").ensure()


def test_a_proxy_between_is_named(s3: S3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its password is sent; where it is wrong, that ends with exit code 4 and is not shown."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    for name in ("NO_PROXY", "no_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    empty = Reply(b"<ListBucketResult></ListBucketResult>")
    with (
        Recording(lambda asked: empty, authority.issue_cert("127.0.0.1")) as running,
        Tunnel(wants="me:p/a") as proxy,
    ):
        monkeypatch.setenv("AWS_ENDPOINT_URL", running.url)
        address = parse_address("s3://labels/out")
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:p%2Fa@{proxy.host}")
        Objects(address).check()
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:CANARY@{proxy.host}")
        with pytest.raises(CredentialsRefused, match=r"proxy \(HTTPS_PROXY.* does not accept") as refused:
            Objects(address).check()
        assert "CANARY" not in refused.value.message
    with Tunnel(answers="403 Forbidden") as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with pytest.raises(CannotFinishNow, match=r"cannot be reached through the proxy \(HTTPS_PROXY"):
            Objects(address).check()


def test_a_store_that_cannot_be_reached_is_told_at_once(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the start a wrong address is likelier than an outage: no minutes of retries."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(CannotFinishNow, match="s3://labels/out: the store cannot be reached"):
        open_target("s3://labels/out").ensure()


def test_a_missing_object_is_said_by_name(s3: S3) -> None:
    """As a missing file is."""
    with pytest.raises(CannotFinishNow, match=r"/objects-00000\.ndjson: there is no such object"):
        open_target(f"s3://{BUCKET}/none").open("objects-00000.ndjson")


def test_plain_http_is_for_loopback_only() -> None:
    """As for the platform's own address; https may be anywhere."""
    assert object_store_plain_http("s3", {"AWS_ENDPOINT_URL": "http://localhost:9000"})
    assert not object_store_plain_http("s3", {"AWS_ENDPOINT_URL": "https://minio.example"})
    assert not object_store_plain_http("gs", {"AWS_ENDPOINT_URL": "http://minio.example"})
    with pytest.raises(BadInput, match="AWS_ENDPOINT_URL_S3 must be https: http is for loopback only"):
        object_store_plain_http("s3", {"AWS_ENDPOINT_URL_S3": "http://minio.example"})


def test_plain_http_cannot_be_allowed_by_other_means(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither can certificates be left unchecked: obstore would take either from the environment."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://127.0.0.1:1")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setenv("AWS_ALLOW_INVALID_CERTIFICATES", "true")
    options = open_target("s3://labels/out")._objects._store.client_options  # type: ignore[attr-defined]
    assert (options["allow_http"], options["allow_invalid_certificates"]) == ("false", "false")


def test_a_private_authority_is_named_as_the_cloud_has_it(tmp_path: Path) -> None:
    """AWS_CA_BUNDLE; a file that is not there is bad input."""
    (tmp_path / "ca.pem").write_bytes(b"certificates")
    assert object_store_ca_bundle({}) is None
    assert object_store_ca_bundle({"AWS_CA_BUNDLE": str(tmp_path / "ca.pem")}) == b"certificates"
    with pytest.raises(BadInput, match="AWS_CA_BUNDLE cannot be read: No such file"):
        object_store_ca_bundle({"AWS_CA_BUNDLE": str(tmp_path / "none.pem")})


def test_a_missing_extra_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what to install."""
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(BadInput, match=r"pip install 'encord-harvester\[cloud\]', or in a clone"):
        open_target("s3://labels/out")


def test_azure_without_an_account_is_bad_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its address names the container only."""
    for name in ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(BadInput, match="set AZURE_STORAGE_ACCOUNT_NAME"):
        open_target("az://container/out")


class lock_owner:  # noqa: N801 - a context manager
    """Another process that holds the lock of a target."""

    def __init__(self, name: str) -> None:
        program = (
            "import sys; from harvester.output.target import open_target\n"
            "with open_target(sys.argv[1]).lock(): print(flush=True); sys.stdin.read()"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def __enter__(self) -> "subprocess.Popen[bytes]":
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"\n"
        return self.process

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()
