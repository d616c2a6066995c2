"""What is measured of harvester that no command does alone, and what has no command of its own.

A script: ``python -m benchmarks.suite.jobs JOB INPUT OUTPUT``. Each runs in a process of its own, and prints
``{"rows": .., "records": ..}``. The directories are those of `benchmarks.suite.inputs`.
"""

import asyncio
import json
import shutil
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

_PASSES = 20  # a pass takes less than the start of the process
_TEXTS = (
    "kind label_hash branch_name data_hash dataset_hash dataset_title data_title data_type unit_hash "
    "file_name data_url space_id object_hash feature_hash name shape"
)
_NUMBERS = "width height frame object_number until"


def read_live(folder: str, source: Path, output: Path) -> tuple[int, int]:
    """Read all live lines of an export in plan order, several times."""
    from harvester.live import finished
    from harvester.live_rows import live_rows

    rows = records = 0
    for _ in range(_PASSES):
        for row in live_rows(*finished(source / folder), ("objects", "classifications", "units")):
            rows += 1
            records += sum(1 for lines in row.lines.values() for _ in lines)
    return rows, records


def copy(source: Path, output: Path) -> tuple[int, int]:
    """DuckDB's COPY: all columns named, objects as JSON, no answers, and nothing in an object typed."""
    import duckdb

    columns = dict.fromkeys(_TEXTS.split(), "VARCHAR") | dict.fromkeys(_NUMBERS.split(), "BIGINT")
    columns |= {"object": "JSON", "ranges": "DOUBLE[][]"}
    made = duckdb.connect().execute(
        f"COPY (SELECT * FROM read_json('{source}/export/objects-*', columns={columns}, "
        f"format='newline_delimited')) TO '{output}' (FORMAT parquet, COMPRESSION zstd)"
    )
    return 0, made.fetchall()[0][0]


def zstd(source: Path, output: Path) -> tuple[int, int]:
    """The objects as an export with ``--compress zstd`` has them: their size is what Parquet is held to."""
    import zstandard

    with output.open("wb") as file, zstandard.ZstdCompressor(level=3).stream_writer(file) as packed:
        for path in sorted((source / "export").glob("objects-*")):
            packed.write(path.read_bytes())
    return 0, 0


def urllib3(source: Path, output: Path) -> tuple[int, int]:
    """What one would write by hand: sixteen threads, a pool of connections, no check and no resume."""
    from urllib3 import PoolManager

    pool = PoolManager(maxsize=16)
    output.mkdir()

    def fetch(url: str) -> None:
        path = output / url.rpartition("/")[2]
        with pool.request("GET", url, preload_content=False) as answer, path.open("wb") as file:
            shutil.copyfileobj(answer, file, 512 * 1024)

    urls = (source / "urls").read_text().split()
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(fetch, urls))
    return len(urls), len(urls)


def media(source: Path, output: Path) -> tuple[int, int]:
    """The downloads of `harvester media`, with a session that answers at once with the URLs."""
    from harvester.process import set_up

    set_up()
    urls = (source / "urls").read_text().split()
    asyncio.run(_download(urls, output))
    return len(urls), len(urls)


async def _download(urls: Sequence[str], output: Path) -> None:
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
        connection = Connection(domain="http://127.0.0.1")

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


JOBS: Mapping[str, Callable[[Path, Path], tuple[int, int]]] = {
    "read_synced": partial(read_live, "synced"),
    "read_compacted": partial(read_live, "compacted"),
    "read_new": partial(read_live, "new"),
    "copy": copy,
    "zstd": zstd,
    "urllib3": urllib3,
    "media": media,
}


if __name__ == "__main__":
    rows, records = JOBS[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
    print(json.dumps({"rows": rows, "records": records}))
