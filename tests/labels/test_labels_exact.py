"""Exactness: what was sent comes out unchanged, and what cannot be read fails one row, in one line."""

import json
import threading
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harvester.errors import BadInput, SkipRow
from harvester.labels.extract import Extractor
from harvester.labels.ontology import read_ontology
from harvester.labels.wire import label_hash_of
from harvester.settings import Format, Selection
from tests.labels.rows import ONTOLOGY, PLANNED, Json, answer, extract, flat, label, placed, row, unit

ALL_KINDS = Format(emit=("objects", "classifications", "rows"))

# Text as Python holds it, without halves of surrogate pairs: those are no text, and are refused.
texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
numbers = st.one_of(
    st.integers(-(10**40), 10**40).map(str),
    st.decimals(allow_nan=False, allow_infinity=False, places=30).map(str),
    st.sampled_from(["1.0", "-0", "-0.0", "1E5", "1e-400", "123456789012345678901234567890.10", "0.1e+2"]),
)
strings = st.one_of(
    texts.map(json.dumps),
    texts.map(lambda text: json.dumps(text, ensure_ascii=False)),
    st.just(r'"\u00e9\/\ud83d\ude00\u0000"'),
)
spaces = st.sampled_from(["", " ", "  ", "\t"])


def lists(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(st.lists(values, max_size=4), spaces).map(
        lambda it: f"[{it[1]}{f',{it[1]}'.join(it[0])}]"
    )


def dicts(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pairs = st.lists(
        st.tuples(strings, spaces, values).map(lambda it: f"{it[0]}{it[1]}:{it[1]}{it[2]}"), max_size=4
    )
    return st.tuples(pairs, spaces).map(lambda it: f"{{{it[1]}{f'{it[1]},'.join(it[0])}}}")


PLACES = (
    "data_units",
    "spaces",
    "scene",
    "object_answers",
    "object_actions",
    "classification_answers",
    "data_type",
    "branch_name",
    "data_sequence",
    "labels",
    "objects",
)

# JSON as text, so that its every byte is known: numbers of any length, escapes, spacing, repeated keys.
texts_of_json = st.recursive(
    st.one_of(numbers, strings, st.sampled_from(["null", "true", "false"])),
    lambda values: st.one_of(lists(values), dicts(values)),
    max_leaves=12,
)


def sent_row(unknown: str, pretty: bool = False) -> tuple[bytes, bytes]:
    """A video row whose only object has an unknown field with this JSON; the row, and the object in it."""
    marker = '"marker"'
    sent = json.dumps(row("video", unit({"7": flat(label(unknown="marker"))})), indent=2 if pretty else None)
    thing = json.dumps(label(unknown="marker"), indent=2 if pretty else None)
    return sent.replace(marker, unknown).encode(), thing.replace(marker, unknown).encode()


@settings(max_examples=150, deadline=None)
@given(unknown=texts_of_json)
def test_an_object_comes_out_byte_for_byte(unknown: str) -> None:
    """Numbers of any length, unknown fields, unicode, escapes, key order, spacing: nothing is touched."""
    sent, thing = sent_row(unknown)
    line = bytes(extract(sent).lines["objects"])
    assert b'"frame":7,"object":' + thing + b',"object_hash":' in line
    assert json.loads(line)["object"] == json.loads(thing)


@settings(max_examples=60, deadline=None)
@given(unknown=texts_of_json, answers=texts_of_json, extra=texts_of_json)
def test_answers_and_entries_come_out_byte_for_byte(unknown: str, answers: str, extra: str) -> None:
    """The value of a text answer, an unknown answer, a classification's entry, a range object's."""
    answered = [answer("plate", "answers"), answer("gone", "unknown")]
    entry = {"r1": {"shape": "audio", "featureHash": "x", "classifications": answered, "extra": "extra"}}
    text = json.dumps(
        row("audio", unit({}), object_answers=entry, classification_answers=placed(extra="extra"))
    )
    for marker, value in (("answers", answers), ("unknown", unknown), ("extra", extra)):
        text = text.replace(f': "{marker}"', f": {value}")
    harvest = extract(text.encode())
    line = bytes(harvest.lines["objects"])
    for found, sent in zip(json.loads(line)["attributes"], (answers, unknown), strict=True):
        as_text = json.dumps(sent, ensure_ascii=False)
        assert exactly_said(found, line) in (sent.encode(), as_text.encode(), "".join(sent.split()).encode())
    assert b'"extra": ' + extra.encode() in line
    assert b'"extra": ' + extra.encode() in bytes(harvest.lines["classifications"])


@settings(max_examples=60, deadline=None)
@given(unknown=texts_of_json)
def test_pretty_printed_rows_are_put_on_one_line(unknown: str) -> None:
    """Only spacing between values changes; every value keeps its text."""
    sent, _ = sent_row(unknown, pretty=True)
    compact, _ = sent_row(unknown)
    for kind, lines in extract(sent, format=ALL_KINDS).lines.items():
        line = bytes(lines)
        assert line.count(b"\n") == (1 if line else 0)
        assert b"\r" not in line
        flat_line = bytes(extract(compact, format=ALL_KINDS).lines[kind])
        # Compared as text of numbers: parsing must not round what differs.
        assert exactly(line) == exactly(flat_line)
    windows = sent.replace(b"\n", b"\r\n")
    assert extract(windows, format=ALL_KINDS) == extract(sent, format=ALL_KINDS)


def exactly_said(answer: Json, line: bytes) -> bytes:
    """The bytes of an answer's text or number, or its list of options as it is written."""
    start = line.index(b'"feature_hash":"%b"' % answer["feature_hash"].encode())
    key = next((key for key in ("options", "text", "number") if answer[key] is not None), None)
    if key is None:
        return b"null"
    start = line.index(b'"%b":' % key.encode(), start) + len(key) + 3
    end = {"options": b',"text":null', "text": b',"number":null', "number": b',"ranges":null'}[key]
    return line[start : line.index(end, start)]


def exactly(line: bytes) -> Any:
    """JSON with its numbers left as text and its keys as pairs."""
    return [
        json.loads(one, parse_int=str, parse_float=str, object_pairs_hook=list) for one in line.splitlines()
    ]


def wire(sent: Json) -> bytes:
    return json.dumps(sent).encode()


UNREADABLE: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "no valid JSON"),
    "a page": (b"<html>", "no valid JSON"),
    "a list": (b"[]", "unknown form: Expected `object`, got `array`"),
    "null": (b"null", "unknown form: Expected `object`, got `null`"),
    "cut short": (wire(row("video", unit({})))[:-9], "no valid JSON"),
    "more after it": (b"{} {}", "no valid JSON"),
    "NaN": (sent_row("NaN")[0], "no valid JSON"),
    "Infinity": (sent_row("-Infinity")[0], "no valid JSON"),
    "a leading zero": (sent_row("01")[0], "no valid JSON"),
    "a bare word": (sent_row("nul")[0], "no valid JSON"),
    "half a pair": (sent_row(r'"\ud800"')[0], "no valid JSON"),
    "half a pair in a key": (sent_row(r'{"\udc00x": 1}')[0], "no valid JSON"),
    "a wrong escape": (sent_row(r'"\q"')[0], "no valid JSON"),
    "a raw line break in a text": (sent_row('"a\nb"')[0], "no valid JSON"),
    "a raw control character": (sent_row('"a\x01b"')[0], "no valid JSON"),
    "no UTF-8 in what is copied": (sent_row('"PLACE"')[0].replace(b"PLACE", b"\xff\xfe"), "no valid UTF-8"),
    "an encoded surrogate": (sent_row('"PLACE"')[0].replace(b"PLACE", b"\xed\xa0\x80"), "no valid UTF-8"),
    "UTF-8 cut short": (sent_row('"PLACE"')[0].replace(b"PLACE", b"\xe2\x82"), "no valid UTF-8"),
    "no UTF-8 in a title": (b'{"data_title": "\xff"}', "no valid UTF-8"),
    "a byte order mark": (b"\xef\xbb\xbf{}", "no valid JSON"),
    "nested deep": (sent_row("[" * 100_000 + "]" * 100_000)[0], "nested too deep"),
    "nested deep in a field that is skipped": (
        b'{"x":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001,
        "nested too deep",
    ),
    "units in a list": (b'{"data_units": []}', "at `$.data_units`"),
    "a title that is a number": (
        b'{"data_title": 5}',
        "Expected `str | null`, got `int` - at `$.data_title`",
    ),
    "objects in a dict": (
        wire(row("video", unit({"0": {"objects": {}}}))),
        "at `$.data_units[...]",
    ),
    "an object that is a text": (
        wire(row("scene", unit({"0": flat("x")}))),
        "Expected `object`",
    ),  # type: ignore[arg-type]
    "a hash that is a number": (
        wire(row("scene", unit({"0": flat(label(objectHash=5))}))),
        "at `$.objectHash`",
    ),
    "answers in a dict": (
        wire(row("image", unit(flat(label())), object_answers={"o1": {"classifications": {}}})),
        "Expected `array | null`",
    ),
    "ranges of text": (
        wire(
            row(
                "image",
                unit(flat(label())),
                object_actions={"o1": {"actions": [answer("plate", "A", range=[["a", "b"]])]}},
            )
        ),
        "Expected `int | float`",
    ),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_a_row_that_cannot_be_read_is_skipped_with_one_line(case: str) -> None:
    """The message names the place, and nothing of the row's content; no other error ever comes out."""
    sent, reason = UNREADABLE[case]
    with pytest.raises(SkipRow) as caught:
        extract(sent, format=ALL_KINDS)
    assert reason in caught.value.message
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 300
    assert (caught.value.row, caught.value.operation) == ("label-1", "extract")


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a_damaged_row_is_read_or_skipped(data: st.DataObject) -> None:
    """Whatever bytes are cut out or put in: valid lines, or SkipRow."""
    sent = json.dumps(
        row(
            "video",
            unit({"0": flat(label(), classifications=[{"classificationHash": "c1"}])}),
            object_answers={"o1": {"classifications": [answer("plate", "x")]}},
            object_actions={"o1": {"actions": [answer("speed", 1, range=[[0, 1]])]}},
            classification_answers=placed(range=[[0, 1]]),
        )
    ).encode()
    start = data.draw(st.integers(0, len(sent)))
    end = data.draw(st.integers(start, min(len(sent), start + 12)))
    sent = sent[:start] + data.draw(st.binary(max_size=6)) + sent[end:]
    try:
        harvest = extract(sent, format=ALL_KINDS)
    except SkipRow:
        return
    for kind, lines in harvest.lines.items():
        assert bytes(lines).count(b"\n") == harvest.written[kind]
        for line in bytes(lines).splitlines():
            json.loads(line)


@settings(max_examples=200, deadline=None)
@given(place=st.sampled_from(PLACES), value=texts_of_json)
def test_any_json_in_any_place_is_read_or_skipped(place: str, value: str) -> None:
    """A part of the row that has another form than any seen never raises anything but SkipRow."""
    made: Json = row("scene", unit(flat(label())), spaces={}, scene={})
    if place in ("labels", "data_sequence"):
        made["data_units"]["unit-1"][place] = "marker"
    elif place == "objects":
        made["data_units"]["unit-1"]["labels"][place] = "marker"
    else:
        made[place] = "marker"
    sent = json.dumps(made).replace('"marker"', value).encode()
    try:
        harvest = extract(sent, format=ALL_KINDS)
    except SkipRow:
        return
    for lines in harvest.lines.values():
        for line in bytes(lines).splitlines():
            json.loads(line)


def test_a_repeated_key_counts_once_the_last_time() -> None:
    """As for the SDK's own parser."""
    sent = b'{"data_type":"image","data_units":{"u":{"labels":{"objects":[{"a":1}]}}},"data_type":"video"}'
    assert json.loads(bytes(extract(sent).lines["objects"]))["data_type"] == "video"


EMPTY = (
    {},
    [],
    None,
    {"0": {}},
    {"0": []},
    {"0": None},
    {"0": {"objects": None}},
    {"objects": []},
    {"objects": None, "classifications": None},
)


@pytest.mark.parametrize("labels", EMPTY, ids=str)
def test_empty_labels_come_in_many_forms(labels: Any) -> None:
    """All of them hold nothing."""
    sent = row("video", unit(labels), spaces=None, scene=None, object_answers=None, object_actions=None)
    assert extract(sent).written == {"objects": 0, "classifications": 0}
    del sent["data_units"]["unit-1"]["labels"], sent["spaces"], sent["object_answers"]
    assert extract(sent).written == {"objects": 0, "classifications": 0}
    assert extract({**sent, "data_units": {}}).written == {"objects": 0, "classifications": 0}


def test_rows_may_come_in_any_kind_of_buffer() -> None:
    """Bytes, a slice of a larger buffer, or a raw value give the same lines."""
    sent = json.dumps(row("video", unit({"0": flat(label(name="Zoë"))}))).encode()
    extractor = Extractor(Selection(), ALL_KINDS, None)
    whole = extractor.extract(sent, PLANNED)
    assert extractor.extract(memoryview(b"[" + sent + b"]")[1:-1], PLANNED) == whole
    assert extractor.extract(msgspec.Raw(sent), PLANNED) == whole


def test_a_character_that_lies_across_a_step_of_the_check() -> None:
    """The text is checked in steps; characters that two of them share are whole."""
    sent = b'{"a":"' + "é€😀".encode() * 250_000 + b'"}'
    assert extract(sent).written == {"objects": 0, "classifications": 0}
    with pytest.raises(SkipRow, match="UTF-8"):
        extract(sent.replace("😀".encode(), b"\xf0\x9f\x98", 1))


def test_one_extractor_serves_many_threads() -> None:
    """The same rows, read at the same time in eight threads, give the same lines."""
    extractor = Extractor(Selection(), ALL_KINDS, json.dumps(ONTOLOGY).encode())
    rows = [
        json.dumps(
            row(
                "video",
                unit({"0": flat(label())}),
                object_answers={"o1": {"classifications": [answer("plate", at)]}},
            )
        ).encode()
        for at in range(200)
    ]
    expected = [extractor.extract(one, PLANNED) for one in rows]
    found: list[list[Any]] = [[] for _ in range(8)]
    threads = [
        threading.Thread(
            target=lambda mine=mine: mine.extend(extractor.extract(one, PLANNED) for one in rows)
        )
        for mine in found
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(mine == expected for mine in found)


def test_the_envelope_tells_whose_row_it_is() -> None:
    """The check of a bundle's answers needs the hash alone, and no more of the row."""
    assert label_hash_of(b'{"data_units": 5, "label_hash": "a/b+c"}') == "a/b+c"
    assert label_hash_of(memoryview(b'{"label_hash": null}')) is None
    assert label_hash_of(b"[" * 100_000) is None
    assert label_hash_of(b'{"label_hash": "\xff"}') is None
    assert label_hash_of(b'{"label_hash": 5}') is None


@pytest.mark.parametrize(
    "structure", [b"", b"[]", b'{"objects": 5}', b"[" * 100_000, b'{"objects": [{"name": "\xff"}]}']
)
def test_an_ontology_that_is_none_is_bad_input(structure: bytes) -> None:
    """One clear line, before any row is asked for."""
    with pytest.raises(BadInput, match="the project's ontology cannot be read"):
        read_ontology(structure)
