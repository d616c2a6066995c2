"""The peers: the same job with the unmodified SDK, as people write it. Each runs in a process of its own.

A script, not a module of the package: ``python peers.py WHICH PROJECT_HASH OUTPUT``. It imports nothing of
harvester, takes key, domain and CA bundle from the environment, writes the boxes of all labelled rows to
the file OUTPUT, and prints ``{"rows": .., "records": ..}``.
"""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TextIO

from encord import EncordUserClient
from encord.project import Project

THREADS = 16
CHUNK = 100
SHAPE = "bounding_box"

Told = dict[str, int]


def one_by_one(project: Project, output: TextIO) -> Told:
    """`get_label_row`, one after the other."""
    return _write_boxes(map(project.get_label_row, _label_hashes(project)), output)


def threads(project: Project, output: TextIO) -> Told:
    """`get_label_row` in a pool of threads."""
    with ThreadPoolExecutor(THREADS) as pool:
        return _write_boxes(pool.map(project.get_label_row, _label_hashes(project)), output)


def threads_of_chunks(project: Project, output: TextIO) -> Told:
    """`get_label_rows`, a hundred at a time, in a pool of threads."""
    hashes = _label_hashes(project)
    chunks = [hashes[at : at + CHUNK] for at in range(0, len(hashes), CHUNK)]
    with ThreadPoolExecutor(THREADS) as pool:
        answers = pool.map(project.get_label_rows, chunks)
        return _write_boxes((row for rows in answers for row in rows), output)


def platform_export(project: Project, output: TextIO) -> Told:
    """The platform's own export script: rows initialised in bundles, dumped as JSON.

    Rows without labels are left out: initialising one of those would create it on the server.
    """
    rows = [row for row in project.list_label_rows_v2() if row.label_hash is not None]
    with project.create_bundle() as bundle:
        for row in rows:
            row.initialise_labels(bundle=bundle)
    dumped = [row.to_encord_dict() for row in rows]
    json.dump(dumped, output)
    return {"rows": len(rows), "records": sum(len(list(_objects(row))) for row in dumped)}


PEERS: dict[str, Callable[[Project, TextIO], Told]] = {
    "one_by_one": one_by_one,
    "threads": threads,
    "threads_of_chunks": threads_of_chunks,
    "platform_export": platform_export,
}


def _label_hashes(project: Project) -> list[str]:
    return [row.label_hash for row in project.list_label_rows() if row.label_hash is not None]


def _write_boxes(rows: Iterable[dict[str, Any]], output: TextIO) -> Told:
    count = records = 0
    for row in rows:
        count += 1
        for labelled in _objects(row):
            if labelled["shape"] == SHAPE:
                records += 1
                record = {"label_hash": row["label_hash"], "data_title": row["data_title"]}
                output.write(json.dumps(record | {"object": labelled}) + "\n")
    return {"rows": count, "records": records}


def _objects(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The objects of an image row."""
    for unit in row["data_units"].values():
        yield from unit["labels"].get("objects", [])


def main(which: str, project_hash: str, path: str) -> None:
    client = EncordUserClient.create_with_ssh_private_key(
        ssh_private_key_path=os.environ["ENCORD_SSH_KEY_FILE"], domain=os.environ["ENCORD_DOMAIN"]
    )
    with open(path, "w", encoding="utf-8") as output:
        told = PEERS[which](client.get_project(project_hash), output)
    print(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
