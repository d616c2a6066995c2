"""Listings and label rows that disagree, or are not what was asked for: seen by a raw client over HTTP."""

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from harvester.simulator import Faults, Simulator, WorldSpec
from harvester.simulator.faults import FILTERS
from tests.simulator.client import Client

Json = dict[str, Any]
SPEC = WorldSpec(rows=200, seed=3, mix=("image", "video"), objects_per_row=4)
EVERYWHERE = {"include_all_label_branches": True}


@pytest.fixture(scope="module")
def running() -> Iterator[Simulator]:
    with Simulator(SPEC) as running:
        yield running


@pytest.fixture
def simulator(running: Simulator) -> Iterator[Simulator]:
    yield running
    running.set_faults()


@pytest.fixture
def client(simulator: Simulator) -> Iterator[Client]:
    made = Client(simulator)
    yield made
    made.close()


def items(client: Client, **query: Any) -> list[Json]:
    return client.v1("labelrowmetadata/GET", None, query).json["response"]  # type: ignore[no-any-return]


def hashes(client: Client, **query: Any) -> list[str]:
    return [item["label_hash"] for item in items(client, **query) if item.get("label_hash")]


def bundle(client: Client, asked: list[str]) -> dict[str, Json]:
    return {row["label_hash"]: row for row in client.rows(*asked).json["response"]}


def alone(client: Client, label_hash: str) -> Json:
    return client.v1("labelrow/GET", label_hash, {}).json["response"]  # type: ignore[no-any-return]


# -- shares of all rows ---------------------------------------------------------------------------


def test_a_share_of_the_rows_is_chosen_by_their_hashes(simulator: Simulator, client: Client) -> None:
    """The same rows however they are asked for; another seed chooses others; two shares do not overlap."""
    asked = hashes(client)
    simulator.set_faults(shares={"deleted": 0.2, "forbidden": 0.1})
    left = bundle(client, asked)
    assert 0.15 < 1 - len(left) / len(asked) < 0.45
    assert bundle(client, asked).keys() == left.keys()
    codes = {name: client.v1("labelrow/GET", name, {}).json["response"] for name in asked if name not in left}
    assert {str(code) for code in codes.values()} == {
        "['RESOURCE_NOT_FOUND_ERROR']",
        "['AUTHORISATION_ERROR']",
    }
    simulator.set_faults(shares={"deleted": 0.2, "forbidden": 0.1}, seed=1)
    assert bundle(client, asked).keys() != left.keys()


@pytest.mark.parametrize("shares", [{"stale": 0.6, "nan": 0.5}, {"stale": -0.1}])
def test_shares_are_shares(shares: dict[str, float]) -> None:
    """Of one whole."""
    with pytest.raises(ValueError, match="shares are 0 to 1"):
        Faults(shares=shares)  # type: ignore[arg-type]


def test_a_bundle_leaves_a_row_out_for_ever(simulator: Simulator, client: Client) -> None:
    """Alone it comes, time and again; the others of the bundle come in every bundle."""
    asked = hashes(client)[:4]
    simulator.set_faults(rows={asked[2]: "unbundled"})
    for _ in range(2):
        assert bundle(client, asked).keys() == set(asked) - {asked[2]}
        assert alone(client, asked[2])["label_hash"] == asked[2]


# -- stale rows -----------------------------------------------------------------------------------


def test_a_stale_row_is_older_than_its_listing_says(simulator: Simulator, client: Client) -> None:
    """In a bundle and alone, for ever: as it was before its last edit, if there was one."""
    one, other, *_ = hashes(client)
    first = bundle(client, [one, other])
    simulator.edit(rows=[one])
    fresh = bundle(client, [one, other])
    simulator.set_faults(rows={one: "stale", other: "stale"})
    listed = {item["label_hash"]: item for item in items(client) if item.get("label_hash")}
    for _ in range(3):
        stale = bundle(client, [one, other])
        assert stale[one] == alone(client, one) == first[one]
        assert stale[other] == alone(client, other)
    assert fresh[one]["last_edited_at"] == listed[one]["last_edited_at"] != stale[one]["last_edited_at"]
    assert stale[other]["last_edited_at"] != listed[other]["last_edited_at"] == fresh[other]["last_edited_at"]
    assert stale[other]["data_units"] != fresh[other]["data_units"]


def test_a_stale_row_can_become_fresh(simulator: Simulator, client: Client) -> None:
    """After so many answers that held it."""
    one, other, *_ = hashes(client)
    fresh = bundle(client, [one, other])
    simulator.set_faults(rows={one: "stale"}, stale_asks=2)
    assert bundle(client, [one, other])[one] != fresh[one]
    assert bundle(client, [other]) == {other: fresh[other]}
    assert alone(client, one) != fresh[one]
    assert alone(client, one) == fresh[one]
    assert bundle(client, [one, other]) == fresh


# -- filters that are ignored ---------------------------------------------------------------------

ASKED: list[tuple[str, Any]] = [
    ("label_statuses", ["COMPLETED"]),
    ("edited_before", "2024-06-01"),
    ("edited_after", "2024-06-01"),
    ("shadow_data_state", "SHADOW_DATA"),
    ("data_hashes", []),
    ("label_hashes", []),
    ("data_title_eq", "street_0000042.jpg"),
    ("data_title_like", "%7.jpg"),
    ("workflow_graph_node_title_eq", "Review"),
    ("workflow_graph_node_title_like", "Rev%"),
    ("branch_name", "model-predictions"),
    ("include_all_label_branches", True),
]


@pytest.mark.parametrize(("name", "value"), ASKED, ids=[name for name, _ in ASKED])
def test_a_filter_is_ignored(simulator: Simulator, client: Client, name: str, value: Any) -> None:
    """The listing is the one without it; other filters still hold."""
    everything, filtered = items(client), items(client, **{name: value})
    assert filtered != everything
    simulator.set_faults(ignored_filters=[name])
    assert items(client, **{name: value}) == everything
    other = (
        {"shadow_data_state": "NOT_SHADOW_DATA"} if name != "shadow_data_state" else {"label_statuses": []}
    )
    assert items(client, **{name: value}, **other) == items(client, **other) != everything


def test_every_filter_can_be_ignored_and_nothing_else() -> None:
    """An unknown name is refused."""
    assert {name for name, _ in ASKED} == FILTERS
    with pytest.raises(ValueError, match="unknown filter 'rows'"):
        Faults(ignored_filters=("rows",))


# -- rows that are listed twice -------------------------------------------------------------------


def test_a_row_is_listed_twice_by_title(simulator: Simulator, client: Client) -> None:
    """At the end once more, under another title, with the same label hash; a title filter holds for both."""
    before = items(client)
    one = next(item for item in before if item.get("label_hash"))
    simulator.set_faults(rows={one["label_hash"]: "twice_by_title"})
    *listed, second = items(client)
    assert listed == before
    assert second == one | {"data_title": f"copy of {one['data_title']}"}
    assert items(client, data_title_eq=one["data_title"]) == [one]
    assert items(client, data_title_like="copy of %") == [second]
    assert items(client, label_hashes=[one["label_hash"]]) == [one, second]


def test_a_row_is_listed_twice_by_branch(simulator: Simulator, client: Client) -> None:
    """On the branch after its own, where that branch is asked for."""
    one = next(item for item in items(client) if item.get("label_hash"))
    everywhere, second = items(client, **EVERYWHERE), one | {"branch_name": "model-predictions"}
    simulator.set_faults(rows={one["label_hash"]: "twice_by_branch"})
    assert items(client, **EVERYWHERE) == [*everywhere, second]
    assert second not in items(client)
    assert items(client, branch_name="model-predictions")[-1] == second
    assert items(client, label_hashes=[one["label_hash"]]) == [one, second]


def test_a_share_of_the_rows_is_listed_twice(simulator: Simulator, client: Client) -> None:
    """Each of them once more, and no more."""
    simulator.set_faults(shares={"twice_by_title": 0.1, "twice_by_branch": 0.1})
    found = hashes(client, **EVERYWHERE)
    assert 0.1 < len(found) / len(set(found)) - 1 < 0.3
    assert max(map(found.count, found)) == 2


def test_a_project_of_one_branch_lists_no_row_on_another() -> None:
    """Asked to, the simulator refuses."""
    with Simulator(WorldSpec(rows=5, branches=()), tls=False) as own:
        with pytest.raises(ValueError, match="one branch"):
            own.set_faults(shares={"twice_by_branch": 0.5})
        assert own.stats()["requests"] == 0


# -- rows that are not what the listing says, or no JSON ------------------------------------------


@pytest.mark.parametrize(
    ("trouble", "key"),
    [("other_branch", "branch_name"), ("other_data", "data_hash"), ("other_dataset", "dataset_hash")],
)
def test_a_row_contradicts_its_listing(simulator: Simulator, client: Client, trouble: str, key: str) -> None:
    """In one value of its own; all else, its data units too, stays."""
    (item, *_) = (item for item in items(client) if item.get("label_hash"))
    row = alone(client, item["label_hash"])
    simulator.set_faults(rows={item["label_hash"]: trouble})
    other = alone(client, item["label_hash"])
    assert other[key] != item[key]
    assert other == row | {key: other[key]}
    assert bundle(client, [item["label_hash"]]) == {item["label_hash"]: other}


def texts(value: Any) -> Iterator[str]:
    """All keys and texts."""
    if isinstance(value, dict):
        yield from value
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from texts(each)
    elif isinstance(value, str):
        yield value


def is_text(text: str) -> bool:
    """Whether it is free of unpaired surrogates."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def test_surrogates_stand_in_names_answers_keys_and_titles(simulator: Simulator, client: Client) -> None:
    """Escaped, unpaired, beside pairs that are whole; the bytes themselves are UTF-8."""
    asked = hashes(client)
    rows = bundle(client, asked)
    simulator.set_faults(shares={"surrogates": 1.0})
    got = client.rows(*asked)
    got.body.decode()
    assert b"\\ud83d\\ude00" in got.body
    broken = {row["label_hash"]: row for row in got.json["response"]}
    names = answers = keys = 0
    for hash, row in broken.items():
        assert row["data_title"] == "\ud83d" + rows[hash]["data_title"]
        found = [text for text in texts(row) if not is_text(text)]
        names += sum(text.startswith("\ud83d") and text[1:] in ("Car", "Sign", "Road") for text in found)
        answers += "\ud83dleft turn" in found
        keys += "simulator\udfff" in found
    assert min(names, answers, keys) > 5


def test_surrogates_stand_in_the_listing(simulator: Simulator, client: Client) -> None:
    """In titles, and in keys and values of client metadata; what is null stays so."""
    before = [item for item in items(client, include_client_metadata=True) if item.get("label_hash")]
    simulator.set_faults(shares={"surrogates": 1.0})
    after = [item for item in items(client, include_client_metadata=True) if item.get("label_hash")]
    for old, new in zip(before, after, strict=True):
        metadata = old["client_metadata"]
        broken = None if metadata is None else {"simulator\udfff": "\ud83d", **metadata}
        assert new == old | {"data_title": "\ud83d" + old["data_title"], "client_metadata": broken}


def test_a_confidence_is_not_a_number(simulator: Simulator, client: Client) -> None:
    """NaN where a number is expected, which is no JSON; one of the row's objects has it."""
    one = hashes(client)[0]
    row = client.rows(one).body
    simulator.set_faults(rows={one: "nan_confidence"})
    broken = client.rows(one).body
    assert broken.count(b'"confidence":NaN') == 1
    assert broken.count(b'"confidence":') == row.count(b'"confidence":')
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(broken)


def test_all_of_it_can_be_given_as_json() -> None:
    """As `simulate --faults` reads it."""
    told = {"shares": {"stale": 0.1}, "stale_asks": 1, "ignored_filters": ["edited_after"]}
    faults = msgspec.json.decode(json.dumps(told), type=Faults)
    assert faults == Faults(shares={"stale": 0.1}, stale_asks=1, ignored_filters=("edited_after",))
