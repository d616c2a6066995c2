"""What the seams of harvester promise, checked on any implementation of them.

`check_label_rows` holds a source of label rows to what `harvester.fetch.source.LabelRows` promises,
`check_target` a place for an export to what `harvester.output.target.Target` does.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from harvester.errors import SkipRow, TargetRefused
from harvester.fetch.source import LabelRows, RowsResponse
from harvester.labels.wire import LabelRow, label_hash_of
from harvester.output.layout import STATE
from harvester.output.target import Target


def check_label_rows(
    source: LabelRows,
    label_hashes: Sequence[str],
    *,
    unknown: str = "00000000-0000-4000-8000-000000000000",
    threads: int = 8,
) -> None:
    """Checks a source that has the rows `label_hashes`, at least two, and none called `unknown`.

    Raises:
        AssertionError: says which promise is broken.
    """
    _require(len(label_hashes) >= 2, "the check needs two rows")
    for label_hash in label_hashes[:2]:
        _check_answer("get_label_row", source.get_label_row(label_hash), [label_hash])
    _check_answer("get_label_rows", source.get_label_rows(label_hashes), label_hashes)
    _check_answer("get_label_rows of one row", source.get_label_rows(label_hashes[:1]), label_hashes[:1])
    _check_unknown(source, label_hashes[0], unknown)
    with ThreadPoolExecutor(threads) as executor:
        for answer in executor.map(source.get_label_rows, [label_hashes] * threads):
            _check_answer("get_label_rows from many threads", answer, label_hashes)


def _check_answer(what: str, answer: RowsResponse, asked: Sequence[str]) -> None:
    found = sorted(label_hash_of(row) or "?" for row in answer.rows)
    _require(found == sorted(asked), f"{what}: asked for {sorted(asked)}, answered with {found}")
    size = sum(len(memoryview(row)) for row in answer.rows if not isinstance(row, LabelRow))
    _require(answer.body_bytes >= size, f"{what}: rows of {size} bytes in a body of {answer.body_bytes}")
    _require(answer.wire_bytes >= 0, f"{what}: {answer.wire_bytes} bytes over the network")


def _check_unknown(source: LabelRows, known: str, unknown: str) -> None:
    try:
        source.get_left_out(unknown)
    except SkipRow as error:
        _require(error.failure == "gone", "get_left_out: a row that there is none of is gone")
    else:
        raise AssertionError("get_left_out: a row that there is none of must raise SkipRow")
    try:
        answer = source.get_label_rows([known, unknown])
    except SkipRow:
        return  # the whole bundle fails, and its caller cuts it
    _check_answer("get_label_rows with a row that there is none of", answer, [known])


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise AssertionError(otherwise)


def check_target(make: Callable[[], Target]) -> None:
    """Checks an empty target. `make` gives the same place each time, as another process would see it.

    Raises:
        AssertionError: says which promise is broken.
    """
    target, other = make(), make()
    target.ensure()
    target.ensure()
    _check_files(target, other)
    _check_drafts(target, other)
    with target.lock():
        try:
            with other.lock():
                raise AssertionError("lock: two hold it at once")
        except TargetRefused:
            pass
    with other.lock():
        pass


def _check_files(target: Target, other: Target) -> None:
    _require(target.read("a.json") is None, "read: a file that is not there must give None")
    for data in (b"one", b"", b"two" * 1_000_000):
        target.put("a.json", data)
        _require(other.read("a.json") == data, "put: read must give what was put last")
    target.put(f"{STATE}/commits/00000.json", b"{}")
    _require(("a.json", 3_000_000) in other.names(), "names: a file and its size")
    _require(other.names(f"{STATE}/commits") == [(f"{STATE}/commits/00000.json", 2)], "names: of a folder")
    _require(other.names("nowhere") == [], "names: of a folder that is not there")
    target.delete("a.json")
    target.delete("a.json")
    _require(other.read("a.json") is None, "delete: the file is still there")


def _check_drafts(target: Target, other: Target) -> None:
    target.put("objects-00000.ndjson", b"before")
    draft, dropped, abandoned = (target.create("objects-00000.ndjson") for _ in range(3))
    for each in (draft, dropped, abandoned):
        each.write(b"first ")
    draft.write(b"second")
    _require(other.read("objects-00000.ndjson") == b"before", "a draft is seen before it is committed")
    draft.commit()
    dropped.discard()
    dropped.discard()
    draft.discard()
    with other.open("objects-00000.ndjson") as stream:
        _require(stream.read() == b"first second", "commit: the file is what was written")
    _require([name for name, _ in other.names()] == ["objects-00000.ndjson"], "names: no drafts among them")
    # What a process leaves that dies here.
    other.sweep()
    _require(other.leftovers() == [], "sweep: leftovers are left")
    _require(other.read("objects-00000.ndjson") == b"first second", "sweep: a file is gone")
    abandoned.discard()
