"""Runs requests to an object store several at once: many small files would each take a round trip."""

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager

_MOST = 16  # at once. Chosen: at 30 ms a request, 500 files a second
_LOOK = 0.25  # seconds between two calls of `keep_on` while a thread waits for the store


def _go_on() -> None: ...


class AtOnce:
    """Calls that run in threads. Made by `at_once`; used by one thread."""

    def __init__(self, threads: ThreadPoolExecutor, keep_on: Callable[[], object]) -> None:
        self._threads = threads
        self._keep_on = keep_on
        self._running: set[Future[object]] = set()

    def start(self, call: Callable[[], object], afterwards: Callable[[], object] = _go_on) -> None:
        """Run `call` in a thread, and then `afterwards`, also if the call is cancelled.

        Waits while there are too many. Raises what an earlier call raised.
        """
        self._wait_for(_MOST - 1)
        started = self._threads.submit(call)
        started.add_done_callback(lambda _: afterwards())
        self._running.add(started)

    def finish(self) -> None:
        """Wait for all calls. Raises what one of them raised."""
        self._wait_for(0)

    def _wait_for(self, most: int) -> None:
        while len(self._running) > most:
            done, self._running = wait(self._running, _LOOK, FIRST_COMPLETED)
            for call in done:
                call.result()
            self._keep_on()


@contextmanager
def at_once(keep_on: Callable[[], object] = _go_on, hurry: Callable[[], object] = _go_on) -> Iterator[AtOnce]:
    """Run calls, and wait for all of them at the end.

    Args:
        keep_on: called while one waits; it may raise to stop.
        hurry: called on an error, so that calls that wait for the store end soon.
    """
    threads = ThreadPoolExecutor(_MOST)
    try:
        calls = AtOnce(threads, keep_on)
        yield calls
        calls.finish()
    except BaseException:
        hurry()
        raise
    finally:
        threads.shutdown(cancel_futures=True)
