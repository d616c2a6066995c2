"""What commands are measured on that ask no server: exports and files, made before and not measured."""

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import anyio

from benchmarks.made_export import make_export
from harvester.settings import Format

Input = Literal["export", "small_images", "syncs", "files"]

PORT = 9180
SMALL, LARGE = 200_000, 50_000_000  # bytes; a large file for every hundred small ones
_SYNCED_ROWS, _EDITED = 500, 5  # rows of the synced project, and how many are edited before each sync
_NGINX = """
worker_processes 1; pid {0}/pid; error_log {0}/errors; daemon off;
events {{ worker_connections 512; }}
http {{
  access_log off; sendfile on; keepalive_requests 100000;
  client_body_temp_path {0}; proxy_temp_path {0}; fastcgi_temp_path {0};
  uwsgi_temp_path {0}; scgi_temp_path {0};
  server {{ listen 127.0.0.1:{1}; root {0}/files; }}
}}
"""


@contextmanager
def made_input(kind: Input, rows: int) -> Iterator[Path]:
    """Make an input of `rows` rows, and return its directory. What serves it runs meanwhile."""
    with TemporaryDirectory(prefix="harvester-bench-") as folder:
        os.chmod(folder, 0o755)  # nginx serves as another user
        with _MAKE[kind](Path(folder), rows):
            yield Path(folder)


def _export(folder: Path, rows: int) -> AbstractContextManager[None]:
    """`rows` images with 20 objects each."""
    make_export(folder / "export", rows)
    return nullcontext()


def _small_images(folder: Path, rows: int) -> AbstractContextManager[None]:
    """`rows` images of 64 x 48 pixels with one object each: what counts is the number of files."""
    make_export(folder / "export", rows, kinds=("objects", "units"), objects_per_row=1, size=(64, 48))
    return nullcontext()


def _syncs(folder: Path, rows: int) -> AbstractContextManager[None]:
    """An export with `rows` syncs in ``synced``, the same ``compacted``, and a ``new`` one."""
    from harvester.compact import compact

    anyio.run(partial(_sync, folder / "synced", folder / "new", rows))
    shutil.copytree(folder / "synced", folder / "compacted")
    compact(folder / "compacted")
    return nullcontext()


async def _sync(synced: Path, new: Path, syncs: int) -> None:
    from tests.sync.worlds import LiveWorld  # a project in memory

    world, rng = LiveWorld(_SYNCED_ROWS, branches=()), random.Random(1)
    await world.export(synced, format=Format(rows_per_part=1000))
    for _ in range(syncs):
        world.world.edit(rows=rng.sample(world.labels(), _EDITED))
        await world.sync(synced)
    await world.export(new, format=Format(rows_per_part=1000))


@contextmanager
def _files(folder: Path, rows: int) -> Iterator[None]:
    """`rows` small files and some large ones, served by nginx if it is installed; ``urls`` lists them."""
    files = folder / "files"
    files.mkdir()
    rng, lines = random.Random(1), []
    for kind, count, size in (("small", rows, SMALL), ("large", rows // 100, LARGE)):
        data = rng.randbytes(size)
        for number in range(count):
            (files / f"{kind}{number}.jpg").write_bytes(data[8:] + number.to_bytes(8, "big"))
            lines.append(f"http://127.0.0.1:{PORT}/{kind}{number}.jpg\n")
    (folder / "urls").write_text("".join(lines))
    command = [sys.executable, "-m", "http.server", str(PORT), "--bind", "127.0.0.1", "-d", str(files)]
    if shutil.which("nginx"):
        (folder / "nginx.conf").write_text(_NGINX.format(folder, PORT))
        command = ["nginx", "-c", str(folder / "nginx.conf")]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        time.sleep(2)
        yield
    finally:
        server.terminate()
        server.wait()


_MAKE: Mapping[Input, Callable[[Path, int], AbstractContextManager[None]]] = {
    "export": _export,
    "small_images": _small_images,
    "syncs": _syncs,
    "files": _files,
}
