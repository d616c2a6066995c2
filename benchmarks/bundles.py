"""A whole export of bundles, in one process: which stage takes how much of its CPU.

    python -m benchmarks.bundles [ROWS]

Stages are timed by the CPU clock of the thread that they run in, so that waiting counts for nothing. What is
left is the SDK's import, the event loop, the handing over between threads, and the interpreter's start.
"""

import resource
import sys
import tempfile
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from harvester import cli, part, run
from harvester.encord import envelope, label_rows, responses
from harvester.fetch.call import Call
from harvester.labels import extract
from harvester.output import ndjson, planfile
from harvester.simulator import Simulator, WorldSpec
from harvester.stopping import Stopping

ROWS = 30_000
# Each stage: a call that is replaced, and where it stands; stages further in stand below the one around them.
STAGES: tuple[tuple[str, Any, str], ...] = (
    ("freeze the plan", planfile, "freeze"),
    ("compare with the plan, if need be", run.Run, "_compare"),
    ("calls, in threads", Call, "__call__"),
    ("  the SDK's call and ours below it", label_rows.ProjectLabelRows, "_ask"),
    ("    receive, decrypt, decompress", responses, "read_body"),
    ("    read the envelope and skeletons", envelope, "rows_of"),
    ("      check the text", envelope, "has_line_break"),
    ("  extract", extract.Extractor, "_add"),
    ("  join the lines", extract, "_harvest"),
    ("hash and write lines", ndjson._KindFile, "_flush"),
    ("count rows", part.Tally, "add"),
)
LISTING = "list and sort, twice"


class Clock:
    """CPU seconds by stage, over all threads."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._lock = threading.Lock()

    def around(self, stage: str, owner: Any, name: str) -> None:
        """Times every call of `owner.name`."""
        call = getattr(owner, name)

        def timed(*args: Any, **kwargs: Any) -> Any:
            began = time.thread_time()
            try:
                return call(*args, **kwargs)
            finally:
                self.add(stage, time.thread_time() - began)

        setattr(owner, name, timed)

    def entering(self, stage: str, owner: Any, name: str) -> None:
        """Times how long it takes to enter the context manager that the method `owner.name` gets."""
        method = getattr(owner, name)

        def timed(itself: Any, manager: Any, **kwargs: Any) -> Any:
            self.around(stage, manager, "__enter__")
            return method(itself, manager, **kwargs)

        setattr(owner, name, timed)

    def add(self, stage: str, seconds: float) -> None:
        with self._lock:
            self.seconds[stage] += seconds


def main() -> None:
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    spec = WorldSpec(rows=wanted, objects_per_row=20, mix=("image",), unlabelled=0, odd=False)
    clock = Clock()
    for stage in STAGES:
        clock.around(*stage)
    clock.entering(LISTING, Stopping, "left_behind")
    with Simulator(spec) as simulator, tempfile.TemporaryDirectory() as directory:
        before = _cpu()
        argv = ["export", simulator.project_hash, "-o", str(Path(directory, "out")), "--quiet"]
        argv += ["--emit", "objects", "--shape", "bounding_box", "--bundle-size", "100"]
        argv += ["--ssh-key-file", str(simulator.ssh_key_file), "--domain", simulator.url]
        argv += ["--ca-bundle", str(simulator.ca_file)]
        assert cli.main(argv) == 0
        whole = _cpu() - before
    print(f"{wanted:,} rows, {whole / wanted * 1e6:.0f} µs of CPU each (imports done), of which")
    for name in [*(name for name, _, _ in STAGES), LISTING]:
        print(f"  {name:40} {clock.seconds[name] / wanted * 1e6:6.1f} µs")
    top = (name for name in clock.seconds if not name.startswith(" "))
    rest = whole - sum(clock.seconds[name] for name in top)
    print(f"  {'everything else':40} {rest / wanted * 1e6:6.1f} µs")


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
