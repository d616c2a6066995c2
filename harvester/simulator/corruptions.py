"""Corruptions of label rows and listing items."""

import re
from typing import Any

import orjson

from harvester.simulator.faults import HOSTILE_TITLES, RowTrouble

DEPTH = 100_000
HUGE = 50_000_000  # bytes

# Put in front of an object's shape: a field that no reader knows, or one that is there already.
_FIELDS: dict[str, bytes] = {
    "nested": b'"simulator":' + b"[" * DEPTH + b"]" * DEPTH + b",",
    "line_separator": '"simulator":"one\u2028two\u2029three\u0085four",'.encode(),
    "surrogate": rb'"simulator":"\ud800 alone",',
    "big_integer": b'"simulator":123456789012345678901234567890,',
    "duplicate_keys": b'"simulator":1,"simulator":2,"color":"#000000",',
    "nan": b'"simulator":[NaN,Infinity,-Infinity,1e400],',
    "surrogates": rb'"simulator\udfff":["\ud83d\ude00","\uD83D\uD83D\ude00"],',
}
# Values that are replaced: the first of a key, which is the row's own.
_OTHERS = {
    "other_branch": (re.compile(rb'"branch_name":(null|"[^"]*")'), b'"branch_name":"elsewhere"'),
    "other_data": (re.compile(rb'"data_hash":"[^"]{8}'), b'"data_hash":"00000000'),
    "other_dataset": (re.compile(rb'"dataset_hash":"[^"]{8}'), b'"dataset_hash":"00000000'),
    "nan_confidence": (re.compile(rb'"confidence":[0-9.e-]+'), b'"confidence":NaN'),
}
# Texts that get an unpaired surrogate at their begin: names of objects, answers in words, titles.
_TEXTS = re.compile(rb'"objectHash":"[^"]*","name":"|"answers":"|"data_title":"')
_LONE = rb"\ud83d"


def corrupted(row: bytes, trouble: RowTrouble) -> bytes:
    """Return `row` with `trouble`; unchanged for a trouble of the answer around it."""
    if trouble == "broken":
        return row[: len(row) // 2]
    if trouble == "pretty":
        return orjson.dumps(orjson.loads(row), option=orjson.OPT_INDENT_2)
    if trouble in _OTHERS:
        pattern, other = _OTHERS[trouble]
        return pattern.sub(other, row, count=1)
    if trouble == "surrogates":
        row = _TEXTS.sub(lambda found: found[0] + _LONE, row)
    extra = b'"simulator":"%b",' % (b"x" * HUGE) if trouble == "huge" else _FIELDS.get(trouble)
    if extra is None:
        return row
    at = row.find(b'"shape":')
    at = at if at > 0 else 1  # no object: into the row itself
    return row[:at] + extra + row[at:]


def corrupted_item(item: bytes, trouble: RowTrouble) -> bytes:
    """Return a listing's item with `trouble`; unchanged for a trouble of the label row alone."""
    if trouble != "surrogates":
        return item
    item = _TEXTS.sub(lambda found: found[0] + _LONE, item)
    metadata = rb'"client_metadata":{"simulator\udfff":"' + _LONE + b'"'
    item = item.replace(b'"client_metadata":{}', metadata + b"}")
    return item.replace(b'"client_metadata":{"', metadata + b',"') if metadata not in item else item


def retitled(item: bytes, number: int) -> bytes:
    """Return a row, or a listing's item, with the `number`-th hostile title instead of its own."""
    fields: dict[str, Any] = orjson.loads(item)
    title = HOSTILE_TITLES[number % len(HOSTILE_TITLES)]
    fields["data_title"] = title
    for unit in (fields.get("data_units") or {}).values():
        unit["data_title"] = title
    return orjson.dumps(fields)
