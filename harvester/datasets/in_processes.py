"""Calls a function on many items in worker processes of this machine, with the results in their order.

A worker gets items through its standard input, and sends results through its standard output, both pickled.
If this process dies, its standard input ends, and so does the worker.
"""

import os
import pickle
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from itertools import chain, islice
from typing import Any, BinaryIO, TypeVar

from harvester.errors import CannotFinishNow
from harvester.process import set_up

T = TypeVar("T")
R = TypeVar("R")

# The same modules as here, however this process was started.
_START = "import sys; sys.path[:] = {!r}; from harvester.datasets.in_processes import serve; serve()"


def mapped(
    make: Callable[..., Callable[[T], R]], arguments: tuple[Any, ...], items: Iterable[T], processes: int
) -> Generator[R, None, None]:
    """Yield ``make(*arguments)(item)`` for each item, in their order, while `items` are read.

    With one process, or one item, the function is called in this process. Otherwise each worker makes a
    function of its own, and has one item at a time; `make` can be imported.

    Raises:
        CannotFinishNow: a worker was killed.
        Exception: as the function raises it.
    """
    items = iter(items)
    first = list(islice(items, 2))
    if processes == 1 or len(first) < 2:
        yield from map(make(*arguments), chain(first, items))
        return
    with ExitStack() as stack:
        workers = deque["subprocess.Popen[bytes]"]()  # that which began first comes first
        for item in chain(first, items):
            if len(workers) < processes:
                worker = stack.enter_context(_worker(make, arguments))
            else:
                worker = workers.popleft()
                yield _result(worker)
            _send(worker, item)
            workers.append(worker)
        for worker in workers:
            yield _result(worker)


@contextmanager
def _worker(make: Callable[..., Any], arguments: tuple[Any, ...]) -> Iterator["subprocess.Popen[bytes]"]:
    # In a session of its own, so that Ctrl-C in a terminal reaches this process only.
    with subprocess.Popen(
        [sys.executable, "-c", _START.format(sys.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            _send(process, (make.__module__, make.__qualname__, arguments))
            yield process
        finally:
            process.kill()


def _send(process: "subprocess.Popen[bytes]", item: Any) -> None:
    assert process.stdin is not None
    try:
        pickle.dump(item, process.stdin, pickle.HIGHEST_PROTOCOL)
        process.stdin.flush()
    except BrokenPipeError:
        raise _killed(process) from None


def _result(process: "subprocess.Popen[bytes]") -> Any:
    assert process.stdout is not None
    try:
        result, error = pickle.load(process.stdout)
    except (EOFError, pickle.UnpicklingError):
        raise _killed(process) from None
    if error is not None:
        raise error
    return result


def _killed(process: "subprocess.Popen[bytes]") -> CannotFinishNow:
    return CannotFinishNow(f"a worker process ended unexpectedly, with exit code {process.wait()}")


def serve() -> None:
    """Run a worker process: call the function on each item that comes, until there are no more."""
    set_up()
    incoming, outgoing = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # what is printed stays out of the results
    module, name, arguments = pickle.load(incoming)
    call: Callable[[Any], Any] = getattr(import_module(module), name)(*arguments)
    for item in _items(incoming):
        try:
            answer: tuple[Any, BaseException | None] = (call(item), None)
        except BaseException as error:
            answer = (None, error)
        try:
            pickle.dump(answer, outgoing, pickle.HIGHEST_PROTOCOL)
            outgoing.flush()
        except BrokenPipeError:
            os._exit(1)  # nobody waits for it: quietly


def _items(incoming: BinaryIO) -> Iterator[Any]:
    while True:
        try:
            yield pickle.load(incoming)
        except (EOFError, pickle.UnpicklingError):  # also in the middle of an item
            return
