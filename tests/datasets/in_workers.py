"""Functions for worker processes. This module imports little, as each worker imports it."""

import os
import signal
import sys
from collections.abc import Callable

from harvester.errors import Unsound


def times(factor: int) -> Callable[[int], int]:
    return lambda number: number * factor


def process_id() -> Callable[[int], int]:
    return lambda _: os.getpid()


def refuses(number: int) -> Callable[[int], int]:
    def refuse(given: int) -> int:
        if given == number:
            raise Unsound(f"no {given}")
        sys.stdout.write("what is printed is no result\n")
        return given

    return refuse


def dies() -> Callable[[int], int]:
    return lambda _: os.kill(os.getpid(), signal.SIGKILL) or 0


def dies_at_once() -> Callable[[bytes], bytes]:
    os.kill(os.getpid(), signal.SIGKILL)
    return bytes


def does_not_start() -> Callable[[bytes], bytes]:
    raise Unsound("not today")


def is_asked_to_end() -> Callable[[int], int]:
    def go_on(given: int) -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        return given

    return go_on


def has_a_bug() -> Callable[[int], float]:
    return lambda number: 1 / (number - 1)
