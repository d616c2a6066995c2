"""Label rows in memory: a source with faults by script, and a project that is broken and edited at will."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from threading import Lock
from typing import Self

from harvester.encord.project import ProjectInfo
from harvester.errors import HarvesterError, SkipRow, TooMuchAsked
from harvester.fetch.source import RowsResponse
from harvester.settings import Connection, Format, Selection

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
        self.on_call = on_call
        self._lock = Lock()

    def get_label_row(self, label_hash: str) -> RowsResponse:
        """One label row. Raises SkipRow where there is none."""
        return self.answer((label_hash,))

    def get_label_rows(self, label_hashes: Sequence[str]) -> RowsResponse:
        """Several; those that there are none of are left out, as the platform does."""
        return self.answer(tuple(label_hashes))

    def get_left_out(self, label_hash: str) -> RowsResponse:
        """One label row. Raises SkipRow where there is none."""
        return self.answer((label_hash,))

    def row(self, label_hash: str) -> bytes | None:
        """The JSON of a row; None if there is none."""
        return self._rows.get(label_hash)

    def error_of(self, label_hash: str) -> HarvesterError | None:
        """What each call raises that asks for this row."""
        return self._spoiled.get(label_hash)

    def answer(self, asked: tuple[str, ...]) -> RowsResponse:
        """What one call brings."""
        with self._lock:
            self.calls.append(asked)
            fault = next(self._faults, None)
        self.on_call(asked)
        if isinstance(fault, HarvesterError):
            raise fault
        if self._most_rows is not None and len(asked) > self._most_rows:
            raise TooMuchAsked(f"at most {self._most_rows} rows", maximum=self._most_rows)
        for label_hash in asked:
            if (error := self.error_of(label_hash)) is not None:
                raise error
        rows = [row for row in map(self.row, asked) if row is not None]
        if not rows and len(asked) == 1:
            raise SkipRow("there is no such label row", failure="gone", row=asked[0])
        if fault is not None:
            rows = fault(rows)
        size = sum(map(len, rows))
        return RowsResponse(rows=list(rows), wire_bytes=size, body_bytes=size)


class FakeProject(FakeLabelRows):
    """What a run needs of a session: one project, which lists its rows and makes their JSON.

    Attributes:
        broken: rows that are corrupt: each call fails that asks for them, among others or alone.
        asked: the label hashes of all calls.
        before_answer: runs first, in the caller's thread. It may block, and it may raise.
    """

    connection = Connection(domain="http://127.0.0.1:9")

    def __init__(self) -> None:
        super().__init__({}, on_call=self._called)
        self.broken: set[str] = set()
        self.asked: list[str] = []
        self.before_answer: Callable[[], object] = lambda: None

    def label_rows(
        self, project: ProjectInfo, selection: Selection, format: Format, *, as_sent: bool = False
    ) -> Self:
        """The source of the project's rows."""
        return self

    def error_of(self, label_hash: str) -> HarvesterError | None:
        """What each call raises that asks for this row."""
        return SkipRow("the row is corrupt", row=label_hash) if label_hash in self.broken else None

    def _called(self, asked: tuple[str, ...]) -> None:
        self.before_answer()
        self.asked += asked
