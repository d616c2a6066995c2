"""A source of label rows in memory, with faults by script."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from threading import Lock

from harvester.errors import HarvesterError, SkipRow, TooMuchAsked
from harvester.fetch.source import RowsResponse

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
        return self._answer((label_hash,))

    def get_label_rows(self, label_hashes: Sequence[str]) -> RowsResponse:
        """Several; those that there are none of are left out, as the platform does."""
        return self._answer(tuple(label_hashes))

    def get_left_out(self, label_hash: str) -> RowsResponse:
        """One label row. Raises SkipRow where there is none."""
        return self._answer((label_hash,))

    def _answer(self, asked: tuple[str, ...]) -> RowsResponse:
        with self._lock:
            self.calls.append(asked)
            fault = next(self._faults, None)
        self.on_call(asked)
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
        return RowsResponse(rows=list(rows), wire_bytes=size, body_bytes=size)
