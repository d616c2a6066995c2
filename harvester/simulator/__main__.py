"""``python -m harvester.simulator``: options as a line of JSON on standard input; ends with its input."""

import asyncio
import signal
import sys

import msgspec

from harvester.simulator.server import Listening, Options, serve


def announce(listening: Listening) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(listening) + b"\n")
    sys.stdout.flush()


def until_input_ends(ended: asyncio.Event) -> None:
    # Whoever started it holds the other end: it ends with them, however they end.
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin.fileno(), ended.set)
    loop.add_signal_handler(signal.SIGTERM, ended.set)


if __name__ == "__main__":
    # A keyboard interrupt is meant for whoever started it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    serve(msgspec.json.decode(sys.stdin.buffer.readline(), type=Options), announce, until_input_ends)
