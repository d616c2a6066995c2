"""What comes in and what goes out, before it is HTTP."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from harvester.simulator.faults import Strike


@dataclass(slots=True)
class Request:
    """One HTTP request, whole."""

    method: str
    target: str  # path and query exactly as on the request line
    path: str
    query: str
    headers: Mapping[bytes, bytes]
    body: bytes

    def header(self, name: str) -> str:
        """A header's value, empty if it was not sent."""
        return self.headers.get(name.encode(), b"").decode("latin-1")


@dataclass(slots=True)
class Answer:
    """One HTTP answer. The body is a list of pieces; if an iterator, they are made and sent one by one."""

    status: int
    body: list[bytes] | Iterator[bytes]
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = "application/json"
    compressible: bool = False  # v1 answers are gzipped where the client takes it
    rows: int = 0  # label rows in it
    strike: Strike | None = None  # what happens to it on its way

    @property
    def size(self) -> int | None:
        """Bytes of the body before compression, if known."""
        return sum(map(len, self.body)) if isinstance(self.body, list) else None


class Refusal(Exception):
    """Ends a call with an error of the platform."""

    def __init__(self, code: str, payload: object = None) -> None:
        super().__init__(code)
        self.code = code
        self.payload = payload


class Call(Protocol):
    """One call of the API, understood but not yet answered."""

    request: Request

    @property
    def kind(self) -> str:
        """What is called, as the statistics name it."""

    @property
    def mutates(self) -> bool: ...

    @property
    def rows(self) -> int:
        """Label rows asked for."""

    def authentic(self) -> bool:
        """Whether it comes from a known user and is signed as it should be."""

    def answer(self) -> Answer:
        """The true answer. Raises Refusal."""

    def error(self, code: str, payload: object = None) -> Answer:
        """An error as this version of the API words it."""
