"""Extraction: MB/s from a label row's bytes to its lines, on one core, by kind of row and by filter.

    python -m benchmarks.extraction            # all
    python -m benchmarks.extraction --profile  # where the time goes, by function

No network, no files: only `labels/extract.py` and what it calls. The rows are the simulator's, as sent: each
is decoded here, while those of an ordinary answer are decoded along with it. Each figure is the best of
several passes of CPU time, so that what else the machine does counts little.
"""

import argparse
import time
from collections.abc import Callable

import msgspec

from benchmarks.functions import by_function
from harvester.labels.extract import Extractor
from harvester.labels.wire import PlanRow, label_hash_of
from harvester.settings import Format, Selection
from harvester.simulator import WorldSpec
from harvester.simulator.world import World

ROWS = 400
PASSES = 7
WORLDS = {
    "images, 20 objects": WorldSpec(rows=ROWS, objects_per_row=20, mix=("image",), unlabelled=0, odd=False),
    "videos": WorldSpec(rows=ROWS, mix=("video",), unlabelled=0, odd=False),
    "all data types": WorldSpec(rows=ROWS, unlabelled=0),
}
SELECTIONS = {
    "no filter": Selection(),
    "--shape bounding_box": Selection(shapes=("bounding_box",)),
    "--name Car": Selection(names=("Car",)),
    "--approved": Selection(approved=True),
    "--manual --min-confidence 0.5": Selection(manual=True, min_confidence=0.5),
    "--filter builtins:bool": Selection(filters=("builtins:bool",)),
}


def sample(spec: WorldSpec) -> tuple[list[tuple[bytes, PlanRow]], bytes]:
    """Label rows with their places in the plan, and the ontology."""
    world = World(spec)
    rows = []
    for item in map(msgspec.json.decode, world.listing()):
        row = world.label_row(item["label_hash"], reviews=True)
        assert row is not None
        planned = PlanRow(
            dataset_hash=item["dataset_hash"],
            data_title=item["data_title"],
            label_hash=item["label_hash"],
            branch_name=item["branch_name"],
            data_hash=item["data_hash"],
        )
        rows.append((row, planned))
    return rows, msgspec.json.encode(world.ontology())


def best(work: Callable[[], object]) -> float:
    """Seconds of CPU of the fastest of several passes."""
    times = []
    for _ in range(PASSES):
        began = time.thread_time()
        work()
        times.append(time.thread_time() - began)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--profile", action="store_true")
    profile = parser.parse_args().profile
    for kind, spec in WORLDS.items():
        rows, ontology = sample(spec)
        size = sum(len(row) for row, _ in rows)
        print(f"{kind}: {len(rows)} rows of {size / len(rows) / 1000:.1f} kB")
        hashes = best(lambda rows=rows: [label_hash_of(row) for row, _ in rows])  # type: ignore[misc]
        print(f"  {'its label hash alone':32} {hashes / len(rows) * 1e6:7.1f} µs a row")
        for name, selection in SELECTIONS.items():
            extractor = Extractor(selection, Format(), ontology)

            def extract(extractor: Extractor = extractor, rows: list[tuple[bytes, PlanRow]] = rows) -> None:
                for row, planned in rows:
                    extractor.extract(row, planned)

            seconds = best(extract)
            print(f"  {name:32} {seconds / len(rows) * 1e6:7.1f} µs a row  {size / seconds / 1e6:7.0f} MB/s")
            if profile and name == "--shape bounding_box":
                print(by_function(extract))


if __name__ == "__main__":
    main()
