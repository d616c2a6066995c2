"""Requests and answers, apart from HTTP."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from harvester.simulator.faults import Strike
from harvester.simulator.storage.catalogue import StoredFile


@dataclass(slots=True)
class Request:
    """One HTTP request with its whole body."""

    method: str
    target: str  # path and query exactly as on the request line
    path: str
    query: str
    headers: Mapping[bytes, bytes]
    body: bytes

    def header(self, name: str) -> str:
        """Return a header's value, empty if it was not sent."""
        return self.headers.get(name.encode(), b"").decode("latin-1")


@dataclass(slots=True)
class Answer:
    """One HTTP answer. The body is a list of pieces, or an iterator whose pieces are sent one by one."""

    status: int
    body: list[bytes] | Iterator[bytes]
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = "application/json"
    compressible: bool = False  # v1 answers are gzipped where the client takes it
    rows: int = 0  # label rows in it
    strike: Strike | None = None  # the fault that is applied when it is sent

    @property
    def size(self) -> int | None:
        """Return the bytes of the body before compression, if known."""
        return sum(map(len, self.body)) if isinstance(self.body, list) else None


class Refusal(Exception):
    """The call is answered with an error of the platform."""

    def __init__(self, code: str, payload: object = None) -> None:
        super().__init__(code)
        self.code = code
        self.payload = payload


class Call(Protocol):
    """One call of the API, parsed but not yet answered."""

    request: Request

    @property
    def kind(self) -> str:
        """Return the kind of call, as the statistics name it."""

    @property
    def mutates(self) -> bool: ...

    @property
    def rows(self) -> int:
        """Return how many label rows are asked for."""

    def files(self) -> Iterable[StoredFile]:
        """Return the files whose sizes the answer tells."""

    def authentic(self) -> bool:
        """Return whether the call comes from a known user and its signature is valid."""

    def answer(self) -> Answer:
        """Return the answer without faults. Raises Refusal."""

    def error(self, code: str, payload: object = None) -> Answer:
        """Return an error in the form of this version of the API."""
