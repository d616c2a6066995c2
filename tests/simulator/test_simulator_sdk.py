"""The SDK, unmodified, over TLS: each documented way to read a project works against the simulator."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from encord import EncordUserClient
from encord.constants.enums import DataType
from encord.exceptions import (
    AuthenticationError,
    AuthorisationError,
    MultiLabelLimitError,
    RateLimitExceededError,
    ResourceNotFoundError,
)
from encord.http.constants import RequestsSettings
from encord.objects import LabelRowV2
from encord.orm.label_row import AnnotationTaskStatus
from encord.project import Project

from harvester.simulator import Simulator, WorldSpec
from harvester.simulator.world import World
from tests.truth import truth_of

SPEC = WorldSpec(rows=120, branches=("model-predictions",))
WORLD = World(SPEC)
DEPRECATED = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator(SPEC) as running, pytest.MonkeyPatch.context() as patch:
        patch.setenv("REQUESTS_CA_BUNDLE", str(running.ca_file))
        yield running


@pytest.fixture(scope="module")
def user(simulator: Simulator) -> EncordUserClient:
    """The SDK's client without its own retries, so that faults show at once."""
    return EncordUserClient.create_with_ssh_private_key(
        ssh_private_key_path=str(simulator.ssh_key_file),
        domain=simulator.url,
        requests_settings=RequestsSettings(max_retries=0, connection_retries=0),
    )


@pytest.fixture(scope="module")
def project(user: EncordUserClient, simulator: Simulator) -> Project:
    return user.get_project(simulator.project_hash)


@pytest.fixture(scope="module")
def listed(project: Project) -> list[LabelRowV2]:
    return project.list_label_rows_v2()


def labelled(rows: list[LabelRowV2]) -> list[LabelRowV2]:
    return [row for row in rows if row.label_hash]


def for_older_getters(rows: list[LabelRowV2]) -> list[str]:
    """Hashes of rows that the SDK's older getters survive.

    They copy classifications to every frame of their ranges: each must name its feature, and ranges in
    nanoseconds never end.
    """
    found = []
    for row in (row for row in labelled(rows) if row.data_type in (DataType.IMAGE, DataType.VIDEO)):
        body: dict[str, Any] = json.loads(WORLD.label_row(str(row.label_hash)) or b"{}")
        if all(answer.get("featureHash") for answer in body["classification_answers"].values()):
            found.append(str(row.label_hash))
    return found


def test_projects_are_listed(user: EncordUserClient, simulator: Simulator) -> None:
    """`list_projects`, over pages and with a filter."""
    found = {str(project.project_hash): project.title for project in user.list_projects()}
    assert found[simulator.project_hash] == SPEC.title
    assert len(found) > 3
    assert len(list(user.list_projects(title_eq="Archive"))) == 2


@DEPRECATED
def test_projects_are_listed_the_old_way(user: EncordUserClient, simulator: Simulator) -> None:
    """`get_projects`, deprecated, as the platform's own scripts still call it."""
    found = user.get_projects(title_like="Demo%")
    assert [item["project"]["project_hash"] for item in found] == [simulator.project_hash]


def test_a_project_comes_with_its_ontology(project: Project) -> None:
    """`get_project` and its ontology, datasets, branches and workflow."""
    assert project.title == SPEC.title
    assert len(project.ontology_structure.objects) > 3
    assert [str(d.dataset_hash) for d in project.list_datasets()] == [
        d["datasetHash"] for d in WORLD.datasets()
    ]
    assert list(project.list_branches()) == ["main", "model-predictions"]


def test_workflow_tasks_are_listed(project: Project) -> None:
    """Every stage's tasks, over their pages: one for each row on the main branch."""
    tasks = [len(list(s.get_tasks())) for s in project.workflow.stages if hasattr(s, "get_tasks")]  # type: ignore
    assert sum(tasks) == SPEC.rows


def test_label_rows_are_listed(project: Project, listed: list[LabelRowV2]) -> None:
    """`list_label_rows_v2` as the world says, and narrowed by its filters."""
    truth = truth_of(WORLD, {})
    assert (len(listed), len(labelled(listed))) == (truth.listed, truth.labelled)
    title = listed[0].data_title
    assert {row.data_title for row in project.list_label_rows_v2(data_title_eq=title)} == {title}
    completed = project.list_label_rows_v2(label_statuses=[AnnotationTaskStatus.COMPLETED])
    assert 0 < len(completed) < len(listed)
    everywhere = project.list_label_rows_v2(include_all_label_branches=True)
    assert {row.branch_name for row in everywhere} == {"main", "model-predictions"}


def test_label_rows_are_initialised_alone(project: Project) -> None:
    """`initialise_labels` on rows that have labels."""
    for row in labelled(project.list_label_rows_v2())[:5]:
        row.initialise_labels()
        assert row.is_labelling_initialised


def test_label_rows_are_initialised_in_bundles(project: Project, simulator: Simulator) -> None:
    """All labelled rows in bundles of 50: each one is initialised, and nothing is written."""
    rows = labelled(project.list_label_rows_v2())
    before = simulator.stats()
    with project.create_bundle(bundle_size=50) as bundle:
        for row in rows:
            row.initialise_labels(bundle=bundle)
    assert all(row.is_labelling_initialised for row in rows)
    assert any(row.get_object_instances() for row in rows)
    after = simulator.stats()
    assert after["rows_served"] - before["rows_served"] == len(rows)
    assert after["mutations"] == before["mutations"]


@DEPRECATED
def test_label_rows_are_read_the_old_way(project: Project, listed: list[LabelRowV2]) -> None:
    """`get_label_row` and `get_label_rows`, with the platform's default arguments."""
    hashes = for_older_getters(listed)[:20]
    assert project.get_label_row(hashes[0])["label_hash"] == hashes[0]
    assert sorted(row["label_hash"] for row in project.get_label_rows(hashes)) == sorted(hashes)


def test_classifications_are_read_in_bulk(project: Project, listed: list[LabelRowV2]) -> None:
    """`get_label_classifications` for every labelled row."""
    hashes = [str(row.label_hash) for row in labelled(listed)]
    found = project.get_label_classifications(hashes, batch_size=30)
    assert [str(entry.label_uuid) for entry in found] == hashes


def test_initialising_an_unlabelled_row_is_caught(project: Project, simulator: Simulator) -> None:
    """What looks like reading creates a label row: the simulator counts a mutation."""
    row = next(row for row in project.list_label_rows_v2() if not row.label_hash)
    before = simulator.stats()["mutations"]
    row.initialise_labels()
    assert row.label_hash
    assert simulator.stats()["mutations"] == before + 1


@pytest.mark.parametrize(
    ("faults", "error"),
    [
        ({"revoked": True}, AuthenticationError),
        ({"forbidden": True}, AuthorisationError),
        ({"rate": 0.001, "burst": 0}, RateLimitExceededError),
        ({"rate": 0.001, "burst": 0, "refused_as": "envelope"}, RateLimitExceededError),
        ({"max_rows": 2}, MultiLabelLimitError),
        ({"rows": {"0": "deleted"}}, ResourceNotFoundError),
    ],
    ids=str,
)
@DEPRECATED
def test_faults_reach_the_sdk_as_its_own_errors(
    project: Project,
    listed: list[LabelRowV2],
    simulator: Simulator,
    faults: dict[str, Any],
    error: type[Exception],
) -> None:
    """Error envelopes and statuses are those that the SDK knows."""
    hashes = [str(row.label_hash) for row in labelled(listed)]
    simulator.set_faults(**faults)
    try:
        with pytest.raises(error):
            project.get_label_rows(hashes[:3]) if "rows" not in faults else project.get_label_row(hashes[0])
    finally:
        simulator.set_faults()
