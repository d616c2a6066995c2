"""What is measured: a simulated project, what its server does, and who exports it."""

from collections.abc import Mapping
from typing import Literal

import msgspec

from harvester.simulator import Faults, WorldSpec

Tool = Literal[
    "harvester", "one_by_one", "threads", "threads_of_chunks", "platform_export", "coco", "platform_coco"
]

OURS: Tool = "harvester"
# What converts an export, which is made before and not measured: `harvester export` with these arguments.
SIMPLE = (
    "object.shape == 'bounding_box' || (has(object.polygons) && object.polygons != null && "
    "size(object.polygons[0]) == 1)"
)
CONVERTS: Mapping[Tool, tuple[str, ...]] = {
    "coco": ("--emit", "objects,units", "--where", SIMPLE),
    "platform_coco": ("--emit", "rows"),
}
NAMES: dict[Tool, str] = {
    "harvester": "harvester",
    "one_by_one": "get_label_row, one by one",
    "threads": "get_label_row, 16 threads",
    "threads_of_chunks": "get_label_rows by 100, 16 threads",
    "platform_export": "platform's export script",
    "coco": "harvester convert --to coco",
    "platform_coco": "the SDK's CocoExporter",
}

# The usual job: images with 20 objects, 14 kB of JSON a row, of which the boxes are wanted. Without oddities:
# the SDK's own methods trip over some of them.
IMAGES = WorldSpec(objects_per_row=20, mix=("image",), unlabelled=0.0, odd=False)
CAR = "a5cdf07d"  # the feature hash of a car in the simulator's ontology
BOXES = ("--emit", "objects", "--shape", "bounding_box")
SINGLES = ("--bundle-size", "1")
HUNDREDS = ("--bundle-size", "100")

QUICK_ROWS = 10
QUICK_GIANT = 4_000_000
QUICK_LATENCY = 0.03


class ToolRun(msgspec.Struct, frozen=True):
    """One command to measure.

    Attributes:
        rows: label rows of the project that it exports. Slow tools get fewer.
        arguments: of `harvester export`; the peers have none.
        note: tells runs of one tool apart.
        converts: arguments of `harvester convert`, which is measured then, and not the export before it.
    """

    tool: Tool
    rows: int
    arguments: tuple[str, ...] = ()
    note: str = ""
    converts: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{NAMES[self.tool]}, {self.note}" if self.note else NAMES[self.tool]

    @property
    def is_ours(self) -> bool:
        """Whether it is harvester."""
        return is_ours(self.tool)


def is_ours(tool: str) -> bool:
    """Whether a tool is harvester."""
    return tool in (OURS, "coco")


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """Runs that are compared: taken in turn, and so several times.

    Attributes:
        in_flight: requests that harvester may have in flight; what the simulator serves to as many
            connections that do nothing else is measured, too.
        watched: requests a second are recorded all along, against the server's limit.
        most_repeats: runs that take their time by the clock are not repeated as often.
        same_bytes: all runs must write the same.
    """

    name: str
    title: str
    runs: tuple[ToolRun, ...]
    spec: WorldSpec = IMAGES
    faults: Faults = Faults()
    in_flight: int | None = None
    watched: bool = False
    most_repeats: int = 99
    same_bytes: bool = False

    def quick(self) -> "Scenario":
        """The same on a few rows, once: to see that it runs, not how fast."""
        change = msgspec.structs.replace
        spec = change(self.spec, large_row_bytes=min(self.spec.large_row_bytes, QUICK_GIANT))
        faults = change(self.faults, latency=min(self.faults.latency, QUICK_LATENCY))
        rows = 1 if spec.large_row_bytes else QUICK_ROWS
        # Of many runs the first and the last: nothing that only one of the others would show.
        some = self.runs if len(self.runs) <= 3 else (self.runs[0], self.runs[-1])
        runs = tuple(change(run, rows=rows) for run in some)
        return change(self, spec=spec, faults=faults, runs=runs, most_repeats=1, in_flight=None)


LIMIT = Faults(rate=50, burst=50)
# Times are from the start of the process, which spends its first second on getting ready.
DROP = msgspec.structs.replace(LIMIT, capacity=((25, 0.4), (45, 1.0)))

SCENARIOS = (
    Scenario(
        name="singles",
        title="One row a request, no latency",
        runs=(
            ToolRun("harvester", 10_000, (*BOXES, *SINGLES)),
            ToolRun("threads", 300),
            ToolRun("one_by_one", 150),
        ),
    ),
    Scenario(
        name="bundles",
        title="A hundred rows a request, no latency",
        runs=(
            ToolRun("harvester", 100_000, (*BOXES, *HUNDREDS)),
            ToolRun("threads_of_chunks", 3_000),
            ToolRun("platform_export", 1_000),
        ),
    ),
    Scenario(
        name="latency",
        title="One row a request, 150 ms latency, 64 in flight",
        faults=Faults(latency=0.15),
        in_flight=64,
        runs=(
            ToolRun("harvester", 60_000, (*BOXES, *SINGLES, "--concurrency", "64")),
            ToolRun("threads", 300),
            ToolRun("one_by_one", 50),
        ),
        most_repeats=1,
    ),
    Scenario(
        name="limit",
        title="A limit of 50 requests a second, bursts of 50, told to nobody",
        faults=LIMIT,
        runs=(ToolRun("harvester", 3_000, (*BOXES, *SINGLES)), ToolRun("threads", 300)),
        watched=True,
        most_repeats=1,
    ),
    Scenario(
        name="retry-after",
        title="The same limit, refusals with Retry-After",
        faults=msgspec.structs.replace(LIMIT, retry_after="seconds"),
        runs=(ToolRun("harvester", 3_000, (*BOXES, *SINGLES)), ToolRun("threads", 300)),
        watched=True,
        most_repeats=1,
    ),
    Scenario(
        name="capacity",
        title="The same limit; it drops to 40 % after 25 s and returns after 45 s",
        faults=DROP,
        runs=(ToolRun("harvester", 3_000, (*BOXES, *SINGLES)),),
        watched=True,
        most_repeats=1,
    ),
    Scenario(
        name="memory",
        title="Memory by number of rows",
        runs=(
            ToolRun("harvester", 10_000, BOXES, "10,000 rows"),
            ToolRun("harvester", 300_000, BOXES, "300,000 rows"),
        ),
        most_repeats=1,
    ),
    Scenario(
        name="listing",
        title="A million rows listed, none fetched",
        runs=(ToolRun("harvester", 1_000_000, ("--data-type", "video")),),
        most_repeats=1,
    ),
    Scenario(
        name="giant",
        title="One label row of 200 MB",
        spec=msgspec.structs.replace(IMAGES, large_row_bytes=200_000_000),
        runs=(ToolRun("harvester", 1), ToolRun("one_by_one", 1)),
        most_repeats=2,
    ),
    Scenario(
        name="processes",
        title="One process and two",
        runs=(
            ToolRun("harvester", 100_000, (*BOXES, "--processes", "1"), "1 process"),
            ToolRun("harvester", 100_000, (*BOXES, "--processes", "2"), "2 processes"),
        ),
        same_bytes=True,
    ),
    Scenario(
        name="coco",
        title="COCO: 20 boxes and polygons an image",
        spec=msgspec.structs.replace(IMAGES, shapes=("bounding_box", "polygon"), branches=()),
        runs=(
            ToolRun("coco", 1_000, note="1,000 images"),
            ToolRun("platform_coco", 1_000),
            ToolRun("coco", 10_000, note="10,000 images"),
        ),
        most_repeats=2,
    ),
    Scenario(
        name="filters",
        title="Every filter on and off",
        runs=(
            ToolRun("harvester", 10_000, (), "no filter"),
            ToolRun("harvester", 10_000, BOXES, "--shape"),
            ToolRun("harvester", 10_000, ("--name", "Car"), "--name"),
            ToolRun("harvester", 10_000, ("--feature-hash", CAR), "--feature-hash"),
            ToolRun("harvester", 10_000, ("--approved",), "--approved"),
            ToolRun("harvester", 10_000, ("--min-confidence", "0.9"), "--min-confidence"),
            ToolRun("harvester", 10_000, ("--author", "ann@example.com"), "--author"),
            ToolRun("harvester", 10_000, ("--manual",), "--manual"),
            ToolRun("harvester", 10_000, ("--where", "object.confidence > 0.9"), "--where"),
            ToolRun("harvester", 10_000, ("--filter", "builtins:bool"), "--filter, of one's own"),
            ToolRun(
                "harvester",
                10_000,
                (*BOXES, "--name", "Car", "--approved", "--min-confidence", "0.5", "--manual"),
                "five at once",
            ),
        ),
        most_repeats=2,
    ),
    Scenario(
        name="yolo",
        title="Converting to YOLO: a file of labels for each image",
        runs=(
            ToolRun("harvester", 5_000, (), "detect", ("--to", "yolo")),
            ToolRun("harvester", 5_000, (), "segment", ("--to", "yolo", "--task", "segment")),
        ),
        most_repeats=2,
    ),
    Scenario(
        name="masks",
        title="Converting to masks: a PNG of 1920 x 1080 for each image",
        runs=(
            ToolRun("harvester", 1_000, (), "semantic", ("--to", "masks")),
            ToolRun("harvester", 1_000, (), "instance", ("--to", "masks", "--task", "instance")),
        ),
        most_repeats=2,
    ),
)
