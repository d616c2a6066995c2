"""Planning and the drift check: CPU a row from the listing's bytes to the frozen plan, and to the comparison.

    python -m benchmarks.plan [ROWS]             # by stage
    python -m benchmarks.plan [ROWS] --profile   # where the time goes, by function

No network. The listing is the simulator's, gzipped as it comes. Each figure is the median of several passes
of this process's CPU time, so that what else the machine does counts little.
"""

import argparse
import gzip
import io
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.functions import by_function
from harvester.encord.listing import Spool
from harvester.output import planfile
from harvester.output.export_spec import ExportSpec, Project
from harvester.output.target import LocalTarget
from harvester.plan.drift import compared
from harvester.plan.planned import plan_lines, unsorted_rows
from harvester.settings import Format, Selection
from harvester.simulator import WorldSpec
from harvester.simulator.world import World

ROWS = 100_000
PASSES = 5
SELECTION, FORMAT = Selection(), Format()


def listed(rows: int) -> bytes:
    """A listing as it comes."""
    world = World(WorldSpec(rows=rows, objects_per_row=20, mix=("image",), unlabelled=0, odd=False))
    body = b'{"status": 200, "response": [' + b",".join(world.listing()) + b"]}"
    return gzip.compress(body, 6)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("rows", type=int, nargs="?", default=ROWS)
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    sent = listed(arguments.rows)
    listing = Spool(io.BytesIO(sent), "gzip")
    spec = ExportSpec(project=Project("hash", "title"), selection=SELECTION, format=FORMAT)
    with tempfile.TemporaryDirectory() as directory:
        target = LocalTarget(Path(directory))
        header = planfile.freeze(target, plan_lines(listing, SELECTION, FORMAT), spec)

        def digest() -> None:
            Spool(io.BytesIO(sent), "gzip").digest()

        def cut() -> None:
            drain(listing)

        def read() -> None:
            drain(unsorted_rows(listing, SELECTION, FORMAT))

        def sort() -> None:
            drain(plan_lines(listing, SELECTION, FORMAT))

        def freeze() -> None:
            planfile.freeze(target, plan_lines(listing, SELECTION, FORMAT), spec)

        def compare() -> None:
            lines = plan_lines(listing, SELECTION, FORMAT)
            with compared(planfile.lines(target, header), lines) as comparison:
                assert not comparison.drift().edited

        stages = {
            "unzip, hash and cut into items": cut,
            "... and read": read,
            "... and sort": sort,
            "... and freeze: the plan": freeze,
            "hash again: nothing has drifted": digest,
            "read again and compare: the drift": compare,
        }
        for name, stage in stages.items():
            print(f"{name:36} {median(stage) / arguments.rows * 1e6:6.1f} µs a row")
        if arguments.profile:
            print(by_function(freeze), by_function(compare), sep="\n")


def drain(items: Any) -> None:
    deque(items, maxlen=0)


def median(work: Callable[[], object]) -> float:
    """Seconds of CPU of several passes."""
    times = []
    for _ in range(PASSES):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return statistics.median(times)


if __name__ == "__main__":
    main()
