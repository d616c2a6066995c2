"""What the platform writes and the SDK cannot: put at random into label rows that the SDK wrote."""

from collections.abc import Iterator
from random import Random

from tests.labels.random_media import Json
from tests.labels.random_rows import Written

# Kinds of rows with frames on the row itself, where copies of classifications may stand.
COPIED = ("image", "img_group", "video", "dicom", "nifti", "pdf")


def alter(written: Written, dice: Random) -> None:
    """Adds reviews, copies and the like; takes away what may be missing. Leaves a mark for what it did."""
    row = written.sent
    for objects in _object_lists(row):
        for one in objects:
            _alter_object(one, dice)
    for entry in row["object_answers"].values():
        entry["classifications"] = _split(entry["classifications"], dice)
    for entry in row["classification_answers"].values():
        if dice.random() < 0.2:
            entry["reviews"] = _reviews(dice)
    _alter_defaults(written, dice)
    for chance, change in ((0.3, _split_classifications), (0.6, _name_spaces), (0.3, _copies)):
        if dice.random() < chance:
            change(written, dice)
    for key in ("object_answers", "classification_answers", "object_actions"):
        items = list(row[key].items())
        dice.shuffle(items)
        row[key] = dict(items)


def _labels(row: Json) -> Iterator[Json]:
    """Every dict with labels: flat ones, those of frames."""
    for holder in (*row["data_units"].values(), *row["spaces"].values()):
        labels = holder["labels"]
        yield from [labels] if "objects" in labels else labels.values()


def _object_lists(row: Json) -> Iterator[list[Json]]:
    return (labels["objects"] for labels in _labels(row) if "objects" in labels)


def _alter_object(one: Json, dice: Random) -> None:
    if dice.random() < 0.3:
        one["reviews"] = _reviews(dice)
    if dice.random() < 0.3:
        one["isDeleted"] = False
    one["added"] = {"by": ["a", "later", "version"]}


def _reviews(dice: Random) -> list[Json]:
    return [
        {"id": at, "status": "APPROVED", "approved": dice.random() < 0.5, "comment": None, "metadata": None}
        for at in range(dice.randint(0, 2))
    ]


def _split(answers: list[Json], dice: Random) -> list[Json]:
    """Checklists as the label editor has them, an entry for each option; all in any order."""
    found = []
    for answer in answers:
        options = answer["answers"]
        if isinstance(options, list) and len(options) > 1:
            found += [answer | {"answers": [option]} for option in options]
        else:
            found.append(answer)
    dice.shuffle(found)
    return found


def _alter_defaults(written: Written, dice: Random) -> None:
    """Takes away what the SDK has a default for."""
    holders = [one for objects in _object_lists(written.sent) for one in objects]
    holders += written.sent["classification_answers"].values()
    for one in holders:
        if dice.random() < 0.1:
            key = dice.choice(("confidence", "manualAnnotation", "createdAt", "lastEditedAt"))
            if dice.random() < 0.5 or "objectHash" in one:
                one[key] = None
            else:
                del one[key]


def _split_classifications(written: Written, dice: Random) -> None:
    for entry in written.sent["classification_answers"].values():
        entry["classifications"] = _split(entry["classifications"], dice)


def _name_spaces(written: Written, dice: Random) -> None:
    """Dynamic answers of an object on several spaces hold on one of them."""
    on: dict[str, list[str]] = {}
    for space_id, space in written.sent["spaces"].items():
        labels = space["labels"]
        for found in [labels] if "objects" in labels else labels.values():
            for one in found["objects"]:
                on.setdefault(one["objectHash"], []).append(space_id)
    for object_hash, entry in written.sent["object_actions"].items():
        spaces = sorted(set(on.get(object_hash, ())))
        if len(spaces) > 1:
            for action in entry["actions"]:
                action["spaceId"] = dice.choice(spaces)


def _copies(written: Written, dice: Random) -> None:
    """Frame-level copies of classifications of the row, with reviews; in old rows they alone are placed."""
    if written.kind not in COPIED:
        return
    old = dice.random() < 0.5
    written.marks.add("old copies" if old else "copies")
    for key, entry in written.sent["classification_answers"].items():
        if not entry["range"]:
            continue  # a classification of the whole row
        copy = {
            name: entry.get(name)
            for name in ("classificationHash", "featureHash", "createdAt", "createdBy", "confidence",
                         "manualAnnotation", "lastEditedAt", "lastEditedBy")
        }  # fmt: skip
        copy |= {
            "name": entry["classifications"][0]["name"] if entry["classifications"] else "x",
            "value": "x",
        }
        entry.pop("reviews", None)
        for first, last in entry["range"]:
            for frame in range(first, last + 1):
                reviews = {"reviews": _reviews(dice)} if dice.random() < 0.5 else {}
                _on_frame(written.sent, frame).setdefault("classifications", []).append(copy | reviews)
        if old:
            written.sent["classification_answers"][key] = {
                name: entry[name] for name in ("classificationHash", "classifications")
            }


def _on_frame(row: Json, frame: int) -> Json:
    """The labels of a frame, made if there are none."""
    units = sorted(row["data_units"].values(), key=lambda unit: int(unit["data_sequence"]))
    if row["data_type"] in ("image", "img_group"):
        flat: Json = units[frame]["labels"]
        return flat
    made: Json = units[0]["labels"].setdefault(str(frame), {"objects": []})
    return made
