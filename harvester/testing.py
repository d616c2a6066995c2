"""Fakes and conformance checks for the seams of harvester, for its tests and for those who extend it.

`FakeLabelRows` is a source of label rows in memory, with faults by script. `check_label_rows` holds any
source to what `harvester.fetch.source.LabelRows` promises, `check_target` any place for an export to what
`harvester.output.target.Target` does.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

from harvester.errors import HarvesterError, SkipRow, TargetRefused, TooMuchAsked
from harvester.fetch.source import Answer, LabelRows
from harvester.labels.wire import LabelRow, label_hash_of
from harvester.output.layout import STATE
from harvester.output.target import Target

# What happens to one call: an error is raised; a function changes the rows of the answer.
Fault = HarvesterError | Callable[[list[bytes]], list[bytes]]

_NO_ROWS: Mapping[str, HarvesterError] = {}


class FakeLabelRows:
    """Label rows in memory, by label hash.

    Args:
        rows: the rows' JSON.
        faults: one for each call in the order of their arrival, None for a call that goes well; calls
            beyond the last go well.
        spoiled: rows with the error that each call raises which asks for them, among others or alone.
        most_rows: calls that ask for more raise TooMuchAsked naming this maximum.
        on_call: runs first, in the caller's thread, with the label hashes asked for. It may block.
    """

    def __init__(
        self,
        rows: Mapping[str, bytes],
        *,
        faults: Iterable[Fault | None] = (),
        spoiled: Mapping[str, HarvesterError] = _NO_ROWS,
        most_rows: int | None = None,
        on_call: Callable[[tuple[str, ...]], None] = lambda asked: None,
    ) -> None:
        self.calls: list[tuple[str, ...]] = []
        self._rows = rows
        self._faults = iter(faults)
        self._spoiled = spoiled
        self._most_rows = most_rows
        self._on_call = on_call
        self._lock = Lock()

    def get_label_row(self, label_hash: str) -> Answer:
        """One label row. Raises SkipRow where there is none."""
        return self._answer((label_hash,))

    def get_label_rows(self, label_hashes: Sequence[str]) -> Answer:
        """Several; those that there are none of are left out, as the platform does."""
        return self._answer(tuple(label_hashes))

    def get_left_out(self, label_hash: str) -> Answer:
        """One label row. Raises SkipRow where there is none."""
        return self._answer((label_hash,))

    def _answer(self, asked: tuple[str, ...]) -> Answer:
        with self._lock:
            self.calls.append(asked)
            fault = next(self._faults, None)
        self._on_call(asked)
        if isinstance(fault, HarvesterError):
            raise fault
        if self._most_rows is not None and len(asked) > self._most_rows:
            raise TooMuchAsked(f"at most {self._most_rows} rows", maximum=self._most_rows)
        for label_hash in asked:
            if label_hash in self._spoiled:
                raise self._spoiled[label_hash]
        rows = [self._rows[label_hash] for label_hash in asked if label_hash in self._rows]
        if not rows and len(asked) == 1:
            raise SkipRow("there is no such label row", failure="gone", row=asked[0])
        if fault is not None:
            rows = fault(rows)
        size = sum(map(len, rows))
        return Answer(rows=list(rows), wire_bytes=size, body_bytes=size)


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


def _check_answer(what: str, answer: Answer, asked: Sequence[str]) -> None:
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
