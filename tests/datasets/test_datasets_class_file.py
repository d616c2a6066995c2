"""The classes file: order, names, merging, what is left out, and what is refused."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.datasets.class_file import ClassList, DatasetClass, KnownClass, class_list
from harvester.errors import BadInput

KNOWN = [
    KnownClass("f1", "Car"),
    KnownClass("f2", "Lorry"),
    KnownClass("f3", "Van, small"),
    KnownClass("f4", "Person"),
    KnownClass("f5", "Person"),
]


def _read(folder: Path, text: str | bytes, known: list[KnownClass] = KNOWN) -> ClassList:
    file = folder / "classes.txt"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return class_list(known, file)


def test_without_a_file_all_classes_are_in_ontology_order() -> None:
    """One for each feature hash, also where names are equal."""
    classes = class_list(KNOWN, None)
    assert classes.names == ["Car", "Lorry", "Van, small", "Person", "Person"]
    assert [classes.position(one.feature_hash) for one in KNOWN] == [0, 1, 2, 3, 4]
    assert classes.position("unknown") is None
    assert classes.position(None) is None


def test_a_file_orders_renames_merges_and_leaves_out(tmp_path: Path) -> None:
    """A name stands for all classes that have it; a feature hash for one."""
    text = '\ufeff# mine\n\nTruck = Lorry, "Van, small"\r\n  Car  \nPedestrian = f5\n'
    classes = _read(tmp_path, text)
    assert classes.classes == (
        DatasetClass("Truck", ("f2", "f3")),
        DatasetClass("Car", ("f1",)),
        DatasetClass("Pedestrian", ("f5",)),
    )
    assert classes.position("f4") is None
    assert _read(tmp_path, "Person").classes == (DatasetClass("Person", ("f4", "f5")),)
    assert _read(tmp_path, "f4\n").classes == (DatasetClass("Person", ("f4",)),)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Car\nBus", "line 2: the project has no class 'Bus'"),
        ("car", "line 1: the project has no class 'car': did you mean 'Car'?"),
        ("Car\nCar", "line 2: 'Car' is named twice, first in line 1"),
        ("Vehicle = Car\nCar", "line 2: 'Car' is named twice, first in line 1"),
        ("Vehicle = Car, f1", "line 1: 'Car' is named twice"),
        ("A = Car\nA = Lorry", "line 2: there are two classes 'A'"),
        ("A = Car = Lorry", "line 1: a line is written as: new name = old name, other old name"),
        ("Car, Lorry", "line 1: a line is written as: new name = old name, other old name"),
        ("A =", "line 1: a name is missing"),
        ("= Car", "line 1: a name is missing"),
        ("A = Car,", "line 1: a name is missing"),
        ('A = "Car', "line 1: a name with quotation marks"),
        ('A = Ca"r', "line 1: a name with quotation marks"),
        ('A = "\\x"', "line 1: "),
        ('"\\ud800" = Car', "line 1: a name holds half of a character"),
        ("# nothing\n", "names no class"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"#" * (4 * 1024**2 + 1), "is too large for a list of classes"),
    ],
)
def test_what_is_no_list_of_classes_is_refused_in_one_line(
    tmp_path: Path, text: str | bytes, says: str
) -> None:
    """With the line, and what is wrong with it."""
    with pytest.raises(BadInput) as refused:
        _read(tmp_path, text)
    assert says in refused.value.message
    assert "\n" not in refused.value.message


@pytest.mark.parametrize(
    ("name", "says"), [("gone", "No such file"), (".", "Is a directory"), ("\0", "null")]
)
def test_a_file_that_cannot_be_read_is_refused_in_one_line(tmp_path: Path, name: str, says: str) -> None:
    """With the system's reason."""
    with pytest.raises(BadInput, match=says):
        class_list(KNOWN, tmp_path / name)


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    """Nobody may ever write into it, and what came through it could not be read again."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadInput, match="is no regular file"):
        class_list(KNOWN, tmp_path / "pipe")


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1, unique=True))
def test_any_name_can_be_written_as_a_json_string(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    """Whatever an ontology calls its classes."""
    import json

    known = [KnownClass(f"hash {number}", name) for number, name in enumerate(names)]
    lines = [f"{json.dumps('new ' + name)} = {json.dumps(name)}" for name in reversed(names)]
    folder = tmp_path_factory.getbasetemp()
    assert _read(folder, "\n".join(lines), known).names == ["new " + name for name in reversed(names)]
