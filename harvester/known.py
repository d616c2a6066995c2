"""Checks what a selection names against what the platform knows, before an export begins.

Only of a first run: one that goes on keeps to its plan, whatever has been renamed or removed since.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from harvester.errors import BadInput, did_you_mean
from harvester.events import one_line
from harvester.labels.ontology import Ontology, read_ontology
from harvester.output.planfile import is_free_for, read_header, recorded_digests
from harvester.output.purpose import Purpose
from harvester.output.target import Target
from harvester.plan.planned import listed_rows
from harvester.settings import Selection

if TYPE_CHECKING:
    from harvester.encord.project import ProjectInfo
    from harvester.encord.session import Session

_MOST_SHOWN = 10  # of what there is, where nothing of it is close to what is wanted


def is_first_run(target: Target, purpose: Purpose) -> bool:
    """Return whether `target` holds nothing that a run could go on with. Creates nothing. Blocking."""
    if not target.is_there():
        return True
    target.ensure()
    header = read_header(target)
    return is_free_for(target, header, purpose) if header else not recorded_digests(target)


def check_selection(
    session: "Session",
    project: "ProjectInfo",
    selection: Selection,
    on_event: Callable[[str, Mapping[str, Any]], None],
) -> None:
    """Checks the names, stage, branch and datasets of `selection`. Blocking; asks for what they need only.

    Warns of feature hashes that the ontology does not know: they may be those of removed features.

    Raises:
        BadInput: there is no such thing; the message says what is close to it.
        CannotFinishNow: the server cannot be asked now.
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
    """Raises BadInput where no feature of the ontology, archived or not, has a name of `selection`."""
    if ontology.known:
        names = dict.fromkeys(ontology.names.values())
        check_known("name", selection.names, names, "removed features: --feature-hash")


def check_known(kind: str, wanted: Iterable[str], known: Iterable[str], hint: str = "") -> None:
    """Raises BadInput where one of `wanted` is not `known`, and says of each what is close to it."""
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
    """Checks hashes and titles of datasets: what the platform does not name, the listing of all rows may."""
    found = session.datasets(project)

    def unknown() -> list[str]:
        known = {*found, *found.values()}
        return [dataset for dataset in wanted if dataset not in known]

    if unknown():
        with session.listing(project, Selection()) as listing:
            for row, _ in listed_rows(listing):
                found[row.dataset_hash] = row.dataset_title or ""
        check_known("dataset", unknown(), dict.fromkeys(found.values()))
