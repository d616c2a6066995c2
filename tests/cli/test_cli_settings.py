"""Settings are checked once, when they are made, in words that say what to change."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from encord.constants.enums import DataType
from encord.objects.common import Shape
from encord.orm.label_row import AnnotationTaskStatus, LabelStatus, ShadowDataState

from harvester import settings
from harvester.errors import BadInput
from harvester.live import live_records
from harvester.schema import FILE_KINDS, STREAM_KINDS
from harvester.settings import Connection, Format, Limits, Selection, connection_from_environment

BAD: dict[str, tuple[Callable[[], object], str]] = {
    "task status": (
        lambda: Selection(task_statuses=("DONE",)),
        "unknown task status 'DONE': one of QUEUED, ASSIGNED",
    ),
    "label status": (lambda: Selection(label_statuses=("X",)), "unknown label status 'X'"),
    "data type": (
        lambda: Selection(data_types=("film",)),
        "unknown data type 'film': one of video, img_group",
    ),
    "shape": (lambda: Selection(shapes=("box",)), "unknown shape 'box': one of bounding_box"),
    "shadow data": (lambda: Selection(shadow_data_state="ALL"), "unknown shadow data state 'ALL'"),
    "no date": (lambda: Selection(edited_after="yesterday"), "'yesterday' is no date"),
    "dates swapped": (lambda: Selection(edited_after="2024-02-01", edited_before="2024-01-01"), "swap them"),
    "dates equal": (
        lambda: Selection(edited_after="2024-01-01T01:00:00+01:00", edited_before="2024-01-01"),
        "swap them",
    ),
    "two branches": (
        lambda: Selection(branch_name="x", include_all_label_branches=True),
        "one branch or include all label branches",
    ),
    "empty title": (lambda: Selection(data_title_eq=""), "data title eq may not be empty"),
    "empty hash": (lambda: Selection(data_hashes=("a", "")), "data hashes may not be empty"),
    "confidence": (lambda: Selection(min_confidence=1.1), "minimum confidence must be from 0 to 1"),
    "confidence not a number": (lambda: Selection(min_confidence=float("nan")), "minimum confidence"),
    "no kinds": (lambda: Format(emit=()), "nothing to emit"),
    "unknown kind": (lambda: Format(emit=("boxes",)), "unknown record kind 'boxes'"),  # type: ignore[arg-type]
    "unknown kind alone": (lambda: Format(emit="object"), "one of objects, classifications, units, rows"),  # type: ignore[arg-type]
    "number for strings": (lambda: Selection(names=3), "names takes a string or several, not int"),  # type: ignore[arg-type]
    "number among strings": (
        lambda: Selection(names=("Car", 3)),
        "names takes strings, but one of them is of type int",
    ),  # type: ignore[arg-type]
    "bytes for strings": (lambda: Selection(authors=b"me"), "authors takes a string or several, not bytes"),  # type: ignore[arg-type]
    "mapping for strings": (
        lambda: Selection(shapes={"polygon": 1}),
        "shapes takes a string or several",
    ),  # type: ignore[arg-type]
    "nothing for strings": (lambda: Selection(names=None), "names takes a string or several, not NoneType"),  # type: ignore[arg-type]
    "number for kinds": (lambda: Format(emit=7), "emit takes a string or several, not int"),  # type: ignore[arg-type]
    "empty string alone": (lambda: Selection(names=""), "names may not be empty"),  # type: ignore[arg-type]
    "kind twice": (lambda: Format(emit=("objects", "objects")), "named twice"),
    "rows per part": (lambda: Format(rows_per_part=0), "rows per part must be from 1 to 1,000,000"),
    "concurrency": (lambda: Limits(concurrency=0), "concurrency"),
    "rate": (lambda: Limits(max_rps=-1), "requests a second"),
    "bundle size": (lambda: Limits(bundle_size=1001), "bundle size must be from 1 to 1,000"),
    "memory": (lambda: Limits(max_memory=1), "memory"),
    "duration": (lambda: Limits(max_duration=0), "duration"),
    "attempts": (lambda: Limits(max_attempts=0), "attempts"),
    "plain http": (lambda: Connection(domain="http://api.encord.com"), "must be https"),
    "no URL": (lambda: Connection(domain="api.encord.com"), "must be a URL"),
    "bad port": (lambda: Connection(domain="https://api.encord.com:x"), "no URL"),
    "password in URL": (lambda: Connection(domain="https://me:CANARY@api.encord.com"), "no user, password"),
    "query in URL": (lambda: Connection(domain="https://api.encord.com?sig=CANARY"), "no user, password"),
    "transport": (lambda: Connection(transport="carrier pigeon"), "unknown transport"),  # type: ignore[arg-type]
    "timeout": (lambda: Connection(read_timeout=0), "read timeout must be from"),
}


@pytest.mark.parametrize(("make", "message"), BAD.values(), ids=BAD.keys())
def test_bad_settings_are_refused(make: Callable[[], object], message: str) -> None:
    """Each wrong value is refused in one line that names it, without quoting a secret."""
    with pytest.raises(BadInput) as refused:
        make()
    assert message in refused.value.message
    assert "\n" not in refused.value.message
    assert "CANARY" not in refused.value.message


def test_good_settings_are_taken() -> None:
    """Defaults, edges of the ranges, and http on loopback are fine."""
    Connection(domain="http://127.0.0.1:8000")
    Connection(domain="http://[::1]:8000")
    Connection(domain="https://api.us.encord.com/")
    Selection(edited_after="2024-01-01", edited_before="2024-01-01T00:00:01Z", min_confidence=1.0)
    Format(emit=("rows",), rows_per_part=1_000_000)
    Limits(concurrency=1, bundle_size=1000, max_rps=0.5)


def test_words_are_the_sdk_s_own() -> None:
    """The words that a selection takes are those that the installed SDK knows."""
    assert set(settings.TASK_STATUSES) == {status.value for status in AnnotationTaskStatus}
    assert set(settings.LABEL_STATUSES) == {s.value for s in LabelStatus} - {
        LabelStatus.MISSING_LABEL_STATUS.value
    }
    assert set(settings.SHADOW_DATA_STATES) == {state.value for state in ShadowDataState}
    assert set(settings.DATA_TYPES) == {t.value for t in DataType} - {DataType.MISSING_DATA_TYPE.value}
    assert set(settings.SHAPES) == {shape.value for shape in Shape}


def test_settings_survive_being_stored() -> None:
    """Selection and format read back from JSON are equal, so that a stored plan can be compared."""
    selection = Selection(shapes=("polygon",), min_confidence=0.5, manual=False)
    assert msgspec.json.decode(msgspec.json.encode(selection), type=Selection) == selection
    assert msgspec.json.decode(msgspec.json.encode(Format()), type=Format) == Format()


def test_connection_is_not_printed_with_its_secrets() -> None:
    """The repr of a connection holds neither key nor token."""
    shown = repr(Connection(ssh_key="CANARY", bearer_token="CANARY", ssh_key_passphrase="CANARY"))
    assert "CANARY" not in shown


@pytest.mark.parametrize(
    ("environ", "given", "expected"),
    [
        ({}, {}, {}),
        ({"ENCORD_SSH_KEY_FILE": "/k"}, {}, {"ssh_key_file": Path("/k")}),
        ({"ENCORD_SSH_KEY": "pem"}, {}, {"ssh_key": "pem"}),
        ({"ENCORD_SSH_KEY_FILE": "/k", "ENCORD_SSH_KEY": "pem"}, {}, {"ssh_key_file": Path("/k")}),
        ({"HARVESTER_BEARER_TOKEN": "t", "ENCORD_SSH_KEY": "pem"}, {}, {"bearer_token": "t"}),
        ({"HARVESTER_BEARER_TOKEN": "t"}, {"ssh_key_file": Path("/mine")}, {"ssh_key_file": Path("/mine")}),
        ({"ENCORD_DOMAIN": "https://a.example"}, {}, {"domain": "https://a.example"}),
        (
            {"ENCORD_DOMAIN": "https://a.example"},
            {"domain": "https://b.example"},
            {"domain": "https://b.example"},
        ),
        ({"REQUESTS_CA_BUNDLE": "/ca"}, {}, {"ca_bundle": Path("/ca")}),
        (
            {"HARVESTER_SSH_KEY_PASSPHRASE": "p", "ENCORD_SSH_KEY": "pem"},
            {},
            {"ssh_key": "pem", "ssh_key_passphrase": "p"},
        ),
        ({"ENCORD_SSH_KEY": ""}, {}, {}),
    ],
)
def test_connection_from_environment(
    environ: dict[str, str], given: dict[str, object], expected: dict[str, object]
) -> None:
    """What is given outranks the environment; one credential is taken, the most explicit."""
    assert connection_from_environment(environ, **given) == Connection(**expected)  # type: ignore[arg-type]


def test_every_kind_is_known_to_format() -> None:
    """Format takes each of the record kinds."""
    for kind in get_args(settings.Kind):
        assert Format(emit=(kind,)).emit == (kind,)


@pytest.mark.parametrize(
    "names",
    ["Car", ["Car"], {"Car"}, frozenset({"Car"}), (name for name in ["Car"]), ("Car",)],
    ids=["string", "list", "set", "frozenset", "generator", "tuple"],
)
def test_several_strings_may_be_given_as_anything_that_holds_strings(names: Any) -> None:
    """A lone string is one of them, not its letters; what is stored and compared is the same tuple."""
    selection = Selection(names=names)
    assert selection == Selection(names=("Car",))
    assert hash(selection) == hash(Selection(names=("Car",)))
    assert msgspec.json.decode(msgspec.json.encode(selection), type=Selection) == selection


def test_every_field_of_several_strings_takes_one_alone() -> None:
    """All of a selection's, and the kinds of a format, which are words that are checked."""
    words = {
        "task_statuses": "COMPLETED",
        "label_statuses": "LABELLED",
        "data_types": "pdf",
        "shapes": "point",
    }
    fields = [name for name, value in msgspec.structs.asdict(Selection()).items() if value == ()]
    words["shapes"] = "point"
    assert {*words, "names", "datasets", "filters"} < set(fields)
    for field in fields:
        word = words.get(field, "x")
        assert getattr(Selection(**{field: word}), field) == (word,)
    assert Format(emit="rows").emit == ("rows",)  # type: ignore[arg-type]


def test_a_set_is_taken_in_order() -> None:
    """Strings are hashed differently in each process; an export is the same in all of them."""
    assert Selection(names={"c", "a", "b"}).names == ("a", "b", "c")  # type: ignore[arg-type]


def test_kinds_that_are_not_named_follow_from_where_the_records_go() -> None:
    """Those that are named stay."""
    assert Format().emit is None
    assert Format(rows_per_part=3).for_files() == Format(emit=FILE_KINDS, rows_per_part=3)
    assert Format().for_streams() == Format(emit=STREAM_KINDS)
    assert Format().kinds == STREAM_KINDS
    named = Format(emit=("units", "rows"))
    assert named.for_files() == named.for_streams() == named
    assert named.kinds == ("units", "rows")


@pytest.mark.parametrize("kinds", ["object", ["objects", "label"]])
def test_live_records_refuse_unknown_kinds_when_they_are_asked_for(kinds: Any, tmp_path: Path) -> None:
    """Before anything is read; the message names the known ones."""
    with pytest.raises(BadInput, match=r"kind '(object|label)': one of objects, .*, rows"):
        live_records(tmp_path, kinds=kinds)
