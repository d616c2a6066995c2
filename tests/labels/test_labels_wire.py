"""The label hash of a row, had without reading all of it where the platform's own order allows."""

import msgspec
import pytest

from harvester.labels.wire import label_hash_of


@pytest.mark.parametrize(
    ("row", "label_hash"),
    [
        (b'{"label_hash": "a-1", "data_units": {}}', "a-1"),
        (b' {\n "label_hash" :"a-1"}', "a-1"),
        (b'{"data_units": {"label_hash": "inner"}, "label_hash": "a-1"}', "a-1"),
        (b'{"label_hash": "a\\u002d1"}', "a-1"),
        (b'{"label_hash": "' + b"x" * 500 + b'"}', "x" * 500),
        (b'{"label_hash": null}', None),
        (b'{"label_hash": 7}', None),
        (b'["label_hash", "a-1"]', None),
        (b'{"data_units": {', None),
    ],
)
def test_a_row_says_its_hash(row: bytes, label_hash: str | None) -> None:
    """First or last, escaped or long, as bytes or as a slice of an answer; None where there is none."""
    assert label_hash_of(row) == label_hash
    assert label_hash_of(memoryview(row)) == label_hash
    if label_hash is not None:
        assert label_hash_of(msgspec.json.decode(row, type=msgspec.Raw)) == label_hash
