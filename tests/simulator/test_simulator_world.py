"""The simulated project: rows from numbers, the same for ever; the listing and its filters; changes."""

import hashlib
import re
from collections.abc import Mapping
from datetime import datetime
from itertools import islice
from typing import Any

import msgspec
import orjson
import pytest

from harvester.simulator.world import World, WorldSpec
from tests.truth import truth_of

DIGEST = "0dee272abc826c0edc0c9d286f61c18a6d63913e001087b9029040fa4061273b"
SPEC = WorldSpec(rows=600, seed=7)


@pytest.fixture(scope="module")
def world() -> World:
    return World(SPEC)


def items(world: World, **query: Any) -> list[dict[str, Any]]:
    return [orjson.loads(item) for item in world.listing(query)]


def labelled(world: World, **query: Any) -> list[dict[str, Any]]:
    return [item for item in items(world, **query) if item.get("label_hash")]


def row(world: World, label_hash: str, **options: Any) -> dict[str, Any]:
    made = world.label_row(label_hash, **options)
    assert made is not None
    return orjson.loads(made)  # type: ignore[no-any-return]


def test_the_same_specification_gives_the_same_bytes_for_ever() -> None:
    """A digest of a small project, pinned: every platform and every later version gives these bytes."""
    digest = hashlib.sha256()
    world = World(WorldSpec(rows=300, seed=11))
    for item in world.listing({"include_all_label_branches": True}):
        digest.update(item)
        if label_hash := orjson.loads(item).get("label_hash"):
            digest.update(world.label_row(label_hash, reviews=True) or b"")
    assert digest.hexdigest() == DIGEST


def test_a_specification_survives_a_trip_to_another_process() -> None:
    """A specification encodes to JSON and back."""
    spec = WorldSpec(rows=3, mix=("image", "video"), shapes=("polygon",), branches=("a", "b"))
    assert msgspec.json.decode(msgspec.json.encode(spec), type=WorldSpec) == spec


def test_another_seed_is_another_project() -> None:
    """Hashes and labels depend on the seed."""
    one, other = World(WorldSpec(rows=20, seed=1)), World(WorldSpec(rows=20, seed=2))
    assert one.project_hash != other.project_hash
    assert not {i["data_hash"] for i in items(one)} & {i["data_hash"] for i in items(other)}
    assert other.label_row(one.label_hash(3)) is None


def test_the_head_of_a_label_row_agrees_with_the_listing(world: World) -> None:
    """Every labelled row of the listing has a label row with the same hashes, titles, dates, and type."""
    same = ("label_hash", "data_hash", "dataset_hash", "dataset_title", "data_title", "created_at")
    for item in labelled(world, include_all_label_branches=True):
        made = row(world, item["label_hash"])
        assert {key: made[key] for key in same} == {key: item[key] for key in same}
        assert made["last_edited_at"] == item["last_edited_at"]
        assert made["data_type"] == item["data_type"].lower()
        assert made["label_status"] == item["label_status"]
        assert made["branch_name"] in (item["branch_name"], None)


def test_rows_without_a_label_have_no_label_row(world: World) -> None:
    """Their label hash is null, empty or absent, and what it would be is not served."""
    found = items(world)
    without = [item for item in found if not item.get("label_hash")]
    assert {item.get("label_hash", "absent") for item in without} == {None, "", "absent"}
    assert 0.05 < len(without) / len(found) < 0.15
    for number, item in enumerate(found):
        assert (world.label_row(world.label_hash(number)) is None) == (item in without)


@pytest.mark.parametrize("text", ["", "x", "00000000-0000-0000-0000-000000000000", "z" * 8, "é" * 36])
def test_a_foreign_hash_names_no_row(world: World, text: str) -> None:
    """Any text that is no hash of this project gives no row, and no error."""
    assert world.label_row(text) is None
    assert world.create(text) is None
    assert items(world, label_hashes=[text], data_hashes=[text]) == []


def test_a_hash_past_the_end_names_no_row(world: World) -> None:
    """A row that the project does not have yet is not served."""
    assert world.label_row(world.label_hash(SPEC.rows)) is None


FILTERS: list[tuple[dict[str, Any], Any]] = [
    ({"edited_after": "2024-06-01"}, lambda i: date(i) >= "2024-06-01"),
    ({"edited_before": "2024-06-01T00:00:00+00:00"}, lambda i: date(i) and date(i) < "2024-06-01"),
    ({"label_statuses": ["COMPLETED", "RETURNED"]}, lambda i: task(i) in ("COMPLETED", "RETURNED")),
    ({"label_statuses": []}, lambda i: False),
    ({"shadow_data_state": "SHADOW_DATA"}, lambda i: i["is_shadow_data"]),
    ({"shadow_data_state": "NOT_SHADOW_DATA"}, lambda i: not i["is_shadow_data"]),
    ({"shadow_data_state": "ALL_DATA"}, lambda i: True),
    ({"include_uninitialised_labels": False}, lambda i: i.get("label_hash")),
    ({"data_title_eq": "street_0000042.jpg"}, lambda i: i["data_title"] == "street_0000042.jpg"),
    ({"data_title_like": "%1_.mp4"}, lambda i: re.search(r"1.\.mp4$", i["data_title"])),
    ({"data_title_like": "street\\_%"}, lambda i: i["data_title"].startswith("street_")),
    ({"workflow_graph_node_title_eq": "Review"}, lambda i: stage(i) == "Review"),
    ({"workflow_graph_node_title_like": "%te"}, lambda i: stage(i) in ("Annotate", "Complete")),
    ({"branch_name": "nobody's"}, lambda i: False),
]  # fmt: skip


def task(item: Mapping[str, Any]) -> str:
    return item["annotation_task_status"]  # type: ignore[no-any-return]


def stage(item: Mapping[str, Any]) -> str:
    return item["workflow_graph_node"]["title"]  # type: ignore[no-any-return]


def date(item: Mapping[str, Any]) -> str:
    """The edit's day as ISO text, whatever the form; empty for rows without label."""
    text = item.get("last_edited_at") or ""
    if not text.endswith("UTC"):
        return text[:10]
    months = "JanFebMarAprMayJunJulAugSepOctNovDec"
    _, day, month, year, *_ = text.split()
    return f"{year}-{months.index(month) // 3 + 1:02}-{day}"


@pytest.mark.parametrize(("query", "takes"), FILTERS, ids=[str(query) for query, _ in FILTERS])
def test_a_filter_takes_what_it_says(world: World, query: dict[str, Any], takes: Any) -> None:
    """A filtered listing is the whole listing without the rows that the filter rules out; so is the truth."""
    expected = [item for item in items(world) if takes(item)]
    assert items(world, **query) == expected
    assert truth_of(world, query).listed == len(expected)


def test_a_row_was_edited_at_the_very_date_that_it_bears(world: World) -> None:
    """Asked for what was edited from a row's own date on, the listing has the row; before it, it has not."""
    for item in labelled(world)[:100]:
        text = item["last_edited_at"]
        if text.endswith("UTC"):
            text = datetime.strptime(text, "%a, %d %b %Y %H:%M:%S UTC").isoformat()
        assert item in items(world, edited_after=text, data_hashes=[item["data_hash"]])
        assert item not in items(world, edited_before=text, data_hashes=[item["data_hash"]])


def test_rows_are_listed_by_hash(world: World) -> None:
    """Label hashes and data hashes name rows, once each, and go together with other filters."""
    some = labelled(world)[10:14]
    hashes = [item["label_hash"] for item in some]
    assert items(world, label_hashes=hashes * 2) == some
    assert items(world, data_hashes=[item["data_hash"] for item in some]) == some
    assert items(world, label_hashes=hashes, data_hashes=[some[0]["data_hash"]]) == some[:1]
    assert items(world, label_hashes=hashes, data_title_eq=some[1]["data_title"]) == [some[1]]


def test_branches_have_label_rows_of_their_own(world: World) -> None:
    """A branch's rows share the data hash of main's, and have another label hash and other labels."""
    assert world.branches() == ["main", "model-predictions"]
    main = {item["data_hash"]: item for item in items(world)}
    branch = items(world, branch_name="model-predictions")
    assert 0.15 < len(branch) / SPEC.rows < 0.35
    assert len(items(world, include_all_label_branches=True)) == len(main) + len(branch)
    other = 0
    for item in branch:
        beside = main[item["data_hash"]]
        assert item["label_hash"] != beside["label_hash"]
        made, main_row = row(world, item["label_hash"]), row(world, beside["label_hash"])
        other += made["object_answers"] != main_row["object_answers"]
    assert other > len(branch) / 2


def test_what_is_asked_for_is_included(world: World) -> None:
    """Client metadata, image data, and the children of groups come only where they are asked for."""
    plain = items(world)
    assert not any("client_metadata" in item or "images_data" in item for item in plain)
    full = items(world, include_client_metadata=True, include_images_data=True, include_children=True)
    assert all("client_metadata" in item for item in full if "group_hash" not in item)
    images = [entry for item in full for entry in item.get("images_data", [])]
    assert {frozenset(entry) for entry in images} == {
        frozenset(("index", "title", "file_type", "height", "width", "image_hash"))
    }
    children = [item for item in full if "group_hash" in item]
    assert {child["group_hash"] for child in children} == {
        item["data_hash"] for item in plain if item["data_type"] == "GROUP"
    }
    assert len(full) == len(plain) + len(children)


def without_reviews(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_reviews(inner) for key, inner in value.items() if key != "reviews"}
    return [without_reviews(inner) for inner in value] if isinstance(value, list) else value


def test_reviews_and_signed_urls_come_only_when_asked_for(world: World) -> None:
    """Without the options a row has neither; with them it has both, and is otherwise the same."""
    hashes = [item["label_hash"] for item in labelled(world)]
    plain = b"".join(world.label_row(hash) or b"" for hash in hashes)
    assert b'"reviews"' not in plain
    assert b"X-Goog" not in plain
    reviewed = [row(world, hash, reviews=True) for hash in hashes]
    assert b'"approved":true' in orjson.dumps(reviewed)
    assert [without_reviews(made) for made in reviewed] == [row(world, hash) for hash in hashes]
    signed = b"".join(world.label_row(hash, signed_urls=True) or b"" for hash in hashes)
    assert b"X-Goog-Signature" in signed
    assert re.sub(rb'\?(?:X-Goog|X-Amz|sv=)[^"]*', b"", signed) == plain


def test_a_row_holds_only_the_features_asked_for(world: World) -> None:
    """Feature hashes choose objects, their answers and actions, and classifications."""
    car = next(o["featureNodeHash"] for o in world.ontology()["objects"] if o["name"] == "Car")
    seen = 0
    for item in labelled(world)[:200]:
        full = row(world, item["label_hash"])
        none = row(world, item["label_hash"], object_feature_hashes=[])
        # An object that is gone and answered nothing does not even say of which class it was.
        assert not any(answer["classifications"] for answer in none["object_answers"].values())
        assert not none["object_actions"]
        assert none["classification_answers"] == full["classification_answers"]
        cars = orjson.dumps(row(world, item["label_hash"], object_feature_hashes=[car]))
        seen += cars.count(b'"shape":"bounding_box"')
        assert b'"shape":"polygon"' not in cars
        unclassified = row(world, item["label_hash"], classification_feature_hashes=[])
        assert unclassified["classification_answers"] == {}
        assert unclassified["object_answers"] == full["object_answers"]
    assert seen > 100


def test_an_edited_row_has_a_later_date_and_other_labels() -> None:
    """An edit changes that row alone, in the listing and in its label row; so does every further edit."""
    world = World(WorldSpec(rows=50, unlabelled=0))
    before = items(world)
    edited = before[7]["label_hash"]
    seen = {world.label_row(edited)}
    for number in range(1, 7):
        world.edit(rows=[edited])
        assert items(world, edited_after="2026-01-01") == [items(world)[7]]
        assert [a for a, b in zip(before, items(world), strict=True) if a != b] == [before[7]]
        seen.add(world.label_row(edited))
        assert len(seen) == 1 + number
    assert row(world, edited)["last_edited_at"] == items(world)[7]["last_edited_at"]


def test_rows_join_and_leave_the_project() -> None:
    """A removed row is neither listed nor served; added ones are; the truth follows."""
    world = World(WorldSpec(rows=50, unlabelled=0))
    first = items(world)[0]
    world.edit(removed=[first["label_hash"]], added=5)
    after = items(world)
    assert len(after) == 54
    assert first not in after
    assert world.label_row(first["label_hash"]) is None
    assert all(world.label_row(item["label_hash"]) for item in after)
    assert truth_of(world).listed == 54


def test_an_edit_may_say_when_it_was() -> None:
    """The date of an edit is the one given, and never before the last one."""
    world = World(WorldSpec(rows=5, unlabelled=0))
    hashes = [world.label_hash(number) for number in range(2)]
    world.edit(rows=hashes[:1], at=1_800_000_000)
    world.edit(rows=hashes[1:])
    assert len(items(world, edited_after="2027-01-15T08:00:00")) == 2
    assert world.project()["lastEditedAt"] == "2027-01-15T08:01:00+00:00"


def test_creating_a_label_row_makes_an_empty_one() -> None:
    """A data unit without label row has one afterwards, without labels; one that has one keeps it."""
    world = World(WorldSpec(rows=50, unlabelled=0.5))
    before = items(world)
    empty = next(item for item in before if not item.get("label_hash"))
    created = orjson.loads(world.create(empty["data_hash"]) or b"")
    assert created["data_hash"] == empty["data_hash"]
    truth = truth_of(world, {"label_hashes": [created["label_hash"]]})
    assert (truth.labelled, truth.objects, truth.classifications) == (1, 0, 0)
    assert row(world, created["label_hash"]) == created
    kept = next(item for item in before if item.get("label_hash"))
    assert orjson.loads(world.create(kept["data_hash"]) or b"")["label_hash"] == kept["label_hash"]


def test_a_million_rows_cost_nothing_until_they_are_asked_for() -> None:
    """The first and the last of a million rows come at once."""
    world = World(WorldSpec(rows=1_000_000, unlabelled=0))
    assert len(list(islice(world.listing(), 3))) == 3
    assert "_0999999." in row(world, world.label_hash(999_999))["data_title"]


@pytest.mark.parametrize("size", [5_000, 100_001, 2_000_000])
def test_the_large_row_has_exactly_so_many_bytes(size: int) -> None:
    """Row 0 is valid JSON of the size asked for, with boxes of their own."""
    world = World(WorldSpec(rows=3, large_row_bytes=size))
    made = world.label_row(world.label_hash(0)) or b""
    assert len(made) == size
    (unit,) = orjson.loads(made)["data_units"].values()
    objects = unit["labels"]["objects"]
    assert len({found["objectHash"] for found in objects}) == len(objects)
    assert {found["shape"] for found in objects} == {"bounding_box"}


def test_benchmark_rows_have_exactly_so_many_objects() -> None:
    """Images with 20 boxes each are about 14 KB of JSON."""
    spec = WorldSpec(rows=64, objects_per_row=20, mix=("image",), shapes=("bounding_box",), unlabelled=0)
    world = World(spec)
    sizes = []
    for number in range(64):
        made = world.label_row(world.label_hash(number)) or b""
        sizes.append(len(made))
        assert made.count(b'"boundingBox"') == 20
    assert 13_000 < sum(sizes) / 64 < 15_500
    assert truth_of(world).by_shape == {"bounding_box": 20 * 64}


def test_a_mix_that_names_no_kind_of_row_is_refused() -> None:
    """A typing mistake in the mix is an error that lists the kinds there are."""
    with pytest.raises(ValueError, match="no such kind of row: vdeo; there are image"):
        World(WorldSpec(mix=("image", "vdeo")))


def test_tasks_are_those_of_their_stage(world: World) -> None:
    """The tasks of all stages together are the rows of the listing."""
    by_stage = {
        stage["title"]: {task["dataHash"] for task in world.tasks(stage["uuid"])}
        for stage in world.project()["workflow"]["stages"]
    }
    for title, found in by_stage.items():
        assert found == {i["data_hash"] for i in items(world, workflow_graph_node_title_eq=title)}
    assert sum(map(len, by_stage.values())) == SPEC.rows
