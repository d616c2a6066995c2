"""What there is to know of a project. Apart from the session, so that it costs no import of the SDK."""

import msgspec


class ProjectInfo(msgspec.Struct, frozen=True):
    """A project, as far as an export is concerned.

    `ontology` is the JSON of the ontology's editor structure, as sent; None in a mere list of projects.
    """

    project_hash: str
    title: str
    last_edited_at: str
    ontology: bytes | None = None
