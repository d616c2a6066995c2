"""Estimates from samples: strata, intervals, and rows drawn for them."""

import random

import pytest

from harvester.forecast.course import CallCost, Course, cost_of, course
from harvester.forecast.estimate import Estimate, exactly, total
from harvester.forecast.sample import Draw
from harvester.labels.wire import PlanRow
from harvester.settings import Limits


def row(number: int, data_type: str = "IMAGE") -> PlanRow:
    return PlanRow(
        dataset_hash="d", data_title="t", label_hash=f"label-{number}", branch_name="main", data_hash="x",
        data_type=data_type,
    )  # fmt: skip


def test_what_was_seen_whole_is_known() -> None:
    """No interval where every row was drawn."""
    assert total([(3, [1, 2, 3]), (1, [10])]) == exactly(16)


def test_a_stratum_stands_for_its_rows() -> None:
    """The textbook's numbers: mean times rows, and what is drawn is the least there can be."""
    found = total([(100, [1.0, 3.0] * 10), (2, [50.0, 70.0])])
    assert found.value == pytest.approx(320)
    # s² = 20/19, (1 - 20/100) · 100² · s² / 20 = 421; Student's t of 19 degrees is 2.539 at 98 %.
    assert found.high - found.value == pytest.approx(2.539 * 421.05**0.5, rel=1e-3)
    assert total([(1000, [0.0, 0.0, 9.0])]).low == 9


def test_none_seen_is_not_none_there() -> None:
    """The rule of three: of 900 unseen rows at most 3 in 100 have one."""
    assert total([(1000, [0.0] * 100)]) == Estimate(0, 0, 27)
    assert total([]) == exactly(0)


def test_intervals_hold_the_truth_of_heavy_tails() -> None:
    """Rows that differ by a factor of a hundred, few in a stratum: nine in ten at least."""
    rng = random.Random(1)
    strata = [[rng.lognormvariate(mean, 1) for _ in range(500)] for mean in (0, 1, 3, 5)]
    truth = sum(map(sum, strata))
    found = [total([(500, rng.sample(rows, 15)) for rows in strata]) for _ in range(400)]
    held = sum(one.low <= truth <= one.high for one in found) / 400
    assert 0.9 <= held <= 0.99


def test_rows_are_drawn_by_type_and_length() -> None:
    """Each kind of row has its share, and rare ones a few."""
    draw = Draw(60, seed=3)
    for number in range(2000):
        draw.add(row(number), 1)
        if number % 10 == 0:
            draw.add(row(number, "VIDEO"), 50)
        if number % 500 == 0:
            draw.add(row(number, "VIDEO"), 90_000)
        if number == 7:
            draw.add(row(number, "AUDIO"), None)
    assert [(stratum.rows, len(stratum.drawn)) for stratum in draw.strata()] == [
        (1, 1),
        (2000, 55),
        (200, 6),
        (4, 4),
    ]


def test_the_same_seed_draws_the_same_rows() -> None:
    """And another one others."""
    draws = [Draw(5, seed) for seed in (1, 1, 2)]
    for draw in draws:
        for number in range(500):
            draw.add(row(number), 1)
    first, same, other = ([row.label_hash for row in draw.strata()[0].drawn] for draw in draws)
    assert first == same != other
    assert len(set(first)) == 5


def test_what_calls_take_has_no_negative_part() -> None:
    """Latency and seconds a byte, where calls grow with their answers and where they do not."""
    found = cost_of([(0.1 + size / 1e6, size) for size in (1000, 5000, 90_000)])
    assert (found.latency, found.per_byte) == pytest.approx((0.1, 1e-6))
    assert cost_of([(0.3, 10), (0.1, 1000)]).per_byte == 0.0
    assert cost_of([(0.001, 1000), (1.0, 100_000)]).latency >= 0
    assert cost_of([]) == CallCost(0.0, 0.0)


def test_calls_tell_how_much_they_differ() -> None:
    """The quickest and the slowest tenth of calls that take 0.1 to 0.3 s."""
    found = cost_of([(0.1 + number / 500, 1000) for number in range(101)])
    assert found.latency == pytest.approx(0.2)
    assert (found.quick, found.slow) == pytest.approx((0.6, 1.4), abs=0.02)


def fetched(rows: int, latency: float, *, rate: float | None = None, **limits: int) -> Course:
    weights = rows * 10_000.0, rows * 9000.0
    return course(rows, *weights, CallCost(latency, 1e-8), Limits(**limits), rate=rate)


def test_a_course_counts_requests_and_their_time() -> None:
    """By pace where it is set, by latency where one row is asked for at a time."""
    assert fetched(50, 0.1, bundle_size=1).requests == pytest.approx(50)
    assert fetched(100, 0.1, bundle_size=1, max_rps=5).seconds == pytest.approx(20, rel=0.02)
    assert fetched(100, 0.5, bundle_size=1, concurrency=1).seconds == pytest.approx(50, rel=0.02)
    assert fetched(400, 0.1, bundle_size=1, rate=10).seconds == pytest.approx(40, rel=0.1)
    assert (fetched(0, 0.5).requests, fetched(0, 0.5).seconds) == (0, 0)


def test_a_long_course_goes_on_as_it_went() -> None:
    """A million rows at fifty requests a second, ten at a time, as soon as the start is over."""
    found = fetched(1_000_000, 0.1, rate=50, bundle_size=10)
    assert found.requests == pytest.approx(100_000, rel=0.02)
    assert found.seconds == pytest.approx(2000, rel=0.05)
    assert found.bundle == 10


def test_heavy_rows_are_asked_for_few_at_a_time() -> None:
    """No more in flight than memory holds: 100 rows of 10 MB, 256 MB of them at once."""
    found = course(100, 1e9, 1e9, CallCost(1.0, 0.0), Limits(max_memory=256 * 1024**2), rate=None)
    assert found.bundle == 1
    assert found.seconds > 8
