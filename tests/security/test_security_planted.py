"""The files of a target are data that is not trusted, so anything may be planted there.

No verb then touches a file outside, hangs, takes memory without bound, or ends with anything but a result
or an error of ours.
"""

import gzip
import json
import os
import random
import shutil
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from harvester.errors import HarvesterError, first_of
from harvester.live import live_records
from harvester.output.canonical import digest
from harvester.output.manifest import manifest_digest
from harvester.output.target import LocalTarget
from harvester.output.verify import verify
from harvester.report.measure import measure
from harvester.report.page import write_page
from tests.output.small import contents
from tests.security.scene import VERBS, Scene

READERS: dict[str, Callable[[Path], object]] = {
    "verify": lambda out: verify(LocalTarget(out)).problems,
    "live_records": lambda out: list(live_records(out)),
    "report": lambda out: write_page(measure(LocalTarget(out))),
}
SEALS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "manifest.json": lambda fields: fields | {"digest": manifest_digest(fields)},
    "plan.json": lambda fields: fields | {"seal": digest(fields, without=("seal",))},
    "listed.json": lambda fields: fields | {"seal": digest(fields, without=("seal",))},
    "changed.json": lambda fields: fields | {"digest": digest(fields, without=("digest",))},
}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return Scene(tmp_path_factory.mktemp("planted"))


def forge(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Changes a JSON file of a target, and makes its checksum right again, as an attacker would."""
    fields = json.loads(path.read_bytes())
    change(fields)
    seal = SEALS.get(path.name, lambda fields: fields | {"digest": digest(fields, without=("digest",))})
    try:
        fields = seal(fields)
    except (KeyError, TypeError, AttributeError):
        pass  # too odd for a checksum
    path.write_bytes(json.dumps(fields).encode())


def outcome(call: Callable[[], object]) -> object:
    """What `call` returns, or the error of ours that it ends with. Any other error fails the test."""
    try:
        return call()
    except (HarvesterError, BaseExceptionGroup) as error:
        ended = first_of(error)
        assert isinstance(ended, HarvesterError), repr(ended)
        return ended


NAMES = (
    "../victim", "/etc/passwd", "objects-00000.ndjson/../../victim", "generations/../../victim",
    ".harvester/plan.json", "a\nb", "",
)  # fmt: skip
FORGED: dict[str, tuple[str, Callable[[dict[str, Any]], object]]] = {
    **{
        f"a part called {name!r}": (
            "manifest.json", lambda fields, name=name: fields["parts"][0].update(name=name)
        )
        for name in NAMES
    },
    "a part that is not there": (
        "manifest.json",
        lambda fields: fields["parts"].append(fields["parts"][0] | {"name": "objects-00077.ndjson"}),
    ),
    "a part twice": ("manifest.json", lambda fields: fields["parts"].append(fields["parts"][0])),
    "a part of another kind": ("manifest.json", lambda fields: fields["parts"][0].update(kind="rows")),
    "a negative size": ("manifest.json", lambda fields: fields["parts"][0].update(bytes=-1)),
    "no counts": ("manifest.json", lambda fields: fields.update(counts={})),
    "counts of something else": ("manifest.json", lambda fields: fields["counts"].update(stolen=1)),
    "a record kind of its own": ("manifest.json", lambda fields: fields["records"].update(x={})),
    "a run of a billion years": ("manifest.json", lambda fields: fields["run"].update(seconds=1e300)),
    "a run of text": ("manifest.json", lambda fields: fields["run"].update(harvested="many")),
    "a pace of text": ("manifest.json", lambda fields: fields["run"].update(pace=[["a", "b"]] * 5)),
    "a generation that is not there": (
        "manifest.json", lambda fields: fields["generations"].append(fields["generations"][0] | {"number": 2})
    ),
    "a generation far away": ("manifest.json", lambda fields: fields["generations"][0].update(number=10**9)),
    "a feed called otherwise": (
        "manifest.json", lambda fields: fields["generations"][0]["feed"][0].update(name="../victim")
    ),
    "a listing called otherwise": ("manifest.json", lambda fields: fields["listing"].update(name="../x")),
    "an ontology called otherwise": ("manifest.json", lambda fields: fields["ontology"].update(name="../x")),
    "a setting that no flag takes": (
        "manifest.json", lambda fields: fields["options"].update(rows_per_part=0)
    ),
    "a plan of no rows a part": (
        ".harvester/plan.json", lambda fields: fields["format"].update(rows_per_part=0)
    ),
    "a plan with endless rows": (".harvester/plan.json", lambda fields: fields.update(rows=2**53)),
    "a plan with rows elsewhere": (".harvester/plan.json", lambda fields: fields.update(rows_file="../x")),
    "a commit with a file elsewhere": (
        ".harvester/commits/00000.json", lambda fields: fields["files"][0].update(name="../victim")
    ),
    "a commit with another part's file": (
        ".harvester/commits/00000.json", lambda fields: fields["files"][0].update(name="objects-00001.ndjson")
    ),
    "a commit of another outcome": (
        ".harvester/commits/00000.json", lambda fields: fields["rows"].update(stolen=1)
    ),
    "changes without counts": (
        "generations/00001/.harvester/changed.json", lambda fields: fields.update(rows={})
    ),
    "changes with a feed elsewhere": (
        "generations/00001/.harvester/changed.json",
        lambda fields: fields["feed"][0].update(name="../../victim"),
    ),
    "a listing with endless rows": (
        "generations/00001/.harvester/listed.json", lambda fields: fields.update(rows=2**53)
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", FORGED)
def test_what_a_file_of_the_target_says_is_checked(scene: Scene, tmp_path: Path, what: str) -> None:
    """Its checksum fits: `verify` names it all the same, and nothing outside of the target is opened."""
    out, victim = scene.begin(tmp_path / "out", synced=True), tmp_path / "victim"
    victim.write_bytes(b'{"kind": "object", "label_hash": "mine"}\n')
    place, change = FORGED[what]
    forge(out / place, change)
    found = outcome(lambda: READERS["verify"](out))
    assert found, "verify finds nothing wrong"
    for verb in ("live_records", "report"):
        assert "mine" not in str(outcome(lambda verb=verb: READERS[verb](out)))  # type: ignore[misc]
    outcome(lambda: VERBS["export"](scene, out))
    assert victim.read_bytes() == b'{"kind": "object", "label_hash": "mine"}\n'


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.ZstdCompressor(level=9).compress])
@pytest.mark.parametrize("place", ["objects-00000.ndjson", ".harvester/plan.ndjson.zst"])
def test_a_small_file_cannot_fill_the_memory(
    scene: Scene, tmp_path: Path, place: str, pack: Callable[[bytes], bytes]
) -> None:
    """One line of 400 MB, in a file of a few kilobytes that everything else says is right."""
    out = scene.begin(tmp_path / "out", synced=False)
    suffix = ".gz" if pack is gzip.compress else ".zst"
    bomb = pack(b'{"kind": "object", "x": "' + b"a" * 400_000_000)
    if place.startswith("objects"):
        for name in ("manifest.json", ".harvester/commits/00000.json"):
            key = "parts" if name == "manifest.json" else "files"
            forge(
                out / name,
                lambda fields, key=key: next(  # type: ignore[misc]
                    file for file in fields[key] if file["name"] == place
                ).update(name=place + suffix, bytes=len(bomb)),
            )
        (out / place).unlink()
        (out / (place + suffix)).write_bytes(bomb)
    elif suffix == ".zst":
        (out / place).write_bytes(bomb)
        forge(out / ".harvester/plan.json", lambda fields: fields.update(bytes=len(bomb)))
    tracemalloc.start()
    try:
        assert outcome(lambda: READERS["verify"](out)) or suffix == ".gz"
        for verb in ("live_records", "report"):
            outcome(lambda verb=verb: READERS[verb](out))  # type: ignore[misc]
        assert tracemalloc.get_traced_memory()[1] < 300_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("place", ["manifest.json", ".harvester/plan.json", ".harvester/commits/00000.json"])
def test_a_huge_file_is_not_read_at_once(scene: Scene, tmp_path: Path, place: str) -> None:
    """A sparse file takes no room on the disk, but all of its size in memory."""
    out = scene.begin(tmp_path / "out", synced=False)
    os.truncate(out / place, 40 * 1024**3)
    for verb in ("verify", "export"):
        assert "bytes" in str(outcome(lambda verb=verb: VERBS[verb](scene, out)))  # type: ignore[misc]


def test_a_sync_needs_no_fact_about_the_run_before(scene: Scene, tmp_path: Path) -> None:
    """Another version may have written fewer of them."""
    out = scene.begin(tmp_path / "out", synced=False)
    forge(out / "manifest.json", lambda fields: fields["run"].pop("body_bytes"))
    assert not isinstance(outcome(lambda: VERBS["sync"](scene, out)), HarvesterError)
    assert READERS["verify"](out) == []


ODD: tuple[object, ...] = (
    None, True, -1, 0, 10**18, 10**400, 1.5, 1e308, "", "../x", "\x00", "a" * 10_000, [], {}, [None] * 3,
    {"a": {"b": []}}, [[["x"]]],
)  # fmt: skip


def leaves(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a JSON value: the container and the key in it."""
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from leaves(value[key])


def plant(path: Path, rng: random.Random) -> None:
    """Puts something in the place of a file that belongs to the target."""
    data = path.read_bytes()
    match rng.choice(("json", "json", "json", "bytes", "cut", "empty", "fifo", "folder", "deep", "lines")):
        case "json" if path.suffix == ".json":
            forge(path, lambda fields: _replace(fields, rng))
        case "lines" | "json" if path.suffix == ".ndjson" and data:
            lines = data.splitlines()
            record = json.loads(lines[0])
            _replace(record, rng)
            path.write_bytes(b"\n".join([json.dumps(record).encode(), *lines[1:]]) + b"\n")
        case "bytes":
            path.write_bytes(rng.randbytes(rng.randint(1, 2000)))
        case "cut":
            path.write_bytes(data[: rng.randint(0, len(data))])
        case "fifo":
            path.unlink()
            os.mkfifo(path)
        case "folder":
            path.unlink()
            path.mkdir()
        case "deep":
            path.write_bytes(b'{"a":' * 100_000)
        case _:
            path.write_bytes(b"")


def _replace(fields: dict[str, Any], rng: random.Random) -> None:
    container, key = rng.choice(list(leaves(fields)))
    container[key] = rng.choice(ODD)


@given(seed=st.integers(0, 2**32))
@settings(max_examples=60)
def test_whatever_is_planted_no_verb_breaks(
    scene: Scene, tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    rng = random.Random(seed)
    folder = tmp_path_factory.mktemp("one")
    outside = folder / "outside"
    outside.write_bytes(b"mine")
    out = scene.begin(folder / "out", synced=rng.random() < 0.7)
    files = sorted(path for path in out.rglob("*") if path.is_file())
    for path in rng.sample(files, rng.randint(1, 3)):
        plant(path, rng)
    for verb in ("verify", "live_records", "report", rng.choice(("export", "sync"))):
        outcome(lambda verb=verb: {**VERBS, **_PAGES}[verb](scene, out))  # type: ignore[misc]
    assert {path.name for path in folder.iterdir()} == {"outside", "out"}
    assert outside.read_bytes() == b"mine"
    shutil.rmtree(folder)


_PAGES: dict[str, Callable[[Scene, Path], object]] = {"report": lambda scene, out: READERS["report"](out)}


def test_nothing_is_wrong_with_an_export_as_it_was_written(scene: Scene, tmp_path: Path) -> None:
    """Else the tests above would prove nothing."""
    out = scene.begin(tmp_path / "out", synced=True)
    before = contents(out)
    assert READERS["verify"](out) == []
    for name, call in READERS.items():
        assert not isinstance(outcome(lambda call=call: call(out)), HarvesterError), name  # type: ignore[misc]
    assert contents(out) == before
    assert msgspec.json.decode((out / "manifest.json").read_bytes())["generations"]
