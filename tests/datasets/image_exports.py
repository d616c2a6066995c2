"""What an export says of its images, read from its records by other means than conversions use."""

import io
import json
from collections import defaultdict
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from PIL import Image

from harvester.datasets.pictures import Picture, Pictures, read_unit
from tests.datasets.exports import lines_of


def pictures_of(target: Path, *, every_frame: bool = False) -> list[Picture]:
    """All images of an export that was never synced."""
    units, objects = defaultdict(list), defaultdict(list)
    for found, kind in ((units, "units"), (objects, "objects")):
        for line in lines_of(target, kind):
            found[json.loads(line)["label_hash"]].append(line)
    return [
        picture
        for label_hash, lines in units.items()
        for picture in Pictures(map(read_unit, lines), objects[label_hash], every_frame=every_frame)
    ]


@cache
def _drawn(ending: str, width: int, height: int) -> bytes:
    """An empty image. What follows its end is ignored by readers."""
    file = io.BytesIO()
    Image.new("L", (width, height)).save(file, Image.registered_extensions()[ending.lower()])
    return file.getvalue()


def make_media(target: Path, media: Path, *, index: bool = False) -> dict[str, Path]:
    """Draw a file for each image of an export that has an ending: an empty image of its size, by name."""
    found, lines = {}, []
    for number, picture in enumerate(pictures_of(target, every_frame=True)):
        if not picture.ending or not picture.width or not picture.height:
            continue
        path = media / (f"files/{number}{picture.ending}" if index else picture.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_drawn(picture.ending, picture.width, picture.height) + str(number).encode())
        found[picture.name] = path
        unit = picture.unit
        line: dict[str, Any] = {"label_hash": unit.label_hash, "branch_name": unit.branch_name}
        line |= {"unit_hash": unit.unit_hash, "space_id": unit.space_id, "frame": picture.frame}
        line |= {"path": path.relative_to(media).as_posix(), "bytes": path.stat().st_size}
        lines.append(line | {"sha256": sha256(path.read_bytes()).hexdigest()})
    if index:
        (media / "media.ndjson").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return found
