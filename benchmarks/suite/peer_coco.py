"""The platform's own COCO exporter over label rows in files. It runs in a process of its own.

A script, not a module of the package: ``python peer_coco.py EXPORT OUTPUT``, in the environment of
`make second-opinion`. EXPORT is an export with ``--emit rows``. It writes the file OUTPUT, and prints
``{"rows": .., "records": ..}``.
"""

import json
import sys
from pathlib import Path
from typing import Any

from encord.objects.ontology_structure import OntologyStructure
from encord.utilities.coco.exporter import CocoExporter


def main(export: Path, output: Path) -> None:
    """Convert all rows at once: the exporter takes a list."""
    ontology = OntologyStructure.from_dict(json.loads((export / "ontology.json").read_bytes()))
    rows = [_mended(row) for path in sorted(export.glob("rows-*.ndjson")) for row in _rows(path)]
    made = CocoExporter(rows, ontology).export()
    with output.open("w") as file:
        json.dump(made, file)
    print(json.dumps({"rows": len(rows), "records": len(made["annotations"])}))


def _rows(path: Path) -> list[dict[str, Any]]:
    with path.open() as lines:
        return [json.loads(line)["row"] for line in lines]


def _mended(row: dict[str, Any]) -> dict[str, Any]:
    """Take out what the exporter trips over, and the polygons with holes."""
    answers = row["object_answers"]
    for unit in row["data_units"].values():
        unit.setdefault("data_link", "")
        kept = [one for one in unit["labels"].get("objects", ()) if _is_simple(one)]
        unit["labels"]["objects"] = kept
        for one in kept:
            given = answers.setdefault(one["objectHash"], {"classifications": []})
            given["classifications"] = [
                answer for answer in given["classifications"] if answer["answers"] != []
            ]
    return row


def _is_simple(one: dict[str, Any]) -> bool:
    """As `scenarios.SIMPLE` says it."""
    if one["shape"] == "bounding_box":
        return True
    return bool(one.get("polygons")) and len(one["polygons"][0]) == 1


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
