"""Parquet: CPU a record, peak memory and size, next to DuckDB's own COPY of the same files.

    python -m benchmarks.datasets               # 200,000 objects
    python -m benchmarks.datasets --rows 100000 # 2,000,000

The peer is `COPY (SELECT ... FROM read_json(...)) TO ...` with all columns named, `object` as JSON, and no
answers: it types nothing that is in an object, and prints its JSON anew. Both run as processes of their own,
in turn; what they need for an export of one row, such as imports, is measured as well and subtracted.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.made_export import OBJECTS_PER_ROW, make_export

_CONVERT = "import sys, harvester; harvester.convert(sys.argv[1], sys.argv[2], to='parquet')"
_COPY = """
import sys, duckdb
texts = dict.fromkeys(
    "kind label_hash branch_name data_hash dataset_hash dataset_title data_title data_type unit_hash "
    "file_name data_url space_id".split(), "VARCHAR")
numbers = dict.fromkeys(("width", "height", "frame"), "BIGINT")
label = {"object": "JSON"} | dict.fromkeys(("object_hash", "feature_hash", "name", "shape"), "VARCHAR")
columns = texts | numbers | label | {"object_number": "BIGINT", "until": "BIGINT", "ranges": "DOUBLE[][]"}
duckdb.connect().execute(
    f"COPY (SELECT * FROM read_json('{sys.argv[1]}/objects-*', columns={columns}, "
    f"format='newline_delimited')) TO '{sys.argv[2]}' (FORMAT parquet, COMPRESSION zstd)")
"""


def measured(script: str, export: Path, out: Path) -> tuple[float, int]:
    """Return CPU seconds and peak bytes of a process of its own."""
    process = subprocess.Popen([sys.executable, "-c", script, str(export), str(out)])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(process.returncode)
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def size_of(path: Path, pattern: str) -> int:
    """Return the bytes of all files of a pattern."""
    return sum(file.stat().st_size for file in path.glob(pattern))


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, and print a line for each tool."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000, help="label rows, of 20 objects each")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="harvester-bench-") as name:
        folder = Path(name)
        one = make_export(folder / "one", 1)
        export = make_export(folder / "export", options.rows)
        packed = make_export(folder / "packed", options.rows, compress="zstd")
        sizes = size_of(packed, "objects-*.zst")
        best: dict[str, tuple[float, int, int]] = {}
        for repeat in range(options.repeats):
            for tool, script in (("harvester convert", _CONVERT), ("DuckDB COPY", _COPY)):
                start, _ = measured(script, one, folder / f"{tool}-one-{repeat}")
                seconds, peak = measured(script, export, folder / f"{tool}-{repeat}")
                size = size_of(folder, f"{tool}-{repeat}") if tool == "DuckDB COPY" else 0
                size = size or size_of(folder / f"{tool}-{repeat}", "objects/*")
                own = (seconds - start, peak, size)
                best[tool] = min(best.get(tool, own), own)
        objects = options.rows * OBJECTS_PER_ROW
        for tool, (seconds, peak, size) in best.items():
            print(
                f"{tool:18} {seconds / objects * 1e6:5.1f} us/object  {peak / 1e6:5.0f} MB peak  "
                f"{size / sizes:.2f} x NDJSON.zst"
            )
        print(f"ratio of CPU {best['harvester convert'][0] / best['DuckDB COPY'][0]:.2f}")


if __name__ == "__main__":
    main()
