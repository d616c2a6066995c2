"""Listing items that stand for no text: an odd title is one row's matter."""

import json
from typing import Any

import msgspec
import pytest
from encord.http.common import RequestContext
from hypothesis import given
from hypothesis import strategies as st

from harvester.encord.listing import _checked, _spooled, split
from harvester.errors import CannotFinishNow
from harvester.labels.surrogates import replace_invalid_text, replace_unpaired_surrogates
from harvester.labels.wire import PlanRow
from harvester.plan.order import rows_of
from harvester.plan.planned import plan_lines
from harvester.settings import Format, Selection
from tests.labels.hostile import WORLD, extractor

ITEMS = list(WORLD.listing())[:40]
ODD = {
    "half a pair": rb"\ud800 odd",
    "the other half": rb"odd \udfff\ud83d\ude00",
    "no UTF-8": b"odd \xff\xfe",
    "a surrogate in UTF-8": b"odd \xed\xa0\x80",
}


def titled(title: bytes) -> bytes:
    """The listing with this for the title of its eighth row."""
    own = json.dumps(json.loads(ITEMS[7])["data_title"]).encode()
    items = [*ITEMS[:7], ITEMS[7].replace(own, b'"%b"' % title), *ITEMS[8:]]
    return b'{"status":200,"response":[%b]}' % b", ".join(items)


def planned(body: bytes, *emit: Any, piece: int = 1000) -> list[PlanRow]:
    pieces = (body[at : at + piece] for at in range(0, len(body), piece))
    listing = split(pieces, window=4096)
    return list(rows_of(plan_lines(listing, Selection(), Format(emit=emit or ("objects",)))))


@pytest.mark.parametrize("odd", ODD)
def test_one_odd_title_hides_no_row(odd: str) -> None:
    """All rows are planned, the odd one with U+FFFD in its title, the others as without it."""
    rows = planned(titled(ODD[odd]))
    usual = planned(titled(b"usual"))
    assert len(rows) == len(ITEMS)
    strange = [row for row in rows if "odd" in row.data_title]
    assert ["\ufffd" in row.data_title for row in strange] == [True]
    assert {row.label_hash for row in rows} == {row.label_hash for row in usual}
    assert [row for row in rows if row not in strange] == [row for row in usual if row.data_title != "usual"]
    assert planned(titled(ODD[odd]), piece=17) == rows


@pytest.mark.parametrize("odd", ODD)
def test_its_listing_item_is_written_with_what_is_no_text_replaced(odd: str) -> None:
    """Where rows are emitted, that row alone is noted; all else in its metadata is as it was sent."""
    for row in planned(titled(ODD[odd]), "rows"):
        sent = WORLD.label_row(row.label_hash or "") or b""
        harvest = extractor(Format(emit=("rows",))).extract(sent, row)
        assert bytes(row.metadata) in bytes(harvest.lines["rows"])
        strange = "odd" in row.data_title
        assert strange or bytes(row.metadata) in ITEMS
        assert [(note.note, note.detail) for note in harvest.notes] == (
            [("surrogates_replaced", "listing data_title")] if strange else []
        )
        assert json.loads(bytes(row.metadata))["data_title"] == row.data_title
        assert ("\ufffd" in row.data_title) == strange


def test_a_small_listing_with_an_odd_title_is_no_error() -> None:
    """What is read whole at once is read with the same patience."""
    for title in ODD.values():
        with _checked(_spooled([titled(title)]), "", RequestContext()) as items:
            assert sum(map(len, items)) == len(ITEMS)


def test_what_is_no_listed_row_still_stops_the_export() -> None:
    """Patience is for text only."""
    with pytest.raises(CannotFinishNow, match="cannot be read"):
        planned(b'{"status":200,"response":[{"data_hash":5}]}')


@given(st.text(st.sampled_from('ab\\"\ud800\udc00\ud83d\ude00é\n'), max_size=12))
def test_half_pairs_are_found_wherever_they_stand(text: str) -> None:
    """The same length, no half pair left, whole pairs and escaped backslashes untouched."""
    sent = json.dumps(text).encode()
    mended = replace_unpaired_surrogates(sent)
    assert len(mended) == len(sent)
    read = json.loads(sent)  # joins halves that came as a pair
    assert json.loads(mended) == "".join("\ufffd" if "\ud800" <= one <= "\udfff" else one for one in read)
    assert msgspec.json.decode(replace_invalid_text(sent)) == json.loads(mended)
