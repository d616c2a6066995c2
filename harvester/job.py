"""What a job is asked to do, and by what its caller follows it: one value each."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from harvester.encord.project import ProjectInfo
from harvester.events import Counters, say
from harvester.output.purpose import Purpose
from harvester.settings import Format, Limits, Selection
from harvester.stopping import Stopping

if TYPE_CHECKING:
    import anyio

    from harvester.encord.session import Session

OnEvent = Callable[[str, Mapping[str, Any]], None]


class Job(msgspec.Struct, frozen=True):
    """A project, what of it is asked for, how it is written, and the limits of asking."""

    project: ProjectInfo
    selection: Selection
    format: Format
    limits: Limits

    @property
    def purpose(self) -> Purpose:
        """What a target of this job is for."""
        return Purpose.of(self.project.project_hash, self.project.title, self.selection, self.format)


class Observer(NamedTuple):
    """How the caller of a job follows it and ends it.

    `counters` change as it goes on, and `on_event` is called with what happens. Once
    `stopping` is set no part is begun, and open parts have `harvester.run.GRACE` seconds to end.
    """

    counters: Counters
    on_event: OnEvent = say
    stopping: "anyio.Event | None" = None


class RunContext(NamedTuple):
    """What all steps of a run work with."""

    session: "Session"
    job: Job
    observer: Observer
    stopping: Stopping
