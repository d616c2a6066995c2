"""The projects that the user can read: that of the world, and a few empty ones."""

import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from harvester.simulator.faults import HOSTILE_TITLES

Project = dict[str, Any]  # as the v2 API words it

# Two share a title, so a client that selects by title has to ask which one is meant.
_OTHERS = ("Archive", "Archive", "Night drive", "Empty", "Harbour 100% (copy)")


class Projects:
    """All projects of the user, and one that belongs to another user.

    Args:
        own: the project of the world.
    """

    def __init__(self, own: Project) -> None:
        self.own = own
        self.foreign_hash = self._hash("foreign")
        self._others = [self._other(title, place) for place, title in enumerate(_OTHERS)]
        self._hostile = [self._other(title, place + 100) for place, title in enumerate(HOSTILE_TITLES)]

    def matching(self, query: Mapping[str, Any], *, hostile: bool = False) -> Iterator[Project]:
        """Yield the projects that pass all filters of `query` (keys in snake case; None is no filter)."""
        tests = [_FILTERS[name](value) for name, value in query.items() if value and name in _FILTERS]
        for project in [self.own, *self._others, *(self._hostile if hostile else [])]:
            if all(test(project) for test in tests):
                yield project

    def find(self, project_hash: str) -> Project | None:
        """Return the project of this hash, in upper or lower case."""
        wanted = project_hash.lower()
        return next((p for p in self.matching({}, hostile=True) if p["projectHash"] == wanted), None)

    def _other(self, title: str, place: int) -> Project:
        named = {"projectHash": self._hash(str(place)), "title": title, "description": f"{title}, no data"}
        return self.own | named

    def _hash(self, name: str) -> str:
        return str(uuid.uuid5(uuid.UUID(self.own["projectHash"]), name))


def with_user_role(project: Project) -> dict[str, Any]:
    """Return a project in the form of the v1 API: other key names, and dates without a zone."""
    return {
        "user_role": project.get("userRole") or 0,
        "project": {
            "project_hash": project["projectHash"],
            "title": project["title"],
            "description": project["description"],
            "created_at": _plain(project["createdAt"]),
            "last_edited_at": _plain(project["lastEditedAt"]),
            "ontology_hash": project["ontologyHash"],
            "source_projects": project.get("sourceProjects") or [],
            "workflow_manager_uuid": project.get("workflowManagerUuid"),
        },
    }


def like(pattern: str) -> re.Pattern[str]:
    """Return a pattern of SQL LIKE as a regular expression: ``%`` is any text, ``_`` any character."""
    parts = (".*" if c == "%" else "." if c == "_" else re.escape(c) for c in pattern)
    return re.compile("".join(parts), re.DOTALL)


def _time(text: str) -> datetime:
    """Parse a time as the API and the SDK write it; without a zone it is UTC."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = datetime.strptime(text.replace("GMT", "UTC"), "%a, %d %b %Y %H:%M:%S %Z")
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _plain(text: str) -> str:
    return _time(text).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


Test = Callable[[Project], bool]


def _equal(field: str) -> Callable[[str], Test]:
    return lambda wanted: lambda project: bool(project[field] == wanted)


def _alike(field: str) -> Callable[[str], Test]:
    return lambda pattern: lambda project: like(pattern).fullmatch(project[field]) is not None


def _before(field: str) -> Callable[[str], Test]:
    return lambda bound: lambda project: _time(project[field]) < _time(bound)


def _after(field: str) -> Callable[[str], Test]:
    return lambda bound: lambda project: _time(project[field]) > _time(bound)


_FILTERS: Mapping[str, Callable[[str], Test]] = {
    "title_eq": _equal("title"),
    "title_like": _alike("title"),
    "desc_eq": _equal("description"),
    "desc_like": _alike("description"),
    "created_before": _before("createdAt"),
    "created_after": _after("createdAt"),
    "edited_before": _before("lastEditedAt"),
    "edited_after": _after("lastEditedAt"),
}
