"""What is measured: a simulated project, what its server does, and who exports it."""

import msgspec

from benchmarks.suite.inputs import Input
from harvester.simulator import Faults, WorldSpec

OURS = "harvester"
NAMES: dict[str, str] = {
    "harvester": "harvester",
    "one_by_one": "get_label_row, one by one",
    "threads": "get_label_row, 16 threads",
    "threads_of_chunks": "get_label_rows by 100, 16 threads",
    "platform_export": "platform's export script",
    "convert": "harvester convert",
    "platform_coco": "the SDK's CocoExporter",
    "yolo_by_hand": "json by hand",
    "masks_by_hand": "Pillow by hand",
    "bitmasks_by_hand": "pycocotools by hand",
    "copy": "DuckDB COPY, nothing typed",
    "zstd": "objects-*.ndjson.zst",
    "compact": "harvester compact",
    "read_synced": "harvester, reading before it",
    "read_compacted": "harvester, reading after it",
    "read_new": "harvester, reading a new export",
    "media": "harvester media",
    "aria2c": "aria2c -j16",
    "urllib3": "urllib3, 16 threads, nothing checked",
}
# What runs on a finished export, which is made before and not measured: with these arguments.
AFTER_EXPORT = frozenset(("convert", "platform_coco", "yolo_by_hand", "masks_by_hand", "bitmasks_by_hand"))
OBJECTS = ("--emit", "objects,units")
# What the SDK's COCO exporter takes without an error: boxes, and polygons without holes.
SIMPLE = (
    "object.shape == 'bounding_box' || (has(object.polygons) && object.polygons != null && "
    "size(object.polygons[0]) == 1)"
)

# The usual job: images with 20 objects, 14 kB of JSON a row, of which the boxes are wanted. Without oddities:
# the SDK's own methods trip over some of them.
IMAGES = WorldSpec(objects_per_row=20, mix=("image",), unlabelled=0.0, odd=False)
CAR = "a5cdf07d"  # the feature hash of a car in the simulator's ontology
BOXES = ("--emit", "objects", "--shape", "bounding_box")
SINGLES = ("--bundle-size", "1")
HUNDREDS = ("--bundle-size", "100")

QUICK_ROWS = 40
QUICK_GIANT = 4_000_000
QUICK_LATENCY = 0.03


class ToolRun(msgspec.Struct, frozen=True):
    """One command to measure.

    Attributes:
        rows: label rows of the project that it exports. Slow tools get fewer.
        arguments: of `harvester export`, also of one that is made before; other tools have none.
        note: tells runs of one tool apart.
        converts: arguments of `harvester convert`.
    """

    tool: str
    rows: int
    arguments: tuple[str, ...] = ()
    note: str = ""
    converts: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What the table calls it."""
        return f"{NAMES[self.tool]}, {self.note}" if self.note else NAMES[self.tool]

    @property
    def work(self) -> str:
        """The tool and what it makes: what start-up time is measured of."""
        return " ".join((self.tool, *self.converts))

    @property
    def is_ours(self) -> bool:
        """Whether it is harvester."""
        return is_ours(self.tool)


def is_ours(tool: str) -> bool:
    """Whether a tool is harvester."""
    return NAMES[tool].startswith("harvester")


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """Runs that are compared: taken in turn, and so several times.

    Attributes:
        in_flight: requests that harvester may have in flight; what the simulator serves to as many
            connections that do nothing else is measured, too.
        watched: requests a second are recorded all along, against the server's limit.
        most_repeats: runs that take their time by the clock are not repeated as often.
        same_bytes: all runs must write the same.
        made_of: what is made before, for commands that ask no server; `spec` and `faults` are of no use then.
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
    made_of: Input | None = None

    def quick(self) -> "Scenario":
        """The same on a few rows, once: to see that it runs, not how fast."""
        change = msgspec.structs.replace
        spec = change(self.spec, large_row_bytes=min(self.spec.large_row_bytes, QUICK_GIANT))
        faults = change(self.faults, latency=min(self.faults.latency, QUICK_LATENCY))
        rows = 1 if spec.large_row_bytes else QUICK_ROWS
        # Of many exports the first and the last: nothing that only one of the others would show.
        some = self.runs if len(self.runs) <= 5 else (self.runs[0], self.runs[-1])
        runs = tuple(change(run, rows=rows) for run in some)
        return change(self, spec=spec, faults=faults, runs=runs, most_repeats=1, in_flight=None)


LIMIT = Faults(rate=50, burst=50)
# Times are from the start of the process, which spends its first second on getting ready.
DROP = msgspec.structs.replace(LIMIT, capacity=((25, 0.4), (45, 1.0)))

_EXPORTS = (
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
)


def _converted(name: str, title: str, spec: WorldSpec, *runs: ToolRun) -> Scenario:
    return Scenario(name=name, title=title, spec=spec, runs=runs, most_repeats=2)


def _images(*shapes: str) -> WorldSpec:
    return msgspec.structs.replace(IMAGES, shapes=shapes, branches=())


_COCO = ("--to", "coco")
_SIMPLE = (*OBJECTS, "--where", SIMPLE)

_MADE_OF_EXPORTS = (
    _converted(
        "coco",
        "COCO: 20 boxes and polygons an image",
        _images("bounding_box", "polygon"),
        ToolRun("convert", 1_000, _SIMPLE, "1,000 images", _COCO),
        ToolRun("platform_coco", 1_000, ("--emit", "rows")),
        ToolRun("convert", 10_000, _SIMPLE, "10,000 images", _COCO),
    ),
    _converted(
        "bitmasks",
        "COCO: 20 bitmasks of 1920 x 1080 an image",
        _images("bitmask"),
        ToolRun("convert", 200, OBJECTS, converts=_COCO),
        ToolRun("bitmasks_by_hand", 200, OBJECTS),
    ),
    _converted(
        "yolo",
        "YOLO: a file of labels for each image",
        _images("bounding_box", "polygon"),
        ToolRun("convert", 5_000, OBJECTS, "detect", ("--to", "yolo")),
        ToolRun("convert", 5_000, OBJECTS, "segment", ("--to", "yolo", "--task", "segment")),
        ToolRun("yolo_by_hand", 5_000, OBJECTS, "boxes only"),
    ),
    _converted(
        "masks",
        "Masks: a PNG of 1920 x 1080 for each image",
        _images("polygon", "bitmask"),
        ToolRun("convert", 300, OBJECTS, "semantic", ("--to", "masks")),
        ToolRun("convert", 300, OBJECTS, "instance", ("--to", "masks", "--task", "instance")),
        ToolRun("masks_by_hand", 300, OBJECTS, "no holes"),
    ),
    Scenario(
        name="parquet",
        title="Parquet: 20 objects of 1 kB an image",
        made_of="export",
        runs=(
            ToolRun("convert", 4_000, note="4,000 images", converts=("--to", "parquet")),
            ToolRun("copy", 4_000),
            ToolRun("zstd", 4_000),
            ToolRun("convert", 40_000, note="40,000 images", converts=("--to", "parquet")),
        ),
        most_repeats=2,
    ),
    Scenario(
        name="many-images",
        title="Memory by number of images: one object each, a file for each",
        made_of="small_images",
        runs=tuple(
            ToolRun("convert", rows, note=f"{task}, {rows:,} images", converts=("--to", to))
            for to, task in (("yolo", "detect"), ("masks", "semantic"))
            for rows in (10_000, 100_000)
        ),
        most_repeats=1,
    ),
    Scenario(
        name="compaction",
        title="Compaction: 365 syncs of five rows each; live reading, 20 times",
        made_of="syncs",
        runs=tuple(ToolRun(tool, 365) for tool in ("compact", "read_synced", "read_compacted", "read_new")),
    ),
    Scenario(
        name="media",
        title="Media: 2,000 files of 200 kB and 20 of 50 MB from loopback",
        made_of="files",
        runs=tuple(ToolRun(tool, 2_000) for tool in ("media", "aria2c", "urllib3")),
        most_repeats=2,
    ),
)

SCENARIOS = (*_EXPORTS, *_MADE_OF_EXPORTS)
