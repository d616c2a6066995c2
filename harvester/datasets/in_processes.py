"""Calls a function on many items in worker processes of this machine, with the results in their order.

A worker gets items through its standard input, and sends results through its standard output, both pickled.
If this process dies, its standard input ends, and so does the worker.
"""

import os
import pickle
import signal
import subprocess
import sys
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib import import_module
from itertools import chain, islice
from typing import Any, BinaryIO, TypeVar

from harvester.errors import CannotFinishNow, HarvesterError
from harvester.events import one_line
from harvester.process import how_it_ended, not_started, set_up, worker_command

T = TypeVar("T")
R = TypeVar("R")


def mapped(
    make: Callable[..., Callable[[T], R]], arguments: tuple[Any, ...], items: Iterable[T], processes: int
) -> Generator[R, None, None]:
    """Yield ``make(*arguments)(item)`` for each item, in their order, while `items` are read.

    With one process, or one item, the function is called in this process. Otherwise each worker makes a
    function of its own, and has one item at a time; `make` can be imported.

    Raises:
        CannotFinishNow: a worker was killed, or cannot be started.
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
    """Start a worker process; kill it in the end."""
    try:
        # In a session of its own, so that Ctrl-C in a terminal reaches this process only.
        process = subprocess.Popen(
            worker_command(__name__), stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
    except OSError as error:
        raise CannotFinishNow(one_line(not_started(error))) from error
    try:
        _send(process, (make.__module__, make.__qualname__, arguments))
        yield process
    finally:
        process.kill()
        process.communicate()  # closes its pipes, also one that is broken while something is in its buffer


def _send(process: "subprocess.Popen[bytes]", item: Any) -> None:
    assert process.stdin is not None
    with suppress(BrokenPipeError):  # it has ended: `_result` finds out why
        pickle.dump(item, process.stdin, pickle.HIGHEST_PROTOCOL)
        process.stdin.flush()


def _result(process: "subprocess.Popen[bytes]") -> Any:
    assert process.stdout is not None
    try:
        result, error = pickle.load(process.stdout)
    except (EOFError, pickle.UnpicklingError):
        raise CannotFinishNow(how_it_ended(process.wait())) from None
    if error is not None:
        raise error
    return result


def main() -> None:
    """Run a worker process: call the function on each item that comes, until there are no more."""
    set_up()
    for number in (signal.SIGINT, signal.SIGTERM):  # the process that started this one acts on them
        signal.signal(number, signal.SIG_IGN)
    incoming, outgoing = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # what is printed stays out of the results
    call = None
    for item in _items(incoming):
        try:
            if call is None:
                call = _function(*item)
                continue
            answer = pickle.dumps((call(item), None), pickle.HIGHEST_PROTOCOL)
        except BaseException as error:
            if not isinstance(error, HarvesterError):
                error.add_note("".join(traceback.format_exception(error)))  # a bug: else it would be lost
            answer = pickle.dumps((None, error))
        try:
            outgoing.write(answer)
            outgoing.flush()
        except BrokenPipeError:
            os._exit(1)  # nobody waits for it: quietly


def _function(module: str, name: str, arguments: tuple[Any, ...]) -> Callable[[Any], Any]:
    made: Callable[[Any], Any] = getattr(import_module(module), name)(*arguments)
    return made


def _items(incoming: BinaryIO) -> Iterator[Any]:
    while True:
        try:
            yield pickle.load(incoming)
        except (EOFError, pickle.UnpicklingError):  # also in the middle of an item
            return
