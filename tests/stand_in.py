"""What stands in for the installed command in shell scripts: it has the command forked (`tests.forked`)."""

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingUnixStreamServer
from tempfile import TemporaryDirectory
from threading import Thread

from tests.forked import ForkedCommand

# It starts in a fiftieth of the time, as it imports next to nothing.
EXECUTABLE = """#!{python} -IS
import os, socket, sys
words = [b"%d" % len(sys.argv), *map(os.fsencode, sys.argv[1:]), os.getcwdb()]
words += [name + b"=" + value for name, value in os.environb.items()]
request = b"\\0".join(words)
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    socket.send_fds(server, [len(request).to_bytes(8)], [1, 2])
    server.sendall(request)
    code = int(server.recv(8))
if code < 0:
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


class _Handler(BaseRequestHandler):
    def handle(self) -> None:
        """Run one command. It is killed if the executable ends before it."""
        length, streams, _, _ = socket.recv_fds(self.request, 8, 2)
        with self.request.makefile("rb") as source:
            count, *words = source.read(int.from_bytes(length)).split(b"\0")
        end = int(count) - 1
        running = ForkedCommand(
            *map(os.fsdecode, words[:end]),
            environment=dict(os.fsdecode(word).split("=", 1) for word in words[end + 1 :]),
            folder=Path(os.fsdecode(words[end])),
            stdout=streams[0],
            stderr=streams[1],
        )
        for stream in streams:
            os.close(stream)
        if self.request in wait([running.sentinel, self.request]):
            running.kill()
            running.wait()
        else:
            self.request.sendall(b"%d" % running.wait())


@contextmanager
def stand_in() -> Iterator[Path]:
    """Give a directory with a `harvester` to be found first in PATH."""
    with TemporaryDirectory() as folder:
        address = str(Path(folder, "asked"))
        executable = Path(folder, "harvester")
        executable.write_text(EXECUTABLE.format(python=sys.executable, address=address), encoding="utf-8")
        executable.chmod(0o700)
        with ThreadingUnixStreamServer(address, _Handler) as server:
            server.daemon_threads = True
            thread = Thread(target=server.serve_forever, args=(0.05,))
            thread.start()
            try:
                yield executable.parent
            finally:
                server.shutdown()
                thread.join()
