"""Archived features: in the ontology, and in label rows only where a bundled call asks for them."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from encord import EncordUserClient
from encord.objects import OntologyStructure

from harvester.simulator import Simulator, WorldSpec
from harvester.simulator.ontology import feature_hash
from harvester.simulator.ontology_edits import ARCHIVED
from harvester.simulator.world import World
from tests.simulator.client import Client
from tests.truth import Oracle, truth_of

SPEC = WorldSpec(rows=200, seed=9, archived=True)
ROOTS = (feature_hash("Pedestrian"), feature_hash("Speech"), feature_hash("Comment", "classification"))


@pytest.fixture(scope="module")
def running() -> Iterator[Simulator]:
    with Simulator(SPEC) as running:
        yield running


@pytest.fixture(scope="module")
def client(running: Simulator) -> Iterator[Client]:
    made = Client(running)
    yield made
    made.close()


@pytest.fixture(scope="module")
def hashes(client: Client) -> list[str]:
    items = client.v1("labelrowmetadata/GET", None, {}).json["response"]
    return [item["label_hash"] for item in items if item.get("label_hash")]


def bundled(client: Client, hashes: list[str], **payload: Any) -> dict[str, Any]:
    rows = client.v1("labelrow/GET", hashes, {"multi_request": True} | payload).json["response"]
    return {row["label_hash"]: row for row in rows}


def named(rows: dict[str, Any]) -> set[str]:
    """Those archived features that any key of the rows names."""
    text = json.dumps(rows)
    return {hash for hash in ROOTS if hash in text}


def test_the_ontology_says_what_is_archived(client: Client) -> None:
    """Objects, attributes and options by a flag of their own, a classification by that of its attribute."""
    structure = OntologyStructure.from_dict(client.v2("GET", "ontologies").json["results"][0]["editor"])
    objects = {feature.name: feature for feature in structure.objects}
    assert {name for name, feature in objects.items() if feature.archived} == {"Pedestrian", "Speech"}
    attributes = {attribute.name: attribute for attribute in objects["Car"].attributes}
    assert {name for name, attribute in attributes.items() if attribute.archived} == {"Plate"}
    assert [option.label for option in attributes["Kind"].options if option.archived] == ["Bus"]
    assert [c.title for c in structure.classifications if c.attributes[0].archived] == ["Comment"]
    assert len(ARCHIVED) == 5


def test_labels_of_archived_features_come_only_where_a_bundle_asks(client: Client, hashes: list[str]) -> None:
    """Objects, answers, actions, classifications and copies: all of them, or none. Other labels stay."""
    without = bundled(client, hashes)
    assert named(without) == set()
    full = bundled(client, hashes, include_archived=True)
    assert named(full) == set(ROOTS)
    assert named(bundled(client, hashes, include_archived=False)) == set()
    usual = World(WorldSpec(rows=200, seed=9))
    for hash, row in full.items():
        assert row == json.loads(usual.label_row(hash) or b"")
        kept = {
            key: answer
            for key, answer in row["object_answers"].items()
            if key in without[hash]["object_answers"]
        }
        assert without[hash]["object_answers"] == kept


def test_no_answer_of_an_archived_object_is_left_behind(client: Client, hashes: list[str]) -> None:
    """What a row loses without `include_archived` is exactly what belongs to archived features."""
    full, without = bundled(client, hashes, include_archived=True), bundled(client, hashes)
    lost = 0
    for hash, row in full.items():
        archived = {
            found["objectHash"]
            for unit in row["data_units"].values()
            for found in objects(unit.get("labels"))
            if found["featureHash"] in ROOTS
        }
        assert not archived & without[hash]["object_answers"].keys()
        assert not archived & without[hash]["object_actions"].keys()
        lost += len(archived & row["object_answers"].keys())
    assert lost > 20


def objects(labels: Any) -> Iterator[dict[str, Any]]:
    """All objects of a data unit's labels, flat or by frame."""
    if isinstance(labels, dict):
        yield from labels.get("objects", ())
        for value in labels.values():
            yield from objects(value)


def test_the_single_call_never_sends_them(client: Client, hashes: list[str]) -> None:
    """Whatever its payload says: the platform's single call knows no such argument."""
    asked = {"multi_request": False, "include_archived": True}
    rows = {hash: client.v1("labelrow/GET", hash, asked).json["response"] for hash in hashes[:60]}
    assert rows == {hash: row for hash, row in bundled(client, hashes).items() if hash in rows}


def test_features_are_archived_and_brought_back_by_an_edit(
    client: Client, running: Simulator, hashes: list[str]
) -> None:
    """The labels go and come with the flag; an archived attribute or option takes no label along."""
    before = bundled(client, hashes)
    running.edit(ontology=[{"do": "unarchive", "node": node} for node in ("Pedestrian", "Comment")])
    assert named(bundled(client, hashes)) == {ROOTS[0], ROOTS[2]}
    running.edit(ontology=[{"do": "archive", "node": node} for node in ("Pedestrian", "Comment/Comment")])
    assert bundled(client, hashes) == before
    running.edit(ontology=[{"do": "archive", "node": node} for node in ("Car/Speed", "Weather/Weather/Rain")])
    assert bundled(client, hashes) == before


def test_the_truth_counts_what_is_sent() -> None:
    """Without archived features, or with them."""
    world, usual = World(SPEC), World(WorldSpec(rows=200, seed=9))
    assert Oracle(world).expected(include_archived=True) == truth_of(usual)
    expected = truth_of(world)
    assert {hash for hash in ROOTS if expected.by_feature[hash]} == set()
    assert expected.objects == truth_of(usual).objects - sum(truth_of(usual).by_feature[h] for h in ROOTS)
    assert expected.classifications < truth_of(usual).classifications


def test_some_features_can_be_archived_from_the_start() -> None:
    """Named as an edit names them; one that there is not is refused."""
    world = World(WorldSpec(rows=40, archived=("Car", "Weather")))
    assert truth_of(world).by_feature[feature_hash("Car")] == 0
    with pytest.raises(ValueError, match="Tram"):
        World(WorldSpec(archived=("Tram",)))


def test_the_sdk_gets_archived_labels_where_it_asks_for_them(
    running: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`initialise_labels(include_archived=True)`, which asks in bundles; rows load with them and without."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(running.ca_file))
    user = EncordUserClient.create_with_ssh_private_key(
        ssh_private_key_path=str(running.ssh_key_file), domain=running.url
    )
    project = user.get_project(running.project_hash)
    found = []
    for include_archived in (False, True):
        rows = [row for row in project.list_label_rows_v2(include_client_metadata=True) if row.label_hash]
        with project.create_bundle() as bundle:
            for row in rows:
                row.initialise_labels(bundle=bundle, include_archived=include_archived)
        hashes = [o.feature_hash for row in rows for o in row.get_object_instances()]
        found.append(Counter(hash for hash in hashes if hash in ROOTS))
    assert found[0].total() == 0
    assert found[1][ROOTS[0]] > 10
