"""Runs the platform's own COCO exporter over label rows. In an environment of its own: it needs numpy 1.

Reads ontology.json and rows.ndjson in a directory, and writes opinions.ndjson: of each row what the exporter
makes of it, or the exception that it stops with.
"""

import json
import sys
from pathlib import Path

from encord.objects.ontology_structure import OntologyStructure
from encord.utilities.coco.exporter import CocoExporter


def main(directory: Path) -> None:
    ontology = OntologyStructure.from_dict(json.loads((directory / "ontology.json").read_bytes()))
    with (directory / "rows.ndjson").open() as rows, (directory / "opinions.ndjson").open("w") as opinions:
        for line in rows:
            try:
                opinion = CocoExporter([json.loads(line)], ontology).export()
            except Exception as error:
                opinion = {"stopped": f"{type(error).__name__}: {error}"}
            opinions.write(json.dumps(opinion) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
