"""What a selection names is checked against what the platform knows, before an export begins."""

import io
import json
from collections.abc import Mapping
from typing import Any, cast

import pytest

from harvester.encord.listing import Spool
from harvester.encord.project import ProjectInfo
from harvester.encord.session import Session
from harvester.errors import BadInput
from harvester.known import check_known, check_names, check_selection
from harvester.labels.ontology import read_ontology
from harvester.settings import Selection

ONTOLOGY = json.dumps(
    {
        "objects": [
            {"featureNodeHash": "car", "name": "Car", "shape": "polygon"},
            {"featureNodeHash": "old", "name": "Cart", "shape": "point", "archived": True},
        ],
        "classifications": [
            {"featureNodeHash": "sky", "attributes": [{"featureNodeHash": "a", "name": "Weather"}]}
        ],
    }
).encode()
PROJECT = ProjectInfo("p", "Project", "2024-01-01", ONTOLOGY)


class Platform:
    """What there is, and what was asked for."""

    def __init__(self, told: bool = True) -> None:
        self.told = told
        self.asked: list[str] = []

    def stages(self, project: ProjectInfo) -> list[str]:
        self.asked.append("stages")
        return ["Annotate", "Review"] if self.told else []

    def branches(self, project: ProjectInfo) -> list[str]:
        self.asked.append("branches")
        return ["main", "model-a"] if self.told else []

    def datasets(self, project: ProjectInfo) -> dict[str, str]:
        self.asked.append("datasets")
        return {"d1": "Streets", "d2": "No rows"} if self.told else {}

    def listing(self, project: ProjectInfo, selection: Selection) -> Spool:
        assert selection == Selection(), "no filter may hide a dataset"
        self.asked.append("listing")
        rows = [
            {"data_hash": "x", "dataset_hash": "d1", "dataset_title": "Streets"},
            {"data_hash": "y", "dataset_hash": "d3", "dataset_title": "Only listed"},
        ]
        return Spool(io.BytesIO(json.dumps({"status": 200, "response": rows}).encode()), "")


def checked(selection: Selection, platform: Platform | None = None) -> list[tuple[str, Mapping[str, Any]]]:
    events: list[tuple[str, Mapping[str, Any]]] = []
    check_selection(
        cast(Session, platform or Platform()),
        PROJECT,
        selection,
        lambda event, fields: events.append((event, fields)),
    )
    return events


UNKNOWN: dict[str, tuple[Selection, str]] = {
    "name": (
        Selection(names=("Carr", "Car")),
        "unknown name 'Carr' (did you mean 'Car' or 'Cart'?); removed features: --feature-hash",
    ),
    "case": (
        Selection(names="WEATHER"),  # type: ignore[arg-type]  # one string alone
        "unknown name 'WEATHER' (did you mean 'Weather'?); removed features: --feature-hash",
    ),
    "stage": (
        Selection(workflow_graph_node_title_eq="Revew"),
        "unknown workflow stage 'Revew' (did you mean 'Review'?)",
    ),
    "branch": (Selection(branch_name="zzz"), "unknown branch 'zzz'; there are 'main', 'model-a'"),
    "dataset": (
        Selection(datasets=("Street", "d3"), task_statuses=("COMPLETED",)),
        "unknown dataset 'Street' (did you mean 'Streets'?)",
    ),
}


@pytest.mark.parametrize(("selection", "said"), UNKNOWN.values(), ids=UNKNOWN.keys())
def test_what_there_is_not_is_refused_with_what_is_close(selection: Selection, said: str) -> None:
    """One line; a predicate beside it makes no difference."""
    with pytest.raises(BadInput) as refused:
        checked(selection)
    assert refused.value.message == said


@pytest.mark.parametrize(
    ("selection", "asked"),
    [
        (Selection(names=("Car", "Cart", "Weather"), feature_hashes=("car", "sky")), []),
        (Selection(workflow_graph_node_title_eq="Review"), ["stages"]),
        (Selection(workflow_graph_node_title_like="rev%", data_title_eq="x", label_hashes=("l",)), []),
        (Selection(branch_name="model-a"), ["branches"]),
        (Selection(branch_name="main"), []),
        (Selection(datasets=("d1", "Streets", "No rows")), ["datasets"]),
        (Selection(datasets=("Only listed",)), ["datasets", "listing"]),
        (Selection(shapes=("polygon",), data_types=("video",)), []),
    ],
)
def test_what_there_is_passes_and_only_what_that_takes_is_asked_for(
    selection: Selection, asked: list[str]
) -> None:
    """Archived features are there, too. Every project has the branch main. The listing is the last resort."""
    platform = Platform()
    assert checked(selection, platform) == []
    assert platform.asked == asked


def test_what_the_platform_does_not_tell_is_not_held_against_anybody() -> None:
    """No stages, no branches: nothing is known. Datasets are found in the listing then."""
    platform = Platform(told=False)
    assert checked(Selection(workflow_graph_node_title_eq="x"), platform) == []
    assert checked(Selection(branch_name="x"), platform) == []
    assert checked(Selection(datasets=("Streets",)), platform) == []
    with pytest.raises(BadInput, match="there are 'Streets', 'Only listed'"):
        checked(Selection(datasets=("x",)), platform)


def test_an_unknown_feature_hash_is_only_warned_of() -> None:
    """It may be that of a removed feature, of which there are labels."""
    assert checked(Selection(feature_hashes=("car", "gone"))) == [
        ("selection.unknown_feature", {"flag": "--feature-hash", "hash": "gone"})
    ]


def test_without_an_ontology_no_name_is_unknown() -> None:
    """There is nothing to check it against."""
    check_names(read_ontology(None), Selection(names=("anything",)))
    with pytest.raises(BadInput, match="unknown name 'anything'; there are none; removed"):
        check_names(read_ontology(b"{}"), Selection(names=("anything",)))


def test_what_there_is_is_named_up_to_a_bound_and_on_one_line() -> None:
    """However much there is, and whatever the server calls it."""
    known = [f"{number}\n\x1b[31m{'x' * number}" for number in range(1200)]
    with pytest.raises(BadInput) as refused:
        check_known("branch", ["zzz"], known)
    assert refused.value.message.endswith("and 1,190 more")
    assert "\n" not in refused.value.message
    assert "\x1b" not in refused.value.message
    check_known("branch", [known[7]], known)
