"""Scripts written for the platform run unmodified: the plain SDK, over every data type, making rows."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from encord import EncordUserClient
from encord.constants.enums import DataType
from encord.objects import LabelRowV2
from encord.project import Project

from harvester.simulator import Simulator, WorldSpec
from tests.simulator.client import Client

SPEC = WorldSpec(rows=100, unlabelled=0.3, mix=("all", "scene_images", "recording"))


@pytest.fixture
def simulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    """One of its own for each test: they change it."""
    with Simulator(SPEC) as running:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(running.ca_file))
        yield running


@pytest.fixture
def project(simulator: Simulator) -> Project:
    user = EncordUserClient.create_with_ssh_private_key(
        ssh_private_key_path=str(simulator.ssh_key_file), domain=simulator.url
    )
    return user.get_project(simulator.project_hash)


def exported(rows: list[LabelRowV2]) -> dict[str, Any]:
    """What the script is for, by data hash: each row as the SDK exports it."""
    return {row.data_hash: json.loads(json.dumps(row.to_encord_dict())) for row in rows}


def test_every_row_is_initialised_and_exported(project: Project, simulator: Simulator) -> None:
    """Rows without a label row get one, which is counted as a change; the second time there is none."""
    rows = project.list_label_rows_v2()
    without = {row.data_hash for row in rows if not row.label_hash}
    assert len(without) > 10
    for row in rows:
        row.initialise_labels()
    assert all(row.label_hash for row in rows)
    found = exported(rows)
    assert {row.data_type for row in rows} == set(DataType) - {
        DataType.MISSING_DATA_TYPE,
        DataType.DICOM_STUDY,
    }
    assert not any(found[data_hash]["object_answers"] for data_hash in without)
    assert any(found[row.data_hash]["object_answers"] for row in rows if row.data_hash not in without)
    assert simulator.stats()["mutations"] == simulator.stats()["by_kind"]["labelrow/PUT"] == len(without)
    listed = project.list_label_rows_v2()
    assert {row.label_hash for row in listed} == {row.label_hash for row in rows}
    for row in listed:
        row.initialise_labels()
    assert simulator.stats()["mutations"] == len(without)


def test_bundles_make_and_read_the_same(project: Project, simulator: Simulator) -> None:
    """One request reads those that are there, one makes the others."""
    rows = project.list_label_rows_v2()
    without = [row for row in rows if not row.label_hash]
    with project.create_bundle(bundle_size=100) as bundle:
        for row in rows:
            row.initialise_labels(bundle=bundle)
    found = exported(rows)
    assert simulator.stats()["mutations"] == 1
    assert simulator.stats()["label_rows_made"] == len(without)
    again = project.list_label_rows_v2()
    for row in again:
        row.initialise_labels()
    assert {hash: row["label_hash"] for hash, row in exported(again).items()} == {
        hash: row["label_hash"] for hash, row in found.items()
    }


def test_a_row_is_made_on_the_branch_that_was_asked_for(project: Project, simulator: Simulator) -> None:
    """A label row of its own, beside that of the main branch."""
    other = SPEC.branches[0]
    there = {row.data_hash for row in project.list_label_rows_v2(branch_name=other)}
    row = next(row for row in project.list_label_rows_v2() if row.label_hash and row.data_hash not in there)
    client = Client(simulator)
    payload = {"multi_request": True, "get_signed_url": False, "branch_name": other}
    (made,) = client.v1("labelrow/PUT", [row.data_hash], payload).json["response"]
    client.close()
    assert made["branch_name"] == other
    assert made["label_hash"] != row.label_hash
    assert row.data_hash in {row.data_hash for row in project.list_label_rows_v2(branch_name=other)}
