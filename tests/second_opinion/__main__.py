"""A second opinion on COCO: the platform's own exporter, over the same label rows. `make second-opinion`.

Images, categories, boxes, segmentations and areas have to agree, but where docs/datasets.md says that they do
not. Exit 1 if they differ elsewhere, or if less was compared than should have been.
"""

import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from harvester.labels.extract import Extractor
from harvester.settings import Format, Selection
from tests.datasets.coco_kit import written
from tests.second_opinion.comparison import Comparison
from tests.second_opinion.rows import Json, Project, demo, random

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".second-opinion" / "bin" / "python"
LEAST = {  # annotations that were found equal, by form
    "bounding_box": 100, "rotatable_bounding_box": 100, "polygon": 60, "several_parts": 40, "polyline": 100,
    "point": 100, "skeleton": 100, "bitmask": 100, "dropped_by_exporter": 300, "image": 800,
}  # fmt: skip


def ours(project: Project, directory: Path) -> Json:
    """What our own writer makes of all rows of a project."""
    ontology = json.dumps(project.ontology).encode()
    extractor = Extractor(Selection(), Format(emit=("objects", "units")), ontology)
    rows = []
    for listed, sent in project.rows:
        found = extractor.extract(json.dumps(sent).encode(), listed)
        rows.append([bytes(found.lines[kind]).splitlines(keepends=True) for kind in ("units", "objects")])
    return written(directory, [(units, objects) for units, objects in rows], project.ontology)[0]


def theirs(project: Project, directory: Path) -> list[Json]:
    """What the platform's exporter makes of each row."""
    (directory / "ontology.json").write_text(json.dumps(project.ontology))
    with (directory / "rows.ndjson").open("w") as rows:
        for _, sent in project.rows:
            rows.write(json.dumps(sent) + "\n")
    script = Path(__file__).with_name("platform_exporter.py")
    subprocess.run([str(PYTHON), str(script), str(directory)], check=True, timeout=300)
    with (directory / "opinions.ndjson").open() as opinions:
        return [json.loads(line) for line in opinions]


def main() -> int:
    """Print what was compared and what differs."""
    total, stopped, wrong = Counter[str](), Counter[str](), list[str]()
    for project in (demo(600), random(1, 12), random(2, 12)):
        with tempfile.TemporaryDirectory(prefix="second-opinion-") as name:
            directory = Path(name)
            comparison = Comparison(ours(project, directory), project.ontology)
            for (listed, sent), opinion in zip(project.rows, theirs(project, directory), strict=True):
                comparison.compare(listed.label_hash or "", sent, opinion)
            total += comparison.compared
            stopped += comparison.stopped
            wrong += [f"{project.name}: {difference}" for difference in comparison.differences]
    print("compared: " + ", ".join(f"{number:,} {what}" for what, number in sorted(total.items())))
    for reason, number in stopped.most_common(10):
        print(f"the exporter stops at {number} rows: {reason}")
    wrong += [f"only {total[what]} {what}" for what, least in LEAST.items() if total[what] < least]
    for difference in wrong[:50]:
        print(difference)
    print(f"{len(wrong)} differences" if wrong else "no difference but those of docs/datasets.md")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
