"""Checks the names in a selection against the project, before the first run of an export.

A run that resumes does not check again: its plan is frozen, whatever was renamed or removed since.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from harvester.errors import BadInput, did_you_mean
from harvester.events import one_line
from harvester.labels.ontology import Ontology, read_ontology
from harvester.output.export_spec import ExportSpec
from harvester.output.generations import base_folder
from harvester.output.planfile import is_free_for, read_header, recorded_digests
from harvester.output.target import Target
from harvester.plan.planned import listed_rows
from harvester.settings import Selection

if TYPE_CHECKING:
    from harvester.encord.project import ProjectInfo
    from harvester.encord.session import Session

_MOST_SHOWN = 10  # known names in a message, if none is close to the unknown one


def is_first_run(target: Target, spec: ExportSpec) -> bool:
    """Return whether `target` holds nothing that a run could go on with. Creates nothing. Blocking."""
    if not target.is_there():
        return True
    target.ensure()
    folder = base_folder(target)
    header = read_header(folder)
    return is_free_for(folder, header, spec) if header else not recorded_digests(folder)


def check_selection(
    session: "Session",
    project: "ProjectInfo",
    selection: Selection,
    on_event: Callable[[str, Mapping[str, Any]], None],
) -> None:
    """Check the names, stage, branch and datasets of `selection`. Blocking; requests only what these need.

    Warns of feature hashes that are not in the ontology: they may belong to removed features.

    Raises:
        BadInput: a name is unknown; the message suggests similar ones.
        CannotFinishNow: the server does not answer.
    """
    if selection.names or selection.feature_hashes:
        ontology = read_ontology(project.ontology)
        check_names(ontology, selection)
        for feature in _unknown_features(ontology, selection):
            on_event("selection.unknown_feature", {"flag": "--feature-hash", "hash": feature})
    if (stage := selection.workflow_graph_node_title_eq) is not None and (known := session.stages(project)):
        check_known("workflow stage", [stage], known)
    if (branch := selection.branch_name) not in (None, "main") and (known := session.branches(project)):
        check_known("branch", [branch or ""], known)
    if selection.datasets:
        _check_datasets(session, project, selection.datasets)


def check_names(ontology: Ontology, selection: Selection) -> None:
    """Raise BadInput if a name of `selection` belongs to no feature of the ontology, archived or not."""
    if ontology.known:
        names = dict.fromkeys(ontology.names.values())
        check_known("name", selection.names, names, "removed features: --feature-hash")


def check_known(kind: str, wanted: Iterable[str], known: Iterable[str], hint: str = "") -> None:
    """Raise BadInput if one of `wanted` is not in `known`. The message suggests similar names for each."""
    known = list(known)
    unknown = {name: did_you_mean(name, known) for name in wanted if name not in known}
    if not unknown:
        return
    said = ", ".join(f"{name!r} ({close})" if close else repr(name) for name, close in unknown.items())
    there = "" if all(unknown.values()) else _shown(known)
    raise BadInput(one_line("; ".join(filter(None, (f"unknown {kind} {said}", there, hint)))))


def _shown(known: list[str]) -> str:
    shown = ", ".join(map(repr, known[:_MOST_SHOWN]))
    more = f" and {len(known) - _MOST_SHOWN:,} more" if len(known) > _MOST_SHOWN else ""
    return f"there {'is' if len(known) == 1 else 'are'} {shown or 'none'}{more}"


def _unknown_features(ontology: Ontology, selection: Selection) -> list[str]:
    known = ontology.object_features | ontology.classification_features
    return [feature for feature in selection.feature_hashes if ontology.known and feature not in known]


def _check_datasets(session: "Session", project: "ProjectInfo", wanted: Iterable[str]) -> None:
    """Check hashes and titles of datasets. Those the platform does not list are looked up in the rows."""
    found = session.datasets(project)

    def unknown() -> list[str]:
        known = {*found, *found.values()}
        return [dataset for dataset in wanted if dataset not in known]

    if unknown():
        with session.listing(project, Selection()) as listing:
            for row, _ in listed_rows(listing):
                found[row.dataset_hash] = row.dataset_title or ""
        check_known("dataset", unknown(), dict.fromkeys(found.values()))
