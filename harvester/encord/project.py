"""Facts about a project. A module of its own, so that using it does not import the SDK."""

import msgspec


class ProjectInfo(msgspec.Struct, frozen=True):
    """What an export needs to know about a project.

    `ontology` is the JSON of the ontology's editor structure as sent; None in a list of projects.
    """

    project_hash: str
    title: str
    last_edited_at: str
    ontology: bytes | None = None
