"""Values that travel together: the job, its observer, and the context of a run."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from harvester.encord.project import ProjectInfo
from harvester.events import Counters, say
from harvester.output.export_spec import ExportSpec
from harvester.settings import Format, Limits, Selection
from harvester.stopping import Stopping

if TYPE_CHECKING:
    import anyio

    from harvester.encord.session import Session

OnEvent = Callable[[str, Mapping[str, Any]], None]


class Job(msgspec.Struct, frozen=True):
    """A project, which of its labels are wanted, how they are written, and the limits of the requests."""

    project: ProjectInfo
    selection: Selection
    format: Format
    limits: Limits

    @property
    def spec(self) -> ExportSpec:
        """The spec that a target of this job records, so that another job is refused."""
        return ExportSpec.of(self.project.project_hash, self.project.title, self.selection, self.format)


class Observer(NamedTuple):
    """How the caller of a job watches its progress and stops it.

    The job updates `counters` and calls `on_event` with the name and fields of each event. Once `stopping`
    is set, it begins no part, and open parts have `harvester.run.GRACE` seconds to finish.
    """

    counters: Counters
    on_event: OnEvent = say
    stopping: "anyio.Event | None" = None


class RunContext(NamedTuple):
    """The values that all steps of a run need."""

    session: "Session"
    job: Job
    observer: Observer
    stopping: Stopping
