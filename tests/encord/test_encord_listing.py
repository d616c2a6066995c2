"""The listing, split without being parsed: the same items as a parser finds, in flat memory."""

import gzip
import hashlib
import io
import json
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from encord.client import EncordClientProject
from encord.orm.label_row import AnnotationTaskStatus
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harvester.encord.body import AnswerTooLarge, BrokenAnswer, UnreadableAnswer
from harvester.encord.listing import Spool, split
from harvester.encord.sdk import _Parsed, list_options
from harvester.settings import Selection

TEXT = st.text(max_size=12) | st.sampled_from(['},{"a":', '"]}', "\\", '{"response": [', "},", "]"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
ITEMS = st.lists(
    st.dictionaries(TEXT, VALUES, max_size=4) | st.fixed_dictionaries({"a": VALUES, "b": VALUES}), max_size=20
)


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def items_of(data: bytes, *, size: int = 7, window: int = 40) -> list[Any]:
    return [json.loads(bytes(item)) for batch in split(pieces(data, size), window=window) for item in batch]


@settings(max_examples=120, deadline=None)
@given(
    items=ITEMS,
    size=st.integers(1, 60),
    window=st.integers(1, 200),
    order=st.permutations(["status", "response", "payload"]),
    indent=st.sampled_from([None, 0, 3]),
    ascii_only=st.booleans(),
)
@example([{"a": {"a": 1}}, {"a": {"a": 2}}], 3, 20, ["response", "status", "payload"], None, True)
def test_the_items_are_those_that_a_parser_finds(
    items: list[Any], size: int, window: int, order: list[str], indent: int | None, ascii_only: bool
) -> None:
    """Whatever the items hold and however they come: the same items, in the same order."""
    whole = {"status": 200, "response": items, "payload": None}
    sent = json.dumps({key: whole[key] for key in order}, indent=indent, ensure_ascii=ascii_only)
    assert items_of(sent.encode("utf-8", "surrogatepass"), size=size, window=window) == items


@settings(max_examples=50, deadline=None)
@given(items=st.lists(st.fixed_dictionaries({"a": TEXT, "b": VALUES}), min_size=1), share=st.floats(0, 1))
def test_a_listing_cut_short_is_never_taken_for_a_whole_one(items: list[Any], share: float) -> None:
    """No prefix of a listing ends without an error."""
    sent = json.dumps({"status": 200, "response": items}).encode()
    with pytest.raises(BrokenAnswer):
        items_of(sent[: int((len(sent) - 1) * share)])


def test_the_bytes_of_an_item_are_as_sent() -> None:
    """Numbers, escapes and spaces inside an item stay."""
    first, second = b'{"a": 1.00,\n "b":"\\u00e9"}', b'{"a":1e3 }'
    sent = b'{"status":200,"response":[' + first + b" , " + second + b"]}"
    assert [bytes(item) for batch in split([sent]) for item in batch] == [first, second]


@pytest.mark.parametrize("window", [1, 30, 1000])
def test_half_a_surrogate_pair_in_a_title_spoils_no_listing(window: int) -> None:
    """Its item is as it was sent, too, and so are whole pairs and all neighbours."""
    items = [
        b'{"a":"%b"}' % text
        for text in (b"x", rb"\ud800", rb"\ud83d\ude00", rb"\\ud800", rb"\uDFFF\ud83d", b"y")
    ]
    sent = b'{"status":200,"response":[%b]}' % b", ".join(items)
    found = [bytes(item) for batch in split(pieces(sent, 7), window=window) for item in batch]
    assert found == items


@pytest.mark.parametrize(
    "sent",
    [
        b'{"status":200,"response":null}',
        b'{"status":200,"response":{}}',
        b'{"status":200}',
        b"<html>",
        b"",
        b'{"status":200,"response":[{"a":1},]}',
        b'{"status":200,"response":[{"a":1}{"a":2}]}',
        b'{"status":200,"response":[{"a":1}]',
        b'{"status":200,"response":[{"a":1}]}}',
        b'{"status":200,"response":[{"a":NaN}]}',
        b'{"status":200,"response":[{"a":1}],"response":[]',
    ],
)
def test_what_is_no_listing_is_broken(sent: bytes) -> None:
    """Anything but an envelope with a list in it raises, also where the rows before it were fine."""
    with pytest.raises((BrokenAnswer, UnreadableAnswer)):
        items_of(sent)


def test_one_item_without_end_is_given_up() -> None:
    """A row that goes on for ever is refused before it fills the memory."""
    endless = (b"x" * 16 * 1024**2 for _ in iter(int, 1))

    def sent() -> Iterator[bytes]:
        yield b'{"status":200,"response":[{"a":"'
        yield from endless

    with pytest.raises(AnswerTooLarge):
        list(split(sent()))


def test_memory_does_not_grow_with_the_listing() -> None:
    """A listing of 60 MB is read within a few windows' memory."""
    row = json.dumps(
        {"data_hash": "d" * 36, "data_title": "t" * 200, "spaces": {"s": {"frames": [{"a": 1}]}}}
    )
    block = (row + ",") * 3000
    count = 0

    def sent() -> Iterator[bytes]:
        yield b'{"status":200,"response":['
        for _ in range(60):
            yield block.encode()
        yield row.encode() + b"]}"

    tracemalloc.start()
    try:
        for batch in split(sent()):
            count += len(batch)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 180_001
    assert peak < 16 * 1024**2


@pytest.mark.parametrize("reads", [0, 1, 2])
def test_a_spool_is_read_again_and_tells_the_digest_of_what_it_holds(reads: int) -> None:
    """That of the body, whatever its compression, before and after and in the midst of reading."""
    body = json.dumps({"status": 200, "response": [{"a": number} for number in range(300_000)]}).encode()
    sent = hashlib.sha256(body).hexdigest()
    for spool in (Spool(io.BytesIO(body), ""), Spool(io.BytesIO(gzip.compress(body)), "gzip")):
        with spool:
            next(iter(spool))
            for _ in range(reads):
                assert sum(map(len, spool)) == 300_000
            assert spool.digest() == spool.digest() == sent


def test_a_spool_that_is_damaged_has_no_digest() -> None:
    """Its compression is cut short: there is no saying what was sent."""
    with Spool(io.BytesIO(gzip.compress(b"{}")[:-1]), "gzip") as spool, pytest.raises(BrokenAnswer):
        spool.digest()


def test_every_filter_reaches_the_sdks_own_call() -> None:
    """A selection's listing filters are arguments that the SDK's list call has, as it wants them."""
    selection = Selection(
        task_statuses=("COMPLETED", "IN_REVIEW"),
        edited_before="2026-02-01",
        edited_after="2026-01-01",
        data_title_eq="a",
        data_title_like="b%",
        workflow_graph_node_title_eq="c",
        workflow_graph_node_title_like="d%",
        branch_name="main",
        shadow_data_state="SHADOW_DATA",
        data_hashes=("e",),
        label_hashes=("f",),
    )
    sent: dict[str, Any] = {}

    class Querier:
        def get_multiple(self, _: Any, *, payload: dict[str, Any], retryable: bool) -> list[Any]:
            sent.update(payload)
            return []

    client = EncordClientProject(querier=Querier(), config=None, api_client=None)  # type: ignore[arg-type]
    client.list_label_rows(**list_options(selection, with_metadata=True))
    assert sent == {
        "edited_before": "2026-02-01T00:00:00+00:00",
        "edited_after": "2026-01-01T00:00:00+00:00",
        "label_statuses": [AnnotationTaskStatus.COMPLETED.value, AnnotationTaskStatus.IN_REVIEW.value],
        "shadow_data_state": sent["shadow_data_state"],
        "include_uninitialised_labels": True,
        "data_hashes": ["e"],
        "label_hashes": ["f"],
        "data_title_eq": "a",
        "data_title_like": "b%",
        "workflow_graph_node_title_eq": "c",
        "workflow_graph_node_title_like": "d%",
        "include_client_metadata": True,
        "include_images_data": False,
        "include_children": False,
        "include_workflow_graph_node": True,
        "include_all_label_branches": False,
        "branch_name": "main",
        "client_metadata_as_signed_url": False,
    }
    assert sent["shadow_data_state"] is not None


def test_rows_that_the_sdk_has_parsed_are_written_again_in_batches() -> None:
    """The plain transport gives the same kind of items."""
    listing = _Parsed([{"data_hash": str(number)} for number in range(1001)])
    assert listing.digest() is None
    batches = list(listing)
    assert batches == list(listing)
    assert [len(batch) for batch in batches] == [1000, 1]
    assert json.loads(bytes(batches[1][0])) == {"data_hash": "1000"}
