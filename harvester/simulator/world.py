"""The simulated project: every row is a function of its number, and is made when it is asked for."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import msgspec

from harvester.simulator.bodies import Bodies
from harvester.simulator.dates import START, date_text
from harvester.simulator.edits import Edited, Edits, edits_from
from harvester.simulator.faults import RowTrouble
from harvester.simulator.identity import DATA, LABEL, ONTOLOGY, TASK
from harvester.simulator.labels import Wanted
from harvester.simulator.large_row import LargeRow
from harvester.simulator.listing import Listing, Query
from harvester.simulator.ontology import Json
from harvester.simulator.ontology_edits import ARCHIVED, Ontology
from harvester.simulator.rng import Rng
from harvester.simulator.spec import WorldSpec
from harvester.simulator.state import DATASETS, PROGRESS, STAGES, RowFacts, State, stage_number
from harvester.simulator.storage.catalogue import Catalogue
from harvester.simulator.storage.store import Store
from harvester.simulator.template import Template

__all__ = ["World", "WorldSpec"]


class World:
    """A project of label rows. Not thread-safe where `create` and `edit` are called."""

    def __init__(self, spec: WorldSpec) -> None:
        """Raises ValueError for an unknown kind of row or archived feature."""
        self.spec = spec
        self._state = State(spec)
        self._bodies = Bodies(spec)
        self._listing = Listing(self._state, self._bodies)
        self.store = Store(self._state, Catalogue(spec, self._bodies.media, self._bodies.edge_cases))
        self._large_row = LargeRow(spec.large_row_bytes)
        self._ontology = Ontology(ARCHIVED if spec.archived is True else spec.archived or ())
        self._ontology_edited = START
        self.project_hash: str = self._state.project_hash
        self.ontology_hash: str = self._state.hashes.text(ONTOLOGY, 0)

    # The project

    def ontology(self) -> Json:
        """Return the editor structure."""
        return self._ontology.current()

    def ontology_edited(self) -> str:
        """Return the date of the ontology's last edit."""
        return date_text(self._ontology_edited, 3).decode()

    def project(self) -> Json:
        """Return the project as `GET projects/{hash}` answers it."""
        return {
            "projectHash": self.project_hash,
            "projectType": "workflow",
            "status": "active",
            "title": self.spec.title,
            "description": f"{self.spec.rows} simulated data units",
            "createdAt": date_text(START, 3).decode(),
            "lastEditedAt": date_text(self._state.last_edit, 3).decode(),
            "creatorEmail": "owner@example.com",
            "userRole": 0,
            "ontologyHash": self.ontology_hash,
            "editorOntology": self.ontology(),
            "sourceProjects": None,
            "workflowManagerUuid": None,
            "workflow": {
                "stages": [
                    {"stageType": kind, "uuid": uuid.decode(), "title": title}
                    for (title, kind), uuid in zip(STAGES, self._state.stages, strict=True)
                ]
            },
        }

    def datasets(self) -> list[Json]:
        return [
            {"datasetHash": uuid.decode(), "title": title, "description": ""}
            for title, uuid in zip(DATASETS, self._state.datasets, strict=True)
        ]

    def branches(self) -> list[str]:
        return list(self._state.branches)

    # Rows

    def listing(self, query: Mapping[str, Any] | None = None) -> Iterator[bytes]:
        """Yield the JSON of each item that a list call answers. Raises ValueError for a bad filter."""
        return self._listing.items(self._query(query))

    def rows(self, query: Mapping[str, Any] | None = None) -> Iterator[RowFacts]:
        """Yield the facts of the rows that a list call with this payload answers."""
        return self._listing.rows(self._query(query))

    def listed_again(
        self, query: Mapping[str, Any], trouble: Callable[[str], RowTrouble | None]
    ) -> Iterator[bytes]:
        """Yield the items of rows that are listed a second time, if they pass the filters."""
        return self._listing.again(self._query(query), trouble)

    def label_row(
        self,
        label_hash: str,
        *,
        reviews: bool = False,
        signed_urls: bool = False,
        object_feature_hashes: Collection[str] | None = None,
        classification_feature_hashes: Collection[str] | None = None,
        include_archived: bool = False,
        stale: bool = False,
    ) -> bytes | None:
        """Return the JSON of a label row; None if there is none of that hash.

        Args:
            include_archived: include labels of archived objects and classifications.
            stale: return it as it was before its last edit.
        """
        row = self._state.find_label(label_hash)
        if row is None:
            return None
        row = self._state.before(row) if stale else row
        wanted = Wanted(
            reviews,
            _chosen(object_feature_hashes),
            _chosen(classification_feature_hashes),
            frozenset() if include_archived else self._ontology.hidden,
        )
        return self._render(row, wanted, signed_urls=signed_urls)

    def _render(self, row: RowFacts, wanted: Wanted, *, signed_urls: bool) -> bytes:
        sign = partial(self.store.sign, row) if signed_urls else None
        if self._is_large_row(row):

            def fill(template: Template, **others: bytes) -> bytes:
                return self._listing.fill(template, row, sign, **others)

            return self._large_row.row(fill, wanted, row.edition)
        body = self._bodies.body(row.recipe, row.variant, row.edition, wanted)
        return self._listing.fill(body.template, row, sign)

    def _is_large_row(self, row: RowFacts) -> bool:
        return self.spec.large_row_bytes > 0 and row.number == row.branch == 0

    def create(self, data_hash: str, branch: str = "main", *, signed_urls: bool = False) -> bytes | None:
        """Return the label row of a data unit, and make it first if there is none: a write.

        Returns None for an unknown data unit or branch.
        """
        state = self._state
        data = state.find_data(data_hash)
        if data is None or branch not in state.branches:
            return None
        number, place = data.number, state.branches.index(branch)
        row = state.row(number, place)
        if row is None or not row.labelled:
            state.create(number, place, state.tick(None))
            row = state.row(number, place)
        return self._render(row, self.usual(), signed_urls=signed_urls) if row else None

    @property
    def label_rows_made(self) -> int:
        """Return how many label rows `create` has made."""
        return self._state.created

    def edit(self, **changes: Any) -> Edited:
        """Edit the project while clients read it; arguments as of `Edits`.

        Raises ValueError, and changes nothing, if they are invalid.
        """
        edits = edits_from(changes)
        stages = {label_hash: stage_number(title) for label_hash, title in edits.stages.items()}
        self._ontology.edit(edits.ontology)
        second = self._state.tick(edits.at)
        if edits.renamed is not None:
            self._ontology.rename_all(edits.renamed)
        if edits.ontology or edits.renamed is not None:
            self._ontology_edited = second
        return self._edit_rows(edits, stages, second)

    def edit_at_random(self) -> Edited:
        """Edit one to three rows; sometimes move a row to another stage, remove one, add a data unit.

        The changes depend only on the seed and on the number of changes before.
        """
        state = self._state
        rng = Rng(state.change_seed(4))
        changes: dict[str, Any] = {"random": rng.between(1, 3), "added": int(rng.chance(0.3))}
        some = [state.hashes.text(LABEL, row.number) for row in state.sample(2)]
        if some and rng.chance(0.4):
            changes["stages"] = {some[0]: rng.pick(STAGES)[0]}
        if some and rng.chance(0.2):
            changes["removed"] = some[-1:]
        return self.edit(**changes)

    def _edit_rows(self, edits: Edits, stages: Mapping[str, int], second: int) -> Edited:
        state = self._state
        edited = [row for label_hash in edits.rows if (row := state.find_label(label_hash))]
        edited += state.sample(edits.random, without=edited)
        moved = {name: row.number for name in stages if (row := state.find_label(name))}
        removed = {name: row.number for name in edits.removed if (row := state.find_label(name))}
        for row in edited:
            state.edit(row, second)
        for name, metadata in edits.client_metadata.items():
            if row := state.find_label(name) or state.find_data(name):
                state.client_metadata[row.number] = msgspec.json.encode(metadata)
        for label_hash, number in moved.items():
            state.move(number, stages[label_hash])
        for number in removed.values():
            state.remove(number)
        state.add(edits.added)
        hashes = [state.hashes.text(LABEL, row.number, row.branch) for row in edited]
        return Edited(hashes, list(removed), edits.added, list(moved), second)

    # Other calls

    def tasks(self, stage_uuid: str) -> Iterator[Json]:
        """Yield the tasks of a workflow stage."""
        state, hashes = self._state, self._state.hashes
        for number in state.numbers:
            row = state.row(number)
            if row is None or state.stages[PROGRESS[row.progress][2]] != stage_uuid.encode():
                continue
            status = PROGRESS[row.progress][0]
            assignee = None if status == "QUEUED" else "ann@example.com"
            made: Json = {
                "uuid": hashes.text(TASK, number),
                "createdAt": date_text(row.created, 3).decode(),
                "updatedAt": date_text(row.edited, 3).decode(),
                "dataHash": hashes.text(DATA, number),
                "dataTitle": state.title(row),
            }
            stage = PROGRESS[row.progress][2]
            if stage < 2:
                word = {"QUEUED": "NEW", "RETURNED": "REOPENED"}.get(status, "ASSIGNED")
                made |= {"status": word, "assignee": assignee}
            if stage == 0:
                made["labelBranchName"] = "main"
            yield made

    def classifications(self, label_hashes: Iterable[str], branch: str = "main") -> Iterator[bytes]:
        """Yield the JSON of each label row's classifications for the v2 call; skip unknown hashes."""
        for label_hash in label_hashes:
            row = self._state.find_label(label_hash)
            if row and self._state.branches[row.branch] == branch:
                body = self._bodies.body(row.recipe, row.variant, row.edition, self.usual())
                yield self._listing.fill(body.classifications, row)

    def label_hash(self, number: int, branch: int = 0) -> str:
        """Return the label hash of the `number`-th row, also if it has no label row yet."""
        return self._state.hashes.text(LABEL, number, branch)

    def usual(self) -> Wanted:
        """Return what a label row holds by default: all features except archived ones."""
        return Wanted(hidden=self._ontology.hidden)

    def _query(self, payload: Mapping[str, Any] | None) -> Query:
        return Query(payload or {}, self._state.branches)


def _chosen(hashes: Collection[str] | None) -> frozenset[str] | None:
    return None if hashes is None else frozenset(hashes)
