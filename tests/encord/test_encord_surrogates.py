"""Unpaired surrogate escapes are no text: U+FFFD in their place, all else byte for byte, and noted where."""

import json
from typing import Any

import pytest
from encord.http.common import RequestContext
from hypothesis import given, settings
from hypothesis import strategies as st

from harvester.encord import envelope
from harvester.fetch.source import RowsResponse
from harvester.labels.json_paths import first_invalid_number, paths_of, where
from harvester.labels.surrogates import has_invalid_text

CONTEXT = RequestContext(trace_id="t", domain="https://api.encord.com")
TEXT = st.text(st.sampled_from('ab\\"/\ud800\udc00\ud83d\ude00é\n\ufffd'), max_size=6)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=12,
)


def answer(*rows: bytes, many: bool = True) -> RowsResponse:
    response = b"[%b]" % b", ".join(rows) if many else rows[0]
    body = b'{"status":200,"response":%b}' % response
    found = envelope.rows_of(body, 7, many=many, as_sent=True, context=CONTEXT)
    assert found is not None
    assert found.body_bytes == len(body)
    return found


def text_of(text: str) -> str:
    """`text` with U+FFFD in place of each half of a pair that stands alone."""
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    return "".join("\ufffd" if "\ud800" <= one <= "\udfff" else one for one in whole)


def read_as_text(value: Any) -> Any:
    """`value` with such texts and keys in it; of keys that become the same the last counts."""
    if isinstance(value, dict):
        return {text_of(key): read_as_text(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [read_as_text(inner) for inner in value]
    return text_of(value) if isinstance(value, str) else value


@settings(max_examples=400, deadline=None)
@given(st.lists(st.dictionaries(TEXT, VALUES, max_size=4), min_size=1, max_size=4), st.booleans())
def test_rows_come_as_a_reader_that_replaces_would_have_them(rows: list[dict[str, Any]], ascii: bool) -> None:
    """Whatever stands where; a row without half a pair is the bytes that were sent."""
    sent = [json.dumps({"label_hash": str(number), **row}) for number, row in enumerate(rows)]
    # Where escapes are not needed only what cannot be sent otherwise is escaped.
    if not ascii:
        sent = [one.replace("\\u00e9", "é") for one in sent]
    found = answer(*(one.encode() for one in sent))
    for number, (row, before) in enumerate(zip(found.rows, sent, strict=True)):
        came = bytes(memoryview(row))  # type: ignore[arg-type]  # rows are as sent
        assert json.loads(came) == read_as_text(json.loads(before))
        assert len(came) == len(before.encode())
        assert (number in found.replaced) == (came != before.encode())
    odd = [number for number, before in enumerate(sent) if has_invalid_text(before.encode())]
    assert sorted(found.replaced) == odd


ROW = rb"""{"label_hash": "a", "data_units": {"u-1": {"labels": {"0": {"objects": [{}, {"name": "\ud83d"},
 {"\udfff key": [1, "\\ud83d", "\ud83d\ude00", {"deep": ["x", "\uDE00"]}]}]}}}}, "title": "\ud800\ud800"}"""
PATHS = [
    "data_units.u-1.labels.0.objects[1].name",
    "data_units.u-1.labels.0.objects[2].� key",
    "data_units.u-1.labels.0.objects[2].� key[3].deep[1]",
    "title",
]


@pytest.mark.parametrize("many", [True, False])
def test_where_they_stood_goes_along(many: bool) -> None:
    """The first places by their paths, the rest counted; whole pairs and escaped backslashes are none."""
    found = answer(ROW, many=many)
    assert found.replaced == {0: f"{', '.join(PATHS[:3])} and 1 more"}
    assert list(paths_of(ROW, has_invalid_text)) == PATHS


def test_neighbours_stay_byte_for_byte() -> None:
    """Also those that are longer, the same, or in front."""
    plain = b'{"label_hash":"b", "x": 1.00, "y": "\xc3\xa9\\u00e9"}'
    found = answer(plain, ROW, plain, b"{}", ROW.replace(b'"a"', b'"c"'))
    assert [bytes(memoryview(row)) for row in (found.rows[0], found.rows[2])] == [plain, plain]  # type: ignore[arg-type]
    assert sorted(found.replaced) == [1, 4]


def test_paths_are_counted_named_and_never_long() -> None:
    """Three by name; keys of any length are cut in the middle."""
    assert where([]) == ""
    assert where("ab") == "a, b"
    assert where(f"p{number}" for number in range(1003)) == "p0, p1, p2 and 1,000 more"
    [path] = paths_of(b'{"%b":{"end":"\\ud800"}}' % (b"k" * 5000), has_invalid_text)
    assert len(path) == 201
    assert path.endswith("k.end")


@pytest.mark.parametrize(
    ("sent", "found"),
    [
        (b'{"a":{"b":[1,{"c":NaN}]}}', ("NaN", "a.b[1].c")),
        (b'{"a": -Infinity , "b":NaN}', ("-Infinity", "a")),
        (b'{"NaN":"Infinity","x":"a NaN, \\" NaN"}', None),
        (b'{"NaN":"x","y":[Infinity]}', ("Infinity", "y[0]")),
        (b'{"a":1}', None),
        (b"NaN", ("NaN", "")),
        (b']}{"a":NaN', ("NaN", "a")),
    ],
)
def test_nan_and_infinity_are_found_outside_of_texts(sent: bytes, found: tuple[str, str] | None) -> None:
    """By the key that has it."""
    assert first_invalid_number(sent) == found


@given(st.binary(max_size=60) | st.text(st.sampled_from('{}[]",:\\ aN'), max_size=60).map(str.encode))
def test_any_bytes_have_paths(sent: bytes) -> None:
    """What is no JSON at all is walked through to its end all the same."""
    for path in paths_of(sent, lambda token: True):
        assert len(path) <= 201
