"""Rows that are older than listed: told by their stamps, asked for once more, and then noted."""

import json
from collections.abc import Iterator
from contextlib import aclosing
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.errors import SkipRow
from harvester.events import Counters, once
from harvester.fetch.freshness import Clocks, edited_at, moment, older_rows
from harvester.fetch.pool import FailedRow
from harvester.labels.extract import Extractor
from harvester.labels.notes import Note
from harvester.labels.wire import LabelRow, PlanRow
from harvester.settings import Format, Selection
from tests.fakes import FakeLabelRows
from tests.fetch.pool_kit import Heard, a_pool, plan
from tests.fetch.virtual_loop import VirtualLoop, calls_on_the_loop

BEFORE, SINCE = "2026-08-30 09:00:00", "2026-09-01 10:00:00"
DETAIL = f"listed as edited {SINCE}, the row says {BEFORE}"


# -- stamps -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "Thu, 09 Feb 2023 14:12:03 UTC",
        "Thu, 09 Feb 2023 14:12:03 GMT",
        "Thu, 9 Feb 2023 14:12:03",
        "2023-02-09 14:12:03",
        "2023-02-09 14:12:03.999999",
        "2023-02-09 14:12:03.196777+00:00",
        "2023-02-09T14:12:03Z",
        "2023-02-09T14:12:03",
        "2023-02-09T15:12:03.5+01:00",
    ],
)
def test_all_forms_of_a_date_mean_the_same_second(text: str) -> None:
    """Whatever the zone, and however fine."""
    assert str(moment(text)) == "2023-02-09 14:12:03+00:00"


NO_DATES = (
    "", "soon", ",", "2023-02-09", "2023-02-30 14:12:03", "Thu, 09 Foo 2023 14:12:03 UTC",
    "Thu, 09 Feb 2023 14:12:03 PST", "0001-01-01 00:00:00+23:00", "1675951923000000000000",
)  # fmt: skip


@pytest.mark.parametrize("text", NO_DATES)
def test_what_is_no_date_says_nothing(text: str) -> None:
    """No moment, and no error."""
    assert moment(text) is None


@given(st.text() | st.text(st.sampled_from("0123456789-:, TZ+FebGMT"), min_size=15, max_size=40))
def test_any_text_is_read_as_a_date_or_not_at_all(text: str) -> None:
    """What the server writes there never ends an export."""
    found = moment(text)
    assert found is None or found.microsecond == 0


def listed(stamp: str | None) -> PlanRow:
    return msgspec.structs.replace(plan(1)[0], last_edited_at=stamp)


SAME = "Tue, 01 Sep 2026 10:00:00 GMT"
STAMPS: list[tuple[Any, str | None, bool]] = [
    (BEFORE, SINCE, True),
    ("Sun, 30 Aug 2026 09:00:00 UTC", "2026-09-01T12:00:00+02:00", True),
    (SINCE, SINCE, False),
    (SAME, SINCE, False),
    ("2026-09-01 10:00:00.1", "2026-09-01 10:00:00.9", False),
    (SINCE, BEFORE, False),
    (None, SINCE, False),
    (BEFORE, None, False),
    (1_700_000_000, SINCE, False),
    ("yesterday", SINCE, False),
    (BEFORE, "today", False),
]


@pytest.mark.parametrize(("own", "stamp", "older"), STAMPS)
def test_a_row_is_older_only_where_both_stamps_are_dates_and_say_so(
    own: Any, stamp: str | None, older: bool
) -> None:
    """As its skeleton, and as sent: with the stamp among the first fields, and far behind."""
    front = {"label_hash": "a", "branch_name": None, "data_title": 'a "b"', "last_edited_at": own}
    behind = {"pad": {"last_edited_at": "x", "y": "." * 5000}, "last_edited_at": own}
    for row in (
        LabelRow(last_edited_at=own), json.dumps(front).encode(), json.dumps(behind).encode(),
        json.dumps(behind, indent=1).encode(),
    ):  # fmt: skip
        found = older_rows([listed(stamp)], [0], [row])
        assert list(found) == ([0] if older else [])
        assert not found or DETAIL in found[0]


def test_a_row_that_did_not_come_is_not_older() -> None:
    """Places are those of the rows asked for."""
    rows = [LabelRow(last_edited_at=BEFORE)]
    assert older_rows([listed(SINCE), listed(SINCE)], [None, 0], rows) == {1: DETAIL}


@pytest.mark.parametrize("row", [b"", b"[]", b"no", b'{"last_edited_at":[]}', b"[" * 100_000, b'{"\xff":1}'])
def test_what_is_no_label_row_has_no_stamp(row: bytes) -> None:
    """What is wrong with it shows where it is read."""
    assert edited_at(row) is None


# -- clocks -----------------------------------------------------------------------------------------------


def test_clocks_differ_where_more_than_ten_of_the_first_200_rows_are_older() -> None:
    """It is found out once; what comes after them says nothing of it."""
    few, many, late = Clocks(), Clocks(), Clocks()
    assert not few.answered(150, range(10))
    assert not few.answered(150, range(50, 150))  # places 50 to 149 are rows 201 and later
    assert not few.differ
    assert not many.answered(100, range(10))
    assert many.answered(100, [99])
    assert not many.answered(100, range(100)), "it is told once"
    assert many.differ
    assert many.told() | {"older": 11, "of": 200} == many.told()
    assert not late.answered(200, [])
    assert not late.answered(1000, range(1000))


def test_what_several_processes_find_out_is_told_once() -> None:
    """Other events pass."""
    heard = Heard()
    hear = once("a", heard)
    for event in ("a", "b", "a", "b"):
        hear(event, {})
    assert [event for event, _ in heard.events] == ["a", "b", "b"]


# -- the pool ---------------------------------------------------------------------------------------------


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "asyncio", {"loop_factory": VirtualLoop}


@pytest.fixture(autouse=True)
def virtual_calls() -> Iterator[None]:
    with calls_on_the_loop():
        yield


class Copies(FakeLabelRows):
    """Rows of which the first `asks` answers that hold them are from before their last edit."""

    def __init__(self, rows: list[PlanRow], older: list[int], asks: float = 1, **options: Any) -> None:
        self.left = {rows[number].label_hash or "": asks for number in older}
        names = [row.label_hash or "" for row in rows]
        super().__init__({name: self.as_of(name, SAME) for name in names}, **options)

    @staticmethod
    def as_of(label_hash: str, stamp: str) -> bytes:
        return json.dumps({"label_hash": label_hash, "last_edited_at": stamp, "data_units": {}}).encode()

    def answer(self, asked: tuple[str, ...]) -> Any:
        answer = super().answer(asked)
        rows = []
        for row in answer.rows:
            label_hash = json.loads(row)["label_hash"]
            left = self.left.get(label_hash, 0)
            self.left[label_hash] = left - 1
            rows.append(self.as_of(label_hash, BEFORE) if left > 0 else row)
        return msgspec.structs.replace(answer, rows=rows)


EXTRACTOR = Extractor(Selection(), Format(emit=("rows",)), None)


async def harvest(
    source: FakeLabelRows, rows: list[PlanRow], **options: Any
) -> tuple[list[tuple[str, str]], list[Note], bool]:
    """The rows that came, each with its stamp or with why it failed; the notes; whether clocks differ."""
    came, notes = list[tuple[str, str]](), list[Note]()
    async with a_pool(source, **options) as pool, aclosing(pool.stream(rows, EXTRACTOR)) as outcomes:
        async for some, outcome in outcomes:
            if isinstance(outcome, FailedRow):
                came.append((outcome.label_hash, outcome.error))
                continue
            notes += outcome.notes
            lines = bytes(outcome.lines["rows"]).splitlines()
            assert len(lines) == len(some)
            for line in lines:
                row = json.loads(line)["row"]
                came.append((row["label_hash"], row["last_edited_at"]))
        return came, notes, pool.clocks_differ


def stamped(count: int) -> list[PlanRow]:
    return [msgspec.structs.replace(row, last_edited_at=SINCE) for row in plan(count)]


@pytest.mark.anyio
@pytest.mark.parametrize("bundle_size", [None, 1, 7])
async def test_a_row_that_is_older_than_listed_is_asked_for_once_more(bundle_size: int | None) -> None:
    """It comes as it is by then, in its place, and no word is lost on it; its neighbours come once."""
    rows, counters = stamped(300), Counters()
    source = Copies(rows, [40, 41, 290])
    came, notes, differ = await harvest(source, rows, bundle_size=bundle_size, counters=counters)
    assert came == [(row.label_hash, SAME) for row in rows]
    assert (notes, differ, counters.retries) == ([], False, 0)
    asked = [name for call in source.calls for name in call]
    twice = {name for name in asked if asked.count(name) > 1}
    assert twice == {"row-0040", "row-0041", "row-0290"}
    assert len(asked) == 303


@pytest.mark.anyio
@pytest.mark.parametrize("bundle_size", [None, 1])
async def test_a_row_that_stays_older_is_harvested_and_noted(bundle_size: int | None) -> None:
    """After one more answer, however often it would be asked for; both stamps are named."""
    rows = stamped(300)
    source = Copies(rows, [40, 290], asks=9)
    came, notes, _ = await harvest(source, rows, bundle_size=bundle_size)
    assert [name for name, _ in came] == [row.label_hash for row in rows]
    assert [stamp for _, stamp in came].count(BEFORE) == 2
    assert notes == [Note(f"row-{n:04}", f"title of row-{n:04}", "stale", DETAIL) for n in (40, 290)]
    assert sum("row-0040" in call for call in source.calls) == 2


@pytest.mark.anyio
@pytest.mark.parametrize("bundle_size", [None, 1])
async def test_what_was_replaced_in_a_row_is_noted_with_it(bundle_size: int | None) -> None:
    """By its place in the answer, which may come in any order; beside what else is to say of the row."""
    rows = stamped(60)

    class Replaced(Copies):
        def answer(self, asked: tuple[str, ...]) -> Any:
            answer = super().answer(asked)
            names = [json.loads(row)["label_hash"] for row in reversed(answer.rows)]
            replaced = {names.index(name): "data_title" for name in ("row-0007", "row-0040") if name in names}
            return msgspec.structs.replace(answer, rows=answer.rows[::-1], replaced=replaced)

    came, notes, _ = await harvest(Replaced(rows, [40], asks=9), rows, bundle_size=bundle_size)
    assert [name for name, _ in came] == [row.label_hash for row in rows]
    assert notes == [
        Note("row-0007", "title of row-0007", "surrogates_replaced", "data_title"),
        Note("row-0040", "title of row-0040", "stale", DETAIL),
        Note("row-0040", "title of row-0040", "surrogates_replaced", "data_title"),
    ]


@pytest.mark.anyio
async def test_where_many_of_the_first_rows_are_older_the_clocks_differ() -> None:
    """One warning, and then no row is asked for again; what was noted before is for who keeps it to drop."""
    rows, heard = stamped(1000), Heard()
    source = Copies(rows, list(range(0, 1000, 2)), asks=9)
    came, notes, differ = await harvest(source, rows, on_event=heard, concurrency=1)
    assert differ
    assert len(heard.of("rows.clocks_differ")) == 1
    assert [name for name, _ in came] == [row.label_hash for row in rows]
    assert len(notes) <= 10
    asked = [name for call in source.calls for name in call]
    assert len(asked) < 1000 + 200, "only those are asked for again that came before it was known"


@pytest.mark.anyio
async def test_a_row_that_has_gone_when_it_is_asked_for_again_is_failed_for_that() -> None:
    """It is not written as it was."""
    rows = stamped(50)
    source = Copies(rows, [30])

    def on_call(asked: tuple[str, ...]) -> None:
        if "row-0030" in asked and source.left["row-0030"] < 1:
            raise SkipRow("it is gone", failure="gone")

    source.on_call = on_call
    came, _, _ = await harvest(source, rows)
    assert came[30] == ("row-0030", "gone")
    assert len(came) == 50


@pytest.mark.anyio
async def test_asking_again_costs_a_row_no_attempt() -> None:
    """With one attempt, refusals and all: the second answer is another request's."""
    rows = stamped(30)
    came, notes, _ = await harvest(Copies(rows, [3, 4]), rows, max_attempts=1)
    assert came == [(row.label_hash, SAME) for row in rows]
    assert notes == []
