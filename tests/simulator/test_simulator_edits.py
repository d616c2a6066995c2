"""Changes of a project while it is served: rows, stages, the ontology."""

from collections.abc import Iterator
from typing import Any

import pytest
from encord.objects import OntologyStructure

from harvester.simulator import Simulator, WorldSpec
from harvester.simulator.ontology import feature_hash
from harvester.simulator.world import World
from tests.simulator.client import Client

Json = dict[str, Any]
SPEC = WorldSpec(rows=120, seed=5)
CAR, WEATHER = feature_hash("Car"), feature_hash("Weather", "classification")


@pytest.fixture(scope="module")
def running() -> Iterator[Simulator]:
    with Simulator(SPEC) as running:
        yield running


@pytest.fixture(scope="module")
def client(running: Simulator) -> Iterator[Client]:
    made = Client(running)
    yield made
    made.close()


def listed(client: Client, **query: Any) -> dict[str, Json]:
    """The labelled rows of a listing, by label hash."""
    items = client.v1("labelrowmetadata/GET", None, query).json["response"]
    return {item["label_hash"]: item for item in items if item.get("label_hash")}


def served(client: Client, *hashes: str, **payload: Any) -> dict[str, Json]:
    """Label rows from one bundled call, by label hash."""
    rows = client.v1("labelrow/GET", list(hashes), {"multi_request": True} | payload).json["response"]
    return {row["label_hash"]: row for row in rows}


def editor(client: Client) -> Json:
    """The ontology as the v2 API answers it, once the SDK has parsed it."""
    (answer,) = client.v2("GET", "ontologies").json["results"]
    OntologyStructure.from_dict(answer["editor"])
    return answer["editor"]  # type: ignore[no-any-return]


def named(nodes: list[Json], hash: str) -> Json:
    return next(node for node in nodes if node["featureNodeHash"] == hash)


def car(client: Client) -> Json:
    return named(editor(client)["objects"], CAR)


def weather(client: Client) -> Json:
    (attribute,) = named(editor(client)["classifications"], WEATHER)["attributes"]
    return attribute  # type: ignore[no-any-return]


# -- the ontology ---------------------------------------------------------------------------------


def test_the_ontology_changes_and_rows_do_not(running: Simulator, client: Client) -> None:
    """Its own date moves, in both calls that answer it; no listing's item and no label row differs."""
    listing = listed(client)
    rows = served(client, *listing)
    assert editor(client)["objects"][0]["name"] == "Car"
    before = client.v2("GET", "ontologies").json["results"][0]["lastEditedAt"]
    running.edit(ontology=[{"do": "rename", "node": "Car", "to": "Automobile"}])
    assert car(client)["name"] == "Automobile"
    assert client.v2("GET", f"projects/{running.project_hash}").json["editorOntology"] == editor(client)
    assert client.v2("GET", "ontologies").json["results"][0]["lastEditedAt"] > before
    assert listed(client) == listing
    assert served(client, *listing) == rows
    running.edit(ontology=[{"do": "rename", "node": CAR, "to": "Car"}])


def test_names_and_labels_change(running: Simulator, client: Client) -> None:
    """Of an object, an attribute, an option, a nested attribute, and of a classification by its attribute."""
    changes = {
        "Car/Kind": "Type", "Car/Kind/Truck": "Lorry", "Car/Kind/Truck/Cargo": "Load", "Weather": "Sky",
    }  # fmt: skip
    running.edit(ontology=[{"do": "rename", "node": node, "to": to} for node, to in changes.items()])
    kind = car(client)["attributes"][0]
    assert kind["name"] == "Type"
    assert kind["options"][1]["label"] == "Lorry"
    assert kind["options"][1]["options"][0]["name"] == "Load"
    assert weather(client)["name"] == "Sky"


def test_attributes_and_options_change_places(running: Simulator, client: Client) -> None:
    """A node moves to a position among its siblings; ids stay."""
    running.edit(ontology=[{"do": "move", "node": "Car/Speed", "to": 0}])
    assert [a["id"] for a in car(client)["attributes"]][:2] == ["1.5", "1.1"]
    running.edit(ontology=[{"do": "move", "node": "Weather/Weather/Rain", "to": 0}])
    assert [option["label"] for option in weather(client)["options"]] == ["Rain", "Sunny", "Snow"]


def test_features_attributes_and_options_are_added(running: Simulator, client: Client) -> None:
    """Anywhere in the tree, with hashes and ids of their own, as the SDK takes them."""
    running.edit(
        ontology=[
            {"do": "add", "node": "Bicycle", "shape": "polygon"},
            {"do": "add", "node": "Bicycle/Gears", "type": "radio"},
            {"do": "add", "node": "Bicycle/Gears/Many"},
            {"do": "add", "node": "Bicycle/Gears/Many/How many", "type": "numeric"},
            {"do": "add", "node": "Mood", "type": "checklist"},
            {"do": "add", "node": "Mood/Mood/Calm"},
            {"do": "add", "node": "Weather/Weather/Fog"},
        ]
    )
    made = editor(client)
    bicycle = named(made["objects"], feature_hash("Bicycle"))
    (gears,) = bicycle["attributes"]
    (many,) = gears["options"]
    (how,) = many["options"]
    assert (gears["dynamic"], how["type"]) == (False, "numeric")
    assert how["featureNodeHash"] == feature_hash("Bicycle", "Gears", "Many", "How many")
    assert how["id"] == f"{bicycle['id']}.101.101.101"
    (mood,) = named(made["classifications"], feature_hash("Mood", "classification"))["attributes"]
    assert [option["label"] for option in mood["options"]] == ["Calm"]
    assert "Fog" in [option["label"] for option in weather(client)["options"]]


def test_what_is_removed_can_be_put_back(running: Simulator, client: Client) -> None:
    """Where it was, with all below it; labels of it are sent all the while."""
    before = editor(client)
    hash = next(h for h, item in listed(client).items() if CAR.encode() in client.rows(h).body)
    row = client.rows(hash).json
    running.edit(
        ontology=[{"do": "remove", "node": node} for node in ("Weather/Weather/Snow", CAR, "Weather")]
    )
    without = editor(client)
    assert CAR not in [o["featureNodeHash"] for o in without["objects"]]
    assert WEATHER not in [c["featureNodeHash"] for c in without["classifications"]]
    assert client.rows(hash).json == row
    running.edit(
        ontology=[{"do": "restore", "node": node} for node in ("Weather", CAR, "Weather/Weather/Snow")]
    )
    assert editor(client) == before


def test_any_other_key_can_be_set(running: Simulator, client: Client) -> None:
    """A colour, say, which changes nothing of any label."""
    running.edit(ontology=[{"do": "set", "node": "Car", "key": "color", "to": "#000000"}])
    assert car(client)["color"] == "#000000"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({"do": "rename", "node": "Tram", "to": "x"}, "has no 'Tram'"),
        ({"do": "rename", "node": "Car", "to": 7}, "to a text"),
        ({"do": "move", "node": "Car", "to": "up"}, "to a position"),
        ({"do": "restore", "node": "Car"}, "was not removed"),
        ({"do": "add", "node": "Car", "shape": "point"}, "is there"),
        ({"do": "add", "node": "Comment/Second"}, "one attribute only"),
        ({"do": "add", "node": "Comment/Comment/Option"}, "has no options"),
        ({"do": "set", "node": "Car", "key": "featureNodeHash", "to": "x"}, "never changes"),
        ({"do": "paint", "node": "Car"}, "paint"),
        ({"do": "remove", "node": "Car", "colour": "red"}, "colour"),
    ],
    ids=lambda value: str(value),
)
def test_a_change_that_makes_no_sense_changes_nothing(
    running: Simulator, client: Client, edit: Json, message: str
) -> None:
    """It is refused by name, and so are those that came with it."""
    before, rows = editor(client), listed(client)
    with pytest.raises(ValueError, match=message):
        running.edit(rows=list(rows), ontology=[{"do": "remove", "node": "Road"}, edit])
    assert editor(client) == before
    assert listed(client) == rows


# -- rows -----------------------------------------------------------------------------------------


def test_an_edit_says_what_it_changed(running: Simulator, client: Client) -> None:
    """The hashes that it found, and when; unknown ones are passed over."""
    one, other, third = list(listed(client))[:3]
    told = running.edit(rows=[one, "nobody"], removed=[other], stages={third: "Review"}, added=2)
    assert (told["rows"], told["removed"], told["moved"], told["added"]) == ([one], [other], [third], 2)
    assert running.edit()["at"] == told["at"] + 60


def test_random_rows_are_edited_in_a_sequence_that_the_seed_chooses() -> None:
    """So many labelled rows, each time others, the same for every world of the seed; no other row changes."""
    worlds = [World(SPEC), World(SPEC)]
    before = set(worlds[0].listing())
    touched: set[str] = set()
    for _ in range(5):
        one, other = (world.edit(random=4) for world in worlds)
        assert one == other
        assert len(set(one.rows)) == 4
        touched |= set(one.rows)
    assert len(touched) > 12
    assert len(set(worlds[0].listing()) - before) == len(touched)
    assert World(WorldSpec(rows=0)).edit(random=3).rows == []
    assert len(World(WorldSpec(rows=2, unlabelled=0)).edit(random=50).rows) == 2


def test_a_row_moves_to_another_stage(running: Simulator, client: Client) -> None:
    """Stage and task status change in the listing, the status in the label row; its date stays."""
    hash, item = next((h, i) for h, i in listed(client).items() if i["annotation_task_status"] == "COMPLETED")
    running.edit(stages={hash: "Annotate"})
    moved = listed(client)[hash]
    assert moved["workflow_graph_node"]["title"] == "Annotate"
    assert (moved["annotation_task_status"], moved["last_edited_at"]) == ("ASSIGNED", item["last_edited_at"])
    assert hash in listed(client, workflow_graph_node_title_eq="Annotate")
    with pytest.raises(ValueError, match="one of Annotate, Review, Complete"):
        running.edit(stages={hash: "Elsewhere"})


# -- client metadata ------------------------------------------------------------------------------


def test_client_metadata_is_any_json(client: Client) -> None:
    """Null, empty, nested, mixed lists, text beyond ASCII, large integers: only where it is asked for."""
    assert not any("client_metadata" in item for item in listed(client).values())
    found = [item["client_metadata"] for item in listed(client, include_client_metadata=True).values()]
    assert None in found
    assert {} in found
    keys = set().union(*(metadata or {} for metadata in found))
    assert keys >= {"camera", "weather", "場所", "odometer", "mixed", ""}


def test_client_metadata_changes_and_the_rows_date_does_not(running: Simulator, client: Client) -> None:
    """For the data unit, named by label hash or data hash; nothing else in the listing is another."""
    before = listed(client, include_client_metadata=True)
    (one, item), (other, _), *_ = before.items()
    told = {"né": [1, {"ü": None}]}
    running.edit(client_metadata={item["data_hash"]: told, other: None, "nobody": 1})
    after = listed(client, include_client_metadata=True)
    assert after == before | {
        one: before[one] | {"client_metadata": told},
        other: before[other] | {"client_metadata": None},
    }


def test_the_listing_says_what_the_medium_is(client: Client) -> None:
    """Size where it has one, number of frames, storage item and dates, as the platform's listing does."""
    for item in listed(client).values():
        assert isinstance(item["number_of_frames"], int)
        assert len(item["backing_item_uuid"]) == 36
        assert item["created_at"]
        if item["data_type"] in ("VIDEO", "DICOM", "NIFTI"):
            assert item["width"] > 0
            assert item["height"] > 0
