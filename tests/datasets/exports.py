"""Finished exports to convert, of a simulated project in memory."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio

from harvester.settings import Format, Selection
from tests.sync.worlds import LiveWorld

RECORDS = Format(rows_per_part=10)


def exported(
    target: Path,
    world: LiveWorld | None = None,
    *,
    selection: Selection = Selection(),
    format: Format = RECORDS,
) -> Path:
    """Export `world`, by default a small one with every kind of data, and return the directory."""
    made = world or LiveWorld(rows=60)

    async def export() -> None:
        await made.export(target, selection=selection, format=format)

    anyio.run(export)
    return target


def synced(target: Path, world: LiveWorld) -> None:
    """Sync the export of `world`."""

    async def sync() -> None:
        await world.sync(target)

    anyio.run(sync)


def lines_of(target: Path, kind: str) -> Iterator[bytes]:
    """The lines of an export that was never synced and is not compressed."""
    for path in sorted(target.glob(f"{kind}-*.ndjson")):
        yield from path.read_bytes().splitlines(keepends=True)


def records_of(target: Path, kind: str) -> list[dict[str, Any]]:
    """The records of an export that was never synced and is not compressed."""
    return [json.loads(line) for line in lines_of(target, kind)]


def files_in(directory: Path) -> dict[str, bytes]:
    """All files below a directory."""
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }
