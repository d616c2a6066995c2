"""``--task classify``: each image in the folder of its class, and every classification accounted for."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from harvester.datasets.class_file import ClassList, DatasetClass
from harvester.datasets.conversion import Conversion
from harvester.datasets.convert import convert
from harvester.datasets.file_list import FILES
from harvester.datasets.yolo_classify import folder_names, question
from harvester.errors import BadInput
from harvester.settings import Format
from tests.datasets.exports import exported, files_in, records_of
from tests.datasets.image_exports import make_media, pictures_of
from tests.sync.worlds import LiveWorld

WEATHER = {"task": "classify", "classification": "Weather"}


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export with every data type."""
    return exported(tmp_path_factory.mktemp("exports") / "out", LiveWorld(rows=120, branches=()))


@pytest.fixture(scope="module")
def media(export: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image for each image and frame of the export, by name."""
    directory = tmp_path_factory.mktemp("media")
    make_media(export, directory)
    return directory


def _answers(export: Path) -> dict[str, set[str]]:
    """The answers to Weather of each image that has any, by the name of its file in the data set."""
    standing: dict[str, list[tuple[dict[str, Any], str]]] = {}
    for record in records_of(export, "classifications"):
        for answer in record["answers"]:
            if answer["name"] == "Weather" and answer["options"]:
                standing.setdefault(record["label_hash"], []).append((record, answer["options"][0]["name"]))
    sequence = {
        (unit["label_hash"], unit["unit_hash"]): unit["sequence"] for unit in records_of(export, "units")
    }
    found: dict[str, set[str]] = {}
    for picture in pictures_of(export, every_frame=True):
        unit = picture.unit
        for record, answer in standing.get(unit.label_hash or "", ()):
            place = picture.frame or 0
            if unit.data_type == "img_group":
                place = sequence[unit.label_hash, unit.unit_hash]
            on_unit = record["unit_hash"] in (None, unit.unit_hash) and record["space_id"] == unit.space_id
            if on_unit and (not record["ranges"] or any(a <= place <= b for a, b in record["ranges"])):
                found.setdefault(picture.name.partition("/")[2].replace("/", "_"), set()).add(answer)
    return found


def _adds_up(done: Conversion, images: int) -> None:
    for counts in done.records.values():
        assert counts.read == counts.written + sum(counts.left_out.values())
    assert sum(row["images"] for row in done.tables["splits"].values()) == images
    assert sum(sum(cells.values()) for cells in done.tables["classes"].values()) == images


def test_each_image_is_in_the_folder_of_its_answer(export: Path, media: Path, tmp_path: Path) -> None:
    """Images, members of groups and frames of videos; what has several answers, or none, is left out."""
    done = convert(export, tmp_path / "set", to="yolo", media=media, **WEATHER)
    expected = {
        f"train/{next(iter(answers))}/{name}"
        for name, answers in _answers(export).items()
        if len(answers) == 1 and name.endswith("g")
    }
    found = files_in(tmp_path / "set").keys() - {"conversion.json", FILES}
    assert found == expected
    assert len({name.rpartition("_")[2] for name in found}) > 10  # frames, too
    _adds_up(done, len(found))
    records = records_of(export, "classifications")
    others = sum(record["name"] != "Weather" for record in records)
    assert done.records["classifications"].left_out["other_classification"] == others
    assert done.records["classifications"].read == len(records)


def test_every_class_has_its_folder_in_every_split(export: Path, media: Path, tmp_path: Path) -> None:
    """So that a trainer that numbers folders numbers them alike."""
    done = convert(export, tmp_path / "set", to="yolo", media=media, split="train=0.6,val=0.4", **WEATHER)
    classes = _options(export)
    for split in ("train", "val"):
        assert {path.name for path in (tmp_path / "set" / split).iterdir()} == classes
    _adds_up(done, done.files.number)


def _options(export: Path) -> set[str]:
    ontology = json.loads((export / "ontology.json").read_bytes())
    weather = next(one for one in ontology["classifications"] if one["attributes"][0]["name"] == "Weather")
    return {option["label"] for option in weather["attributes"][0]["options"]}


def test_a_classes_file_merges_options(export: Path, media: Path, tmp_path: Path) -> None:
    """What it leaves out is counted."""
    first, second, *rest = sorted(_options(export))
    file = tmp_path / "classes.txt"
    file.write_text(f'"a/b" = {first}, {second}\n')
    done = convert(export, tmp_path / "set", to="yolo", media=media, classes=file, **WEATHER)
    assert [path.name for path in (tmp_path / "set/train").iterdir()] == ["a_b"]
    answered = Counter(
        answer["options"][0]["name"]
        for record in records_of(export, "classifications")
        for answer in record["answers"]
        if answer["name"] == "Weather" and answer["options"]
    )
    assert done.records["classifications"].left_out["class"] == sum(answered[name] for name in rest)


def test_folders_are_names_of_files_each_another_one() -> None:
    """Whatever a class is called."""
    names = folder_names(["a/b", "a:b", "A_B", "..", "", "über Straße", "x" * 200, ".hidden"])
    assert names == ["a_b", "a_b-2", "A_B-3", "_", "_-2", "über Straße", "x" * 80, "hidden"]


def _ontology(*names: str, kind: str = "radio") -> bytes:
    return json.dumps(
        {
            "classifications": [
                {
                    "featureNodeHash": f"c{number}",
                    "attributes": [
                        {
                            "name": name,
                            "type": kind,
                            "featureNodeHash": f"a{number}",
                            "options": [{"label": "Yes", "featureNodeHash": f"o{number}"}],
                        }
                    ],
                }
                for number, name in enumerate(names)
            ]
        }
    ).encode()


def test_the_classification_is_named_or_the_only_one() -> None:
    """By its name or its feature hash."""
    assert question(_ontology("A", "B"), "B", None)[:2] == ("c1", "a1")
    assert question(_ontology("A", "A"), "c0", None)[:2] == ("c0", "a0")
    only = question(_ontology("A"), None, None)
    assert only.classes.classes == ClassList([DatasetClass("Yes", ("o0",))]).classes
    for ontology, wanted, says in [
        (_ontology("A", "B"), None, "name it with --classification: 'A', 'B'"),
        (
            _ontology("Weather"),
            "weather",
            "no classification with a radio is called 'weather': did you mean 'Weather'",
        ),
        (_ontology("A", "A"), "A", "several classifications with a radio are called 'A'"),
        (_ontology("A", kind="text"), None, "and the ontology has none"),
        (None, "A", "and the ontology has none"),
    ]:
        with pytest.raises(BadInput, match=says):
            question(ontology, wanted, None)


def test_what_classify_cannot_do_without_is_named(export: Path, media: Path, tmp_path: Path) -> None:
    """Media, a classification, records of classifications. Other tasks take none of it."""
    few = exported(
        tmp_path / "few", LiveWorld(rows=5), format=Format(emit=("objects", "units"), rows_per_part=10)
    )
    for target, options, says in [
        (export, {"task": "classify"}, "needs --media"),
        (export, {"task": "classify", "media": media}, "name it with --classification"),
        (few, {"media": media, **WEATHER}, "--task classify needs classifications"),
        (export, {"classification": "Weather"}, "--classification is for --task classify"),
        (export, {"task": "classify", "media": media, "no_empty": True}, "--no-empty is about objects"),
    ]:
        with pytest.raises(BadInput, match=says):
            convert(target, tmp_path / "set", to="yolo", **options)
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize("classification", ["Weather", "Quality"])
def test_answers_of_single_frames_stand_on_these(
    export: Path, media: Path, tmp_path: Path, classification: str
) -> None:
    """An export with a line for each frame gives the images that one with ranges gives."""
    world = LiveWorld(rows=120, branches=())
    framed = exported(tmp_path / "framed", world, format=Format(per_frame=True).for_files())
    found = []
    for number, target in enumerate((export, framed)):
        options: dict[str, Any] = {"task": "classify", "classification": classification, "media": media}
        convert(target, tmp_path / str(number), to="yolo", **options)
        found.append(files_in(tmp_path / str(number)).keys())
    assert found[0] == found[1]
    assert len(found[0]) > 5
