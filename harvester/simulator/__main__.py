"""``python -m harvester.simulator``: options as a line of JSON on standard input; ends with its input."""

import asyncio
import signal
import sys
from typing import BinaryIO

import msgspec

from harvester.simulator.server import Listening, Options, serve


def run(source: BinaryIO, sink: BinaryIO) -> None:
    """Read the options from `source`, write to `sink` how to reach the server, and serve until `source` ends.

    The process that started this one holds the other end of `source`, so this one ends with it, even if it is
    killed.
    """

    def announce(listening: Listening) -> None:
        sink.write(msgspec.json.encode(listening) + b"\n")
        sink.flush()

    def until_input_ends(ended: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(source.fileno(), ended.set)
        loop.add_signal_handler(signal.SIGTERM, ended.set)

    # Ctrl-C reaches the whole process group, but is meant for the process that started this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    serve(msgspec.json.decode(source.readline(), type=Options), announce, until_input_ends)


def main() -> None:
    """Run a simulator from start to end."""
    run(sys.stdin.buffer, sys.stdout.buffer)


if __name__ == "__main__":
    main()
