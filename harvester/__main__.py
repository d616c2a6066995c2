"""The command, as `harvester` and as `python -m harvester`. It hears signals before it imports the rest.

The first process of a container is sent SIGTERM in vain until it has a handler for it, and the imports take a
while on a cold disk.
"""

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

from harvester import UNSUPPORTED


def main() -> int:
    """Run the command line of this process and return its exit code."""
    if UNSUPPORTED:
        sys.stderr.write(f"harvester: {UNSUPPORTED}\n")
        return 2
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _leave)
    from harvester.cli import main as run

    return run()


def _leave(number: int, _: FrameType | None) -> NoReturn:
    """End the process: nothing has begun. An exception might be taken for one of the imports' own."""
    try:
        os.write(2, b"harvester: interrupted before it began\n")
    except OSError:
        pass
    os._exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
