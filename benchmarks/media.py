"""Downloads of media, aria2c, and threads over urllib3, on the same URLs: `python -m benchmarks.media`.

A static server (nginx if installed, else aiohttp) on loopback serves 2,000 files of 200 kB and 20 of 50 MB,
unless `--small` and `--large` say otherwise. What is measured is the whole process. Files are synced by
harvester only. All is below the temporary directory: `TMPDIR=/dev/shm` keeps the disk out of it.
"""

import argparse
import asyncio
import os
import random
import resource
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

PORT = 9180
SMALL, LARGE = (2000, 200_000), (20, 50_000_000)  # number and bytes
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


def main(arguments: Sequence[str]) -> None:
    """Measure each tool several times, in turn."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.media")
    parser.add_argument("tools", nargs="*", default=["harvester", "aria2c", "urllib3"])
    parser.add_argument("--small", type=int, default=SMALL[0], help="files of 200 kB")
    parser.add_argument("--large", type=int, default=LARGE[0], help="files of 50 MB")
    parser.add_argument("--times", type=int, default=2)
    given = parser.parse_args(arguments)
    counts = {"small": (given.small, SMALL[1]), "large": (given.large, LARGE[1])}
    with TemporaryDirectory() as folder, _served(Path(folder), counts) as urls:
        for _ in range(given.times):
            for tool in given.tools:
                if tool == "aria2c" and shutil.which(tool) is None:
                    continue
                with TemporaryDirectory(dir=folder) as output:
                    _measure(tool, urls, Path(output))


def _measure(tool: str, urls: Path, output: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.media", tool, str(urls), str(output)]
    if tool == "aria2c":
        command = ["aria2c", "-q", "-j16", "-d", str(output), "-i", str(urls)]
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True)
    took, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    sizes = [path.stat().st_size for path in output.rglob("*") if path.is_file()]
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    count = sum(size >= SMALL[1] for size in sizes)
    print(f"{tool:10} {took:6.2f} s  {sum(sizes) / took / 1e6:6.0f} MB/s  {cpu:5.2f} s of CPU  {count} files")


@contextmanager
def _served(folder: Path, counts: dict[str, tuple[int, int]]) -> Iterator[Path]:
    files = folder / "files"
    files.mkdir()
    folder.chmod(0o755)
    urls = folder / "urls"
    rng, lines = random.Random(1), []
    for kind, (count, size) in counts.items():
        data = rng.randbytes(size)
        for number in range(count):
            (files / f"{kind}{number}.jpg").write_bytes(data[8:] + number.to_bytes(8, "big"))
            lines.append(f"http://127.0.0.1:{PORT}/{kind}{number}.jpg\n")
    urls.write_text("".join(lines))
    if shutil.which("nginx"):
        (folder / "nginx.conf").write_text(_NGINX.format(folder, PORT))
        command = ["nginx", "-c", str(folder / "nginx.conf")]
    else:
        command = [sys.executable, "-m", "benchmarks.media", "serve", str(files)]
    server = subprocess.Popen(command)
    try:
        time.sleep(2)
        yield urls
    finally:
        server.terminate()
        server.wait()


def _serve(folder: Path) -> None:
    from aiohttp import web

    app = web.Application()
    app.router.add_static("/", folder)
    web.run_app(app, host="127.0.0.1", port=PORT, print=lambda *_: None)


def _with_urllib3(urls: Sequence[str], output: Path) -> None:
    """What one would write by hand: sixteen threads, a pool of connections, no check and no resume."""
    import urllib3

    pool = urllib3.PoolManager(maxsize=16)

    def fetch(url: str) -> None:
        path = output / url.rpartition("/")[2]
        with pool.request("GET", url, preload_content=False) as answer, path.open("wb") as file:
            shutil.copyfileobj(answer, file, 512 * 1024)

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(fetch, urls))


async def _with_harvester(urls: Sequence[str], output: Path) -> None:
    from harvester.encord.project import ProjectInfo
    from harvester.encord.storage import StorageItem
    from harvester.labels.wire import PlanRow
    from harvester.media.counters import MediaCounters
    from harvester.media.fetching import Fetching
    from harvester.media.index import IndexPieces
    from harvester.media.media_job import MediaJob, MediaObserver
    from harvester.media.options import MediaOptions
    from harvester.media.unit_files import UnitFacts
    from harvester.media.wanted import wanted_media
    from harvester.output.target import LocalTarget
    from harvester.settings import Connection, Limits

    by_uuid = {str(uuid.uuid5(uuid.NAMESPACE_URL, url)): url for url in urls}

    class Session:
        connection = Connection(domain=f"http://127.0.0.1:{PORT}")

        def storage_items(self, uuids: Sequence[str]) -> list[StorageItem]:
            return [StorageItem(each, "image", by_uuid[each]) for each in uuids]

        def label_rows(self, *_: Any) -> None: ...

    target = LocalTarget(output)
    target.ensure()
    with wanted_media() as wanted:
        for key, url in by_uuid.items():
            name = url.rpartition("/")[2]
            unit = UnitFacts(key, "main", key, "image", key, name)
            row = PlanRow(key, "main", key, "d", "", name, "image", backing_item_uuid=key)
            wanted.add(row, [unit], [unit])
        job = MediaJob(target, target, MediaOptions(), Limits())
        project = ProjectInfo("p", "p", "", b'{"objects":[],"classifications":[]}')
        session: Any = Session()
        fetching = Fetching(
            session, project, job, MediaObserver(MediaCounters()), wanted, IndexPieces(target)
        )
        await fetching.run()
        fetching.put_down()
    print(f"{'':10} peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", folder]:
            _serve(Path(folder))
        case ["harvester", urls, output]:
            from harvester.process import set_up

            set_up()
            asyncio.run(_with_harvester(Path(urls).read_text().split(), Path(output)))
        case ["urllib3", urls, output]:
            _with_urllib3(Path(urls).read_text().split(), Path(output))
        case arguments:
            os.environ.setdefault("PYTHONUNBUFFERED", "1")
            main(arguments)
