"""Common readers take what an export writes without a schema, and get what stands in the lines."""

import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import duckdb
import pandas
import polars
import pyarrow
import pyarrow.json
import pytest

from harvester.labels.extract import Extractor
from harvester.settings import Format, Selection
from harvester.simulator import Simulator
from harvester.simulator.world import WorldSpec
from tests.e2e.conftest import command_for
from tests.labels.random_alterations import alter
from tests.labels.random_rows import KINDS, planned, seeded, write
from tests.labels.rows import PLANNED, copy, flat, label, row, unit
from tests.labels.sdk_rows import Ontology

Json = dict[str, Any]

# Each kind, and the server's own JSON in it, which may have any form.
OWN = {"units": None, "objects": "object", "classifications": "classification"}
DOCS = Path(__file__).parents[2].joinpath("docs", "records.md").read_text(encoding="utf-8")
SELECTION = Selection(include_reviews=True, signed_urls=True)
FORMAT = Format(emit=tuple(OWN), per_frame=True)
# More lines than DuckDB looks at before it settles on types.
EARLY = 20_500


def calls() -> dict[str, str]:
    """The call of each reader, as the documentation has it."""
    found = DOCS.partition("## Reading them without a schema\n")[2].partition("\n## ")[0]
    return dict(re.findall(r"^\| (\w+) \| `(.+?)` \|", found, re.M))


def read(reader: str, path: Path) -> list[Json]:
    """What a reader makes of a file."""
    modules = {"duckdb": duckdb, "os": os, "pandas": pandas, "polars": polars, "pyarrow": pyarrow}
    table = eval(calls()[reader], modules, {"path": path})
    if reader == "pyarrow":
        return list(table.to_pylist())
    if reader == "polars":
        return list(table.collect().to_dicts())
    if reader == "pandas":
        return list(table.to_dict("records"))
    return [dict(zip(table.columns, values, strict=True)) for values in table.fetchall()]


READERS = ("pyarrow", "polars", "pandas", "DuckDB")


AS_IT_IS = {str, bool, type(None)}  # most values are of these: nothing is called for them


def plain(value: Any) -> Any:
    """A value as JSON has it; numbers to the digits that all readers keep."""
    if isinstance(value, dict):
        return {key: item if type(item) in AS_IT_IS else plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [item if type(item) in AS_IT_IS else plain(item) for item in value]
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, float) and math.isnan(value):
        return None
    return float(f"{value:.12g}") if isinstance(value, int | float) and not isinstance(value, bool) else value


class Lines(NamedTuple):
    """A file of records of one kind, without the server's own JSON, and what stands in it."""

    path: Path
    records: list[Json]
    plain: Any


def files_of(lines: Mapping[str, Iterable[bytes]], folder: Path) -> dict[str, Lines]:
    """A file of each kind."""
    files = {}
    for kind, own in OWN.items():
        path, records = folder / f"{kind}.ndjson", [json.loads(line) for line in lines[kind]]
        for record in records:
            record.pop(own, None)
        text = (json.dumps(record, ensure_ascii=False, separators=(",", ":")) for record in records)
        path.write_text("".join(f"{line}\n" for line in text), encoding="utf-8")
        files[kind] = Lines(path, records, plain(records))
    return files


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Lines]:
    """An export of a project with all kinds of rows, odd ones too."""
    odd = ("scene_images", "recording", "open_scene", "odd_image", "odd_group", "dicom_study")
    target = tmp_path_factory.mktemp("readers") / "out"
    with Simulator(WorldSpec(rows=1200, mix=("all", *odd))) as running:
        command_for(running).export(target, "Demo street scenes", "--signed-urls", "--include-reviews")
    lines = {
        kind: [line for part in sorted(target.glob(f"{kind}-*")) for line in part.read_bytes().splitlines()]
        for kind in OWN
    }
    return files_of(lines, target.parent)


def late() -> Iterator[tuple[str, list[bytes]]]:
    """Lines of which many are alike, and have null wherever that may be; then come rows of all kinds."""
    frames = range(EARLY)
    video = row("video", unit({str(frame): flat(label()) for frame in frames}))
    classified = row(
        "video",
        unit({str(frame): flat(classifications=[copy("c1")]) for frame in frames}),
        classification_answers={"c1": {"classificationHash": "c1", "classifications": []}},
    )
    group = row(
        "img_group",
        {name: made for at in frames for name, made in unit(flat(), f"unit-{at}", data_sequence=at).items()},
    )
    with seeded(9) as dice:
        ontology = Ontology()
        rows = [write(kind, dice, ontology) for kind in KINDS for _ in range(3)]
        for written in rows:
            alter(written, dice)
        known = json.dumps(ontology.structure.to_dict()).encode()
        for kind, first in (("objects", video), ("classifications", classified), ("units", group)):
            extractor = Extractor(SELECTION, FORMAT, known)
            harvests = [extractor.extract(json.dumps(first).encode(), PLANNED)]
            for written in rows:
                harvests.append(extractor.extract(json.dumps(written.sent).encode(), planned(written.item)))
            yield kind, list(chain.from_iterable(bytes(one.lines[kind]).splitlines() for one in harvests))


@pytest.fixture(scope="module")
def late_lines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Lines]:
    return files_of(dict(late()), tmp_path_factory.mktemp("late"))


@pytest.mark.parametrize("kind", OWN)
@pytest.mark.parametrize("reader", READERS)
def test_a_reader_gets_what_stands_in_the_lines(reader: str, kind: str, exported: dict[str, Lines]) -> None:
    """All records of an export, all of their keys, the server's own JSON left out."""
    assert len(exported[kind].records) > 500
    assert plain(read(reader, exported[kind].path)) == exported[kind].plain


@pytest.mark.parametrize("kind", OWN)
@pytest.mark.parametrize("reader", READERS)
def test_what_comes_late_is_read_as_well(reader: str, kind: str, late_lines: dict[str, Lines]) -> None:
    """What is null on the first 20,500 lines: ranges, answers, slices, spaces, the ends of events."""
    path, expected, plainly = late_lines[kind]
    keys = [key for key in expected[0] if all(one[key] in (None, []) for one in expected[:EARLY])]
    assert [key for key in keys if any(one[key] not in (None, []) for one in expected[EARLY:])]
    assert plain(read(reader, path)) == plainly


def test_the_documentation_has_a_call_for_each_reader() -> None:
    """The tests above make these calls."""
    assert tuple(calls()) == READERS
