"""The Parquet format: one schema for every project, every value as in the records, read by any reader."""

import json
import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pandas
import polars
import pyarrow
import pyarrow.dataset
import pyarrow.parquet
import pytest

import harvester
from harvester.datasets.columns import TABLES, TABLES_VERSION
from harvester.datasets.convert import convert
from harvester.datasets.record_lines import chunks_of
from harvester.datasets.typed_records import TypedTable
from harvester.errors import BadInput, Unsound
from harvester.simulator.dates import microseconds
from tests.datasets.exports import exported, lines_of, records_of
from tests.sync.worlds import LiveWorld

PAGE = Path(__file__).parents[2] / "docs" / "datasets.md"
Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every kind of data, with oddities, reviews and branches."""
    world = LiveWorld(rows=150, seed=3, reviews=0.3)
    world.world.create(json.loads(next(iter(world.world.listing())))["data_hash"])
    return exported(tmp_path_factory.mktemp("exports") / "out", world)


@pytest.fixture(scope="module")
def parquet(export: Path) -> Path:
    out = export.parent / "parquet"
    convert(export, out, to="parquet")
    return out


def rows_of(parquet: Path, table: str) -> Rows:
    found: Rows = pyarrow.dataset.dataset(parquet / table).to_table().to_pylist()
    return found


# -- the schema -------------------------------------------------------------------------------------


def schemas(parquet: Path) -> dict[str, pyarrow.Schema]:
    return {table: pyarrow.parquet.read_schema(parquet / table / "00000.parquet") for table in TABLES}


def test_every_project_has_the_same_schema(parquet: Path, tmp_path: Path) -> None:
    """This one, one of texts and sounds only, one without any record: they can be read as one table."""
    texts = exported(tmp_path / "texts", LiveWorld(rows=12, mix=("audio", "plain_text"), seed=9))
    empty = exported(tmp_path / "empty", LiveWorld(rows=3, unlabelled=1.0))
    assert records_of(texts, "objects")
    assert not records_of(empty, "objects")
    for name in ("texts", "empty"):
        convert(tmp_path / name, tmp_path / f"{name}-parquet", to="parquet")
        assert schemas(tmp_path / f"{name}-parquet") == schemas(parquet)
    files = [str(path) for path in (parquet / "objects", tmp_path / "texts-parquet" / "objects")]
    both = duckdb.sql(f"select count(*) from read_parquet({[f'{file}/*.parquet' for file in files]})")
    assert both.to_arrow_table().to_pylist()[0].popitem()[1] == len(rows_of(parquet, "objects")) + len(
        records_of(texts, "objects")
    )


def test_the_page_has_every_column_with_its_type(parquet: Path) -> None:
    """And says which version of the schema it describes."""
    text = PAGE.read_text(encoding="utf-8")
    assert f"Version {TABLES_VERSION}." in text
    for table, columns in TABLES.items():
        body = text.split(f"<!-- columns of {table} -->")[1].split("<!-- /columns -->")[0]
        described = dict(re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", body, re.M))
        assert described == {name: shown(str(type_)) for name, type_ in columns.items()}


def shown(type_: str) -> str:
    """A type as the page writes it: names of struct types, see `NAMED_TYPES` there."""
    text = PAGE.read_text(encoding="utf-8").split("### Types")[1].split("\n### ")[0]
    named = dict(re.findall(r"^\| `(\w+)` \| `(struct<[^`]+)` \|", text, re.M))
    for name, structure in sorted(named.items(), key=lambda item: -len(item[1])):
        type_ = type_.replace(expanded(structure, named), name)
    return type_


def expanded(structure: str, named: dict[str, str]) -> str:
    """A struct type with the names of others in it replaced by what they stand for."""
    while found := re.search(rf"\b({'|'.join(named)})\b", structure):
        structure = structure.replace(found[1], named[found[1]])
    return structure


# -- values -----------------------------------------------------------------------------------------


def test_every_value_is_that_of_its_record(export: Path, parquet: Path) -> None:
    """All keys of all records, in order; the label as text byte for byte."""
    for kind, label in (("objects", "object"), ("classifications", "classification"), ("units", None)):
        rows, lines = rows_of(parquet, kind), list(lines_of(export, kind))
        assert len(rows) == len(lines) > 0
        for row, line in zip(rows, lines, strict=True):
            record = json.loads(line)
            assert record.pop("kind") == kind[:-1]
            if label is not None:
                text = row[label]
                assert f',"{label}":{text},"{label}_hash":'.encode() in line
                assert json.loads(text) == record.pop(label)
            if kind == "classifications":
                reviews = record.pop("reviews")
                assert (row["reviews"] and json.loads(row["reviews"])) == reviews
            for key, value in record.items():
                assert row[key] == as_typed(key, value), (kind, key)


def as_typed(key: str, value: Any) -> Any:
    """A value of a record as its column has it."""
    if key == "ranges" and value is not None:
        return [{"first": first, "last": last} for first, last in value]
    if key in ("attributes", "dynamic_attributes", "answers"):
        return [answer | {"ranges": as_typed("ranges", answer["ranges"])} for answer in value]
    return value


def test_what_the_server_says_of_a_label_is_typed(parquet: Path) -> None:
    """Times in UTC, whatever text they came as; who, how sure, by hand or not."""
    forms = set()
    for kind, label in (("objects", "object"), ("classifications", "classification")):
        for row in rows_of(parquet, kind):
            sent = json.loads(row[label])
            for column, key in (("created_at", "createdAt"), ("last_edited_at", "lastEditedAt")):
                text, moment = sent.get(key), row[column]
                assert (text is None) == (moment is None)
                if text is not None:
                    forms.add(re.sub(r"\d+", "0", re.sub(r"[A-Z][a-z]{2}\b", "Mon", text)))
                    assert int(moment.timestamp() * 1e6) == moment_of(text)
                    assert str(moment.tzinfo) == "UTC"
            assert row["created_by"] == sent.get("createdBy")
            assert row["last_edited_by"] == sent.get("lastEditedBy")
            assert row["confidence"] == sent.get("confidence")
            assert row["manual_annotation"] == sent.get("manualAnnotation")
    assert len(forms) == 4


def moment_of(text: str) -> int:
    """Microseconds since 1970."""
    if text[0].isdigit():
        return microseconds(text)
    return microseconds(str(datetime.strptime(text, "%a, %d %b %Y %H:%M:%S UTC")))


def test_the_listing_has_every_listed_row(export: Path, parquet: Path) -> None:
    """Also those without labels, with states and times."""
    rows = rows_of(parquet, "listing")
    counts = json.loads((export / "manifest.json").read_bytes())["counts"]
    assert len(rows) == counts["listed"]
    for outcome in ("harvested", "unlabelled"):
        assert sum(row["outcome"] == outcome for row in rows) == counts[outcome] > 0
    assert {"COMPLETED", "QUEUED"} & {row["task_status"] for row in rows}
    assert all(row["created_at"].year >= 2023 for row in rows if row["created_at"])


def test_the_ontology_has_a_row_for_each_class_attribute_and_option(export: Path, parquet: Path) -> None:
    """In order, each with what it is nested in."""
    ontology, rows = json.loads((export / "ontology.json").read_bytes()), rows_of(parquet, "ontology")
    objects = [row for row in rows if row["kind"] == "object"]
    assert [row["feature_hash"] for row in objects] == [one["featureNodeHash"] for one in ontology["objects"]]
    assert [(row["name"], row["shape"]) for row in objects] == [
        (one["name"], one["shape"]) for one in ontology["objects"]
    ]
    assert {row["name"] for row in rows if row["kind"] == "classification"} == {
        one["attributes"][0]["name"] for one in ontology["classifications"]
    }
    text = (export / "ontology.json").read_text(encoding="utf-8")
    assert len(rows) == text.count('"featureNodeHash"')
    known = {row["feature_hash"] for row in rows}
    assert all(row["parent"] in known for row in rows if row["kind"] in ("attribute", "option"))
    assert [row["position"] for row in rows] == list(range(len(rows)))


# -- what is seldom ---------------------------------------------------------------------------------

HEAD = dict.fromkeys(
    (
        "branch_name", "data_hash", "dataset_hash", "dataset_title", "data_title", "data_type", "unit_hash",
        "file_name", "data_url", "space_id",
    )
)  # fmt: skip
TAIL = {"feature_hash": None, "name": None, "shape": None, "object_number": None, "until": None}


def line(object_text: str, **record: Any) -> bytes:
    """The line of an object with this text."""
    head = {"kind": "object", "label_hash": "label"} | HEAD
    head |= {"width": 200, "height": 100, "frame": 0}
    tail = {"object_hash": "hash"} | TAIL | {"ranges": None, "attributes": [], "dynamic_attributes": []}
    head, tail = ({key: record.get(key, value) for key, value in part.items()} for part in (head, tail))
    return f'{dumps(head)[:-1]},"object":{object_text},{dumps(tail)[1:]}\n'.encode()


def dumps(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def typed(*lines: bytes) -> tuple[Rows, dict[str, int]]:
    """The rows that lines of objects become, and the remarks."""
    table = TypedTable("objects")
    return table.batch(list(lines)).to_pylist(), +table.remarks


@pytest.mark.parametrize(
    ("record", "column"),
    [
        ({"frame": 1.5}, "frame"),
        ({"frame": 2**63}, "frame"),
        ({"until": 2**63}, "until"),
        ({"until": 1.5}, "until"),
        ({"object_number": -(2**63) - 1}, "object_number"),
    ],
)
def test_what_is_no_64_bit_integer_is_counted_and_not_rounded(record: dict[str, Any], column: str) -> None:
    """It is null."""
    (row,), remarks = typed(line("{}", **record))
    assert row[column] is None
    assert remarks == {"not_an_integer": 1}


def test_a_record_with_several_such_numbers_is_counted_once() -> None:
    """Wherever they are: also in ranges of answers, beside a record without any."""
    answer = {"name": "a", "ranges": [[0, 1], [2, 2.5]]}
    rows, remarks = typed(
        line("{}", until=1.5, ranges=[[1.5, 2]], attributes=[answer]),
        line("{}", attributes=[answer], dynamic_attributes=[answer]),
        line("{}", ranges=[[0, 1]], attributes=[answer | {"ranges": None}]),
    )
    assert rows[0]["ranges"] == [{"first": None, "last": 2}]
    assert rows[1]["attributes"][0]["ranges"] == [{"first": 0, "last": 1}, {"first": 2, "last": None}]
    assert remarks == {"not_an_integer": 2}


@pytest.mark.parametrize("number", [2**63 - 1, -(2**63), 2**53 + 1, 0])
def test_every_64_bit_integer_is_exact(number: int) -> None:
    """In frames, moments and ranges."""
    (row,), remarks = typed(line("{}", frame=number, until=number, ranges=[[number, number]]))
    assert (row["frame"], row["until"]) == (number, number)
    assert row["ranges"] == [{"first": number, "last": number}]
    assert not remarks


def test_ranges_of_broken_numbers_are_counted() -> None:
    """Of an object, and of an answer."""
    answer = {"name": "a", "value": "a", "feature_hash": "f", "parent": None, "manual_annotation": None}
    answer |= {"options": None, "text": "t", "number": None, "ranges": [[0, 2.5]]}
    rows, remarks = typed(line("{}", ranges=[[0.5, 1]]), line("{}", attributes=[answer]))
    assert rows[0]["ranges"] == [{"first": None, "last": 1}]
    assert rows[1]["attributes"][0]["ranges"] == [{"first": 0, "last": None}]
    assert remarks == {"not_an_integer": 2}


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"a":1}',
        '{"note":",\\"object_hash\\":","object_hash":{"object_hash":",\\"object\\":"}}',
        '{"nested":[1,"x"],"object_hash":"other","z":1}',
        '{"big":123456789012345678901234567890,"tiny":1e-400,"huge":1e400,"same":1.10}',
        '{"text":"\\u0000 \\ud83d\\ude00 ❄ \\/ \\n"}',
        '{"lone":"\\ud800"}',
        '{"twice":1,"twice":2}',
        '{"deep":' + "[" * 200 + "]" * 200 + "}",
    ],
)
def test_any_object_stays_as_it_is_and_loses_no_record(text: str) -> None:
    """Byte for byte, also where it is no JSON: then it is counted."""
    rows, remarks = typed(line("{}"), line(text, name="Car"), line("{}"))
    assert [row["object"] for row in rows] == ["{}", text, "{}"]
    assert (rows[1]["label_hash"], rows[1]["object_hash"], rows[1]["name"]) == ("label", "hash", "Car")
    assert remarks == ({"label_unreadable": 1} if "ud800" in text else {})


def test_long_objects_are_few_in_a_batch() -> None:
    """So that memory stays flat; no record is lost between chunks of long and of short lines."""
    long = line('{"pad":"' + "x" * 6_000_000 + '"}')
    lines = [line("{}", frame=0)] * 3 + [long] * 7 + [line("{}", frame=1)] * 5000 + [long] * 4
    batches = list(map(TypedTable("objects").batch, chunks_of([lines])))
    assert sum(batch.num_rows for batch in batches) == len(lines)
    assert max(batch.nbytes for batch in batches) < 40_000_000
    sizes = [len(text) for batch in batches for text in batch.column("object").to_pylist()]
    assert sizes == [len(one) - len(line("{}")) + 2 for one in lines]


def test_dates_that_are_none_are_counted() -> None:
    """They are null; those in other zones are in UTC."""
    (row, other), remarks = typed(
        line('{"createdAt":"yesterday","lastEditedAt":7}'), line('{"createdAt":"2024-02-01 01:00:00+02:00"}')
    )
    assert row["created_at"] is row["last_edited_at"] is None
    assert other["created_at"].isoformat() == "2024-01-31T23:00:00+00:00"
    assert remarks == {"not_a_date": 1}


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("Thu, 09 Feb 2023 14:12:03 UTC", "2023-02-09T14:12:03+00:00"),
        ("Wed, 02 Sep 2026 13:58:07 GMT", "2026-09-02T13:58:07+00:00"),
        ("2023-02-09 14:12:03", "2023-02-09T14:12:03+00:00"),
        ("2024-06-05 12:28:14.196777+00:00", "2024-06-05T12:28:14.196777+00:00"),
        ("2024-06-05T12:28:14Z", "2024-06-05T12:28:14+00:00"),
        ("9999-12-31 23:59:59", "9999-12-31T23:59:59+00:00"),
        ("10000-01-01 00:00:00", None),
        ("infinity", None),
        ("epoch", None),
    ],
)
def test_every_form_of_date_is_a_time_in_utc(text: str, utc: str | None) -> None:
    """What readers cannot have as a date, such as the year 10,000, is null and counted."""
    (row,), remarks = typed(line(dumps({"createdAt": text})))
    found = row["created_at"]
    assert (found and found.isoformat()) == utc
    assert remarks == ({} if utc else {"not_a_date": 1})


@pytest.mark.parametrize(
    ("sent", "found"), [("0.25", 0.25), ("1", 1.0), ("1e400", None), ("-1e400", None), ('{"a":1}', None)]
)
def test_a_confidence_that_is_no_double_is_null(sent: str, found: float | None) -> None:
    """And counted."""
    (row,), remarks = typed(line(f'{{"confidence":{sent}}}'))
    assert row["confidence"] == found
    assert remarks == ({"not_a_number": 1} if found is None else {})


@pytest.mark.parametrize(("sent", "found"), [("true", True), ("false", False), ("1", None), ('"yes"', None)])
def test_what_is_no_truth_value_is_null(sent: str, found: bool | None) -> None:
    """And counted."""
    (row,), remarks = typed(line(f'{{"manualAnnotation":{sent}}}'))
    assert row["manual_annotation"] is found
    assert remarks == ({"not_a_boolean": 1} if found is None else {})


BOX = {"x": 0.25, "y": 0.5, "w": 0.5, "h": 0.25}
CORNERS = [(0.25, 0.5), (0.75, 0.5), (0.75, 0.75), (0.25, 0.75)]
FLAT = [number for corner in CORNERS for number in corner]
NUMBERED = {str(place): {"x": x, "y": y} for place, (x, y) in enumerate(CORNERS)}


@pytest.mark.parametrize(
    ("geometry", "bbox"),
    [
        ({"boundingBox": BOX}, BOX),
        ({"rotatableBoundingBox": BOX | {"theta": 0}}, BOX),
        # 100 x 25 pixels of 200 x 100 stand upright: 25 wide and 100 high, around the same centre.
        ({"rotatableBoundingBox": BOX | {"theta": 90}}, {"x": 0.4375, "y": 0.125, "w": 0.125, "h": 1.0}),
        ({"polygon": NUMBERED}, BOX),
        ({"polygon": list(NUMBERED.values())}, BOX),
        ({"polygon": {"0": {"x": 9, "y": 9}}, "polygons": [[FLAT, [0.3, 0.6, 0.4, 0.6, 0.4, 0.7]]]}, BOX),
        ({"polyline": NUMBERED}, BOX),
        ({"point": {"0": {"x": 0.5, "y": 0.25}}}, {"x": 0.5, "y": 0.25, "w": 0, "h": 0}),
        ({"skeleton": NUMBERED}, BOX),
        ({"circle": {"x": 0.5, "y": 0.5, "r": 0.1}}, {"x": 0.4, "y": 0.3, "w": 0.2, "h": 0.4}),
        ({"ellipse": {"x": 0.5, "y": 0.5, "rx": 0.1, "ry": 0.2}}, {"x": 0.4, "y": 0.3, "w": 0.2, "h": 0.4}),
        (
            {"ellipse": {"x": 0.5, "y": 0.5, "rx": 0.1, "ry": 0.1, "theta": 90}},
            {"x": 0.45, "y": 0.3, "w": 0.1, "h": 0.4},
        ),
        (
            {"cuboid_2d": {"front": FLAT, "offset": {"x": 0.1, "y": -0.5}}},
            {"x": 0.25, "y": 0, "w": 0.6, "h": 0.75},
        ),
        (
            {"cuboid_2d": {"front": FLAT, "vanishingPoint": {"x": 0, "y": 0.5}, "scaleRatio": 0.5}},
            {"x": 0.125, "y": 0.5, "w": 0.625, "h": 0.25},
        ),
        ({"cuboid": {"position": [1, 2, 3], "orientation": [0, 0, 1], "size": [4, 5, 6]}}, None),
        ({}, None),
    ],
)
def test_the_extent_of_every_shape_is_its_box(geometry: Any, bbox: dict[str, float] | None) -> None:
    """In shares of width and height, as the coordinates are."""
    (row,), remarks = typed(line(dumps(geometry)))
    assert row["bbox"] == (pytest.approx(bbox) if bbox else None)
    assert not remarks


def test_a_mask_has_the_extent_of_its_pixels() -> None:
    """Also one that covers a part of its image only."""
    from harvester.simulator.shapes import run_lengths

    # A mask of 20 x 10 pixels at (10, 20) of 200 x 100: rows 2 and 3, columns 5 to 9.
    runs = [45, 5, 15, 5, 130]
    sent = {"top": 20, "left": 10, "width": 20, "height": 10, "rleString": run_lengths(runs)}
    (row, broken), remarks = typed(
        line(dumps({"bitmask": sent})), line(dumps({"bitmask": sent | {"rleString": "???"}}))
    )
    assert row["bbox"] == pytest.approx({"x": 15 / 200, "y": 22 / 100, "w": 5 / 200, "h": 2 / 100})
    assert row["rle"] == {"counts": sent["rleString"], "left": 10, "top": 20, "width": 20, "height": 10}
    assert broken["bbox"] is None
    assert broken["rle"]["counts"] == "???"
    assert remarks == {"extent_unknown": 1}


def test_no_number_is_made_up_for_a_box_that_lacks_one() -> None:
    """It is null and counted, beside a mask, too; and so is a mask that is nowhere."""
    from harvester.simulator.shapes import run_lengths

    sent = {"top": 0, "left": 0, "width": 10, "height": 10, "rleString": run_lengths([0, 100])}
    rows, remarks = typed(
        line(dumps({"bitmask": sent})),
        line(dumps({"boundingBox": {"x": 0.1, "y": 0.1, "w": 0.1}})),
        line('{"boundingBox":{"x":1e400,"y":0.1,"w":0.1,"h":0.1}}'),
        line(dumps({"boundingBox": [1, 2, 3, 4]})),
        line(dumps({"bitmask": sent | {"left": 2.5}})),
    )
    assert [row["bbox"] is None for row in rows] == [False, True, True, True, True]
    assert rows[4]["rle"] is None
    assert remarks == {"extent_unknown": 3, "not_an_integer": 1}


@pytest.mark.parametrize(
    ("geometry", "column"),
    [
        ({"boundingBox": "x"}, "bbox"),
        ({"polygon": {"0": {"x": 0.1, "y": 0.2}, "1": {"x": "0.5", "y": 0.3}}}, "polygons"),
        ({"polygon": {"first": {"x": 0.1, "y": 0.2}}}, "bbox"),
        ({"polygons": [[[0.1, None, 0.3, 0.4]]]}, "polygons"),
        ({"polyline": [{"x": 0.1}, {"x": 0.2, "y": 0.3}]}, "points"),
        ({"skeleton": {"0": {"x": 0.1, "y": []}}}, "points"),
        ({"ellipse": {"x": 0.1, "y": 0.2, "rx": True, "ry": 0.1, "theta": 3}}, "rotation"),
        ({"ellipse": {"x": 0.1, "y": 0.2, "rx": 1e308, "ry": 1e308, "theta": 3}}, "bbox"),
        ({"cuboid": {"position": [1, 2], "orientation": [0, 0, 1], "size": [4, 5, 6]}}, "cuboid"),
        ({"segmentation": {}}, "rle"),
    ],
)
def test_a_shape_that_cannot_be_read_is_null_and_counted(geometry: Any, column: str) -> None:
    """Nothing is guessed of it; all else of the object is typed."""
    sent = {"createdBy": "ann@example.com", "confidence": 0.5} | geometry
    rows, remarks = typed(line(dumps(sent)), line(dumps({"boundingBox": BOX})))
    assert rows[0][column] is rows[0]["bbox"] is None
    assert (rows[0]["created_by"], rows[0]["confidence"]) == ("ann@example.com", 0.5)
    assert rows[1]["bbox"] == BOX
    assert remarks == {"extent_unknown": 1}


def test_who_made_a_label_is_a_text_or_null() -> None:
    """Of two keys of one name the last one counts, as in the other formats."""
    rows, remarks = typed(
        line('{"createdBy":7,"lastEditedBy":"bob"}'), line('{"createdBy":"ann","createdBy":"bob"}')
    )
    assert [(row["created_by"], row["last_edited_by"]) for row in rows] == [(None, "bob"), ("bob", None)]
    assert remarks == {"not_a_text": 1}


def test_an_empty_list_of_polygons_hides_no_polygon() -> None:
    """Other formats take the other form, too."""
    (row,), remarks = typed(line(dumps({"polygons": [], "polygon": NUMBERED})))
    assert row["bbox"] == pytest.approx(BOX)
    assert not remarks


def test_an_extent_that_needs_the_size_of_the_image_is_counted_without_it() -> None:
    """A circle's radius is a share of the width."""
    (row,), remarks = typed(line(dumps({"circle": {"x": 0.5, "y": 0.5, "r": 0.1}}), width=None))
    assert row["bbox"] is None
    assert remarks == {"extent_unknown": 1}


def test_geometry_is_typed() -> None:
    """Rings, points with names and visibility of both forms, rotation, cuboids; vertices by number."""
    many = {str(place): {"x": place, "y": 0} for place in reversed(range(12))}
    joints = {
        "0": {"x": 1, "y": 2, "name": "Nose", "visibility": "occluded"},
        "1": {"x": 3, "y": 4, "name": "Eye", "selfOccluded": True},
    }
    rows, _ = typed(
        line(dumps({"polygon": many})),
        line(dumps({"polygons": [[[0, 1, 2, 3, 4, 5], [1, 1, 2, 2, 3, 3]], [[7, 8, 9, 10, 11, 12]]]})),
        line(dumps({"skeleton": joints})),
        line(dumps({"rotatableBoundingBox": BOX | {"theta": 30.5}})),
        line(dumps({"cuboid": {"position": [1, 2, 3], "orientation": [0, 0, 1], "size": [4, 5, 6]}})),
    )
    assert [[[point["x"] for point in ring] for ring in part] for part in rows[0]["polygons"]] == [
        [[*range(12)]]
    ]
    xs = [[[point["x"] for point in ring] for ring in part] for part in rows[1]["polygons"]]
    assert xs == [[[0, 2, 4], [1, 2, 3]], [[7, 9, 11]]]
    assert [(p["name"], p["x"], p["visibility"]) for p in rows[2]["points"]] == [
        ("Nose", 1, "occluded"),
        ("Eye", 3, "selfOccluded"),
    ]
    assert rows[3]["rotation"] == 30.5
    assert rows[4]["cuboid"]["orientation"] == {"x": 0, "y": 0, "z": 1}
    assert rows[4]["cuboid"]["size"] == {"x": 4, "y": 5, "z": 6}


@pytest.mark.parametrize("size", [1, 700, 5000])
def test_chunks_do_not_depend_on_how_lines_are_read(size: int) -> None:
    """So neither do the row groups of a file."""
    lines = [b"x" * 100] * 3000 + [b"y" * 3_000_000] * 5 + [b"z" * 5000] * 3000
    pieces = [lines[start : start + size] for start in range(0, len(lines), size)]
    chunks = list(chunks_of(pieces))
    assert chunks == list(chunks_of([lines]))
    assert [one for chunk in chunks for one in chunk] == lines
    assert max(sum(map(len, chunk)) for chunk in chunks) < 8_000_000


def test_titles_that_come_and_go_stay_with_their_records() -> None:
    """Texts that records of a frame share are written once: also if a part of them is null, or empty."""
    titles = ["a", None, "", "b", "a", None]
    lines = [line("{}", data_title=title, frame=at) for at, title in enumerate(titles) for _ in range(3)]
    for dictionaries in (True, False):
        batches = [TypedTable("objects", dictionaries=dictionaries).batch(lines)]
        rows = [row for batch in batches for row in batch.to_pylist()]
        assert [(row["data_title"], row["frame"], row["space_id"]) for row in rows] == [
            (title, at, None) for at, title in enumerate(titles) for _ in range(3)
        ]


@pytest.mark.parametrize(
    "bad",
    [
        b"no json\n",
        b"{}\n",
        line("{}").replace(b"label", b"\xff", 1),
        b'{"kind":"object"}\n',
    ],
)
def test_what_is_no_record_ends_the_conversion(bad: bytes) -> None:
    """It is not left out in silence."""
    with pytest.raises(Unsound):
        typed(line("{}"), bad)


# -- readers ----------------------------------------------------------------------------------------


def by_pyarrow(folder: Path) -> Rows:
    return pyarrow.dataset.dataset(folder).to_table().to_pylist()  # type: ignore[no-any-return]


def by_polars(folder: Path) -> Rows:
    return polars.scan_parquet(folder / "*.parquet").collect().to_dicts()


def by_pandas(folder: Path) -> Rows:
    frame = pandas.read_parquet(folder, dtype_backend="pyarrow")
    return pyarrow.Table.from_pandas(frame, preserve_index=False).to_pylist()  # type: ignore[no-any-return]


def by_duckdb(folder: Path) -> Rows:
    return duckdb.sql(f"from '{folder}/*.parquet'").to_arrow_table().to_pylist()  # type: ignore[no-any-return]


def by_hugging_face(folder: Path) -> Rows:
    import datasets

    loaded = datasets.load_dataset(
        "parquet", data_files=f"{folder}/*.parquet", cache_dir=str(folder.parent / "hf")
    )
    return list(loaded["train"])


def by_arrow(folder: Path) -> Rows:
    export = folder.parent.parent / "out"
    return harvester.arrow(export, folder.name).read_all().to_pylist()  # type: ignore[no-any-return]


READERS = (by_pyarrow, by_polars, by_pandas, by_duckdb, by_hugging_face, by_arrow)


@pytest.mark.parametrize("read", READERS)
def test_every_reader_finds_the_values_without_a_schema(
    export: Path, parquet: Path, read: Callable[[Path], Rows]
) -> None:
    """As many rows, and sums over texts, numbers, times, answers and geometry as the records have."""
    for kind in ("objects", "classifications", "units"):
        rows, records = read(parquet / kind), records_of(export, kind)
        assert len(rows) == len(records)
        assert checksum(rows, kind) == checksum(records, kind)


def checksum(rows: Rows, kind: str) -> tuple[Any, ...]:
    """Sums over the values of records, or of the rows made of them."""
    label = {"objects": "object", "classifications": "classification"}.get(kind)
    sums: list[Any] = [
        [row["label_hash"] for row in rows],
        sum(row["frame"] or 0 for row in rows),
        sum(len(row["data_title"] or "") for row in rows),
    ]
    if label is not None:
        labels = [row[label] if isinstance(row[label], dict) else json.loads(row[label]) for row in rows]
        answers = [a for row in rows for a in (*row.get("attributes", ()), *row.get("answers", ()))]
        sums += [
            sum(one.get("confidence") or 0 for one in labels),
            sum(len(answer["options"] if answer["options"] is not None else ()) for answer in answers),
            sum(len(answer["text"] or "") for answer in answers),
            [row["name"] for row in rows],
        ]
    return tuple(sums)


def test_the_bytes_of_files_can_be_read_as_one_table_by_duckdb(parquet: Path) -> None:
    """A recipe: objects joined with the listing."""
    found = duckdb.sql(
        f"select count(*) n from '{parquet}/objects/*.parquet' o join '{parquet}/listing/*.parquet' l "
        "using (label_hash)"
    ).to_arrow_table()
    assert found.to_pylist() == [{"n": len(rows_of(parquet, "objects"))}]


# -- harvester.arrow --------------------------------------------------------------------------------


def test_arrow_gives_the_same_schema_as_the_files(export: Path, parquet: Path) -> None:
    """Of every table."""
    for table, schema in schemas(parquet).items():
        assert harvester.arrow(export, table).schema == schema


def test_arrow_goes_straight_into_polars_pandas_and_duckdb(export: Path) -> None:
    """In one line each."""
    number = len(records_of(export, "objects"))
    assert len(polars.from_arrow(harvester.arrow(export, "objects"))) == number
    assert len(harvester.arrow(export, "objects").read_pandas()) == number
    objects = harvester.arrow(export, "objects")
    assert duckdb.sql("select count(*) n from objects").to_arrow_table().to_pylist() == [{"n": number}]
    del objects


def test_an_unknown_table_is_named(export: Path) -> None:
    """With those that there are."""
    with pytest.raises(BadInput, match="unknown table 'rows': one of objects"):
        harvester.arrow(export, "rows")


def test_arrow_reads_while_it_is_read(export: Path) -> None:
    """The first batch comes before a damage further on is met."""
    reader = harvester.arrow(export, "listing")
    assert reader.read_next_batch().num_rows > 0
