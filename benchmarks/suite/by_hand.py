"""Data sets as people make them by hand of an export: `json`, Pillow, pycocotools. One process for each.

A script, not a module of the package: ``python by_hand.py WHICH EXPORT OUTPUT``. It reads the objects of a
finished export, writes into the directory OUTPUT, and prints ``{"rows": .., "records": ..}``. No splits, no
checks, no holes, no counts of what is left out.
"""

import json
import sys
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

Objects = list[dict[str, Any]]
Made = tuple[int, int]  # images, objects


def yolo(export: Path, output: Path) -> Made:
    """A line for each box: class, centre, size."""
    classes, images, count = _classes(export), 0, 0
    for images, (name, objects) in enumerate(_images(export), 1):  # noqa: B007
        lines = []
        for one in objects:
            if box := one["object"].get("boundingBox"):
                x, y, w, h = box["x"], box["y"], box["w"], box["h"]
                lines.append(f"{classes[one['feature_hash']]} {x + w / 2} {y + h / 2} {w} {h}\n")
        (output / f"{name}.txt").write_text("".join(lines))
        count += len(lines)
    return images, count


def masks(export: Path, output: Path) -> Made:
    """A PNG of class ids for each image: polygons by Pillow, bitmasks by pycocotools."""
    from PIL import Image, ImageDraw

    classes, images, count = _classes(export), 0, 0
    for images, (name, objects) in enumerate(_images(export), 1):  # noqa: B007
        width, height = objects[0]["width"], objects[0]["height"]
        image = Image.new("L", (width, height))
        draw = ImageDraw.Draw(image)
        for one in objects:
            number = classes[one["feature_hash"]] + 1
            if bitmask := one["object"].get("bitmask"):
                image.paste(number, (0, 0), Image.fromarray(_pixels(bitmask) * 255))
                count += 1
            for rings in one["object"].get("polygons") or ():
                ring = [v * (height if at % 2 else width) for at, v in enumerate(rings[0])]
                draw.polygon(ring, fill=number)
                count += 1
        image.save(output / f"{name}.png")
    return images, count


def bitmasks(export: Path, output: Path) -> Made:
    """Each bitmask, which is row by row, as COCO has it: decoded, transposed, encoded."""
    import numpy as np
    from pycocotools import mask as coco_masks

    images = count = 0
    with (output / "annotations.ndjson").open("w") as file:
        for images, (_, objects) in enumerate(_images(export), 1):  # noqa: B007
            for one in objects:
                if bitmask := one["object"].get("bitmask"):
                    encoded = coco_masks.encode(np.asfortranarray(_pixels(bitmask)))
                    box, area = coco_masks.toBbox(encoded).tolist(), float(coco_masks.area(encoded))
                    counts = encoded["counts"].decode()
                    file.write(json.dumps({"bbox": box, "area": area, "counts": counts}) + "\n")
                    count += 1
    return images, count


def _pixels(bitmask: dict[str, Any]) -> Any:
    from pycocotools import mask as coco_masks

    size = [bitmask["width"], bitmask["height"]]  # pycocotools goes column by column: width and height swap
    return coco_masks.decode({"size": size, "counts": bitmask["rleString"]}).T


def _classes(export: Path) -> dict[str, int]:
    ontology = json.loads((export / "ontology.json").read_bytes())
    return {one["featureNodeHash"]: at for at, one in enumerate(ontology["objects"])}


def _images(export: Path) -> Iterator[tuple[str, Objects]]:
    for path in sorted(export.glob("objects-*.ndjson")):
        with path.open() as lines:
            for name, objects in groupby(map(json.loads, lines), lambda one: one["unit_hash"]):
                yield name, list(objects)


TOOLS: dict[str, Callable[[Path, Path], Made]] = {"yolo": yolo, "masks": masks, "bitmasks": bitmasks}


def main(which: str, export: Path, output: Path) -> None:
    output.mkdir()
    rows, records = TOOLS[which](export, output)
    print(json.dumps({"rows": rows, "records": records}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
