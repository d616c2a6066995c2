"""The arguments and the result of an edit call."""

from collections.abc import Mapping
from typing import Any

import msgspec

from harvester.simulator.ontology_edits import OntologyEdit


class Edits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Changes of a project: the arguments of `World.edit` and `Simulator.edit`, and the edit call's body.

    Attributes:
        rows: label hashes of rows that get other labels and a later `last_edited_at`.
        random: number of further rows, chosen by the seed, that get other labels and a later date.
        removed: label hashes of rows whose data unit leaves the project.
        added: number of data units that join the project.
        at: second since 1970 of the change, never before the last one. Default: a minute after the last
            change; the first is in 2026.
        ontology: changes of the ontology, in turn (see `OntologyEdit`); all of them are made, or none.
        renamed: new names of features, attributes and options of the ontology, by their original names;
            replaces the names of earlier such edits.
        stages: by label hash, the title of the workflow stage that the row moves to.
        client_metadata: by label hash or data hash, any JSON: the data unit's client metadata from then on.

    Only `rows` and `random` change a row's `last_edited_at`. Unknown hashes are ignored.
    """

    rows: tuple[str, ...] = ()
    random: int = 0
    removed: tuple[str, ...] = ()
    added: int = 0
    at: int | None = None
    ontology: tuple[OntologyEdit, ...] = ()
    renamed: dict[str, str] | None = None
    stages: dict[str, str] = {}
    client_metadata: dict[str, Any] = {}


class Edited(msgspec.Struct, frozen=True):
    """What an edit call has changed: hashes of the rows that were found, and the second of the change."""

    rows: list[str]
    removed: list[str]
    added: int
    moved: list[str]
    at: int


def edits_from(changes: Mapping[str, Any]) -> Edits:
    """Return checked edits. Raises ValueError if an argument is unknown or of another type."""
    try:
        return msgspec.convert(changes, Edits)
    except msgspec.ValidationError as exc:
        raise ValueError(str(exc)) from exc
