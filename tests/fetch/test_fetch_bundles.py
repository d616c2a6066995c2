"""How many rows a call asks for, how a bundle is cut, and whether an answer holds what was asked for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.fetch.bundles import MOST_ROWS, TARGET_BYTES, Batch, BundleSizer, find_asked
from tests.fetch.pool_kit import plan

MEMORY = 512 * 1024**2


def sizer(**options: int) -> BundleSizer:
    return BundleSizer(**{"max_memory": MEMORY, **options})


def grown(sizer: BundleSizer, row_bytes: int, answers: int = 60) -> list[int]:
    """The sizes of successive bundles that are answered quickly."""
    sizes = []
    for _ in range(answers):
        sizes.append(sizer.size)
        sizer.answered(sizes[-1], sizes[-1] * row_bytes, sizes[-1] * row_bytes, 0.2)
    return sizes


def test_the_first_bundle_is_one_row_and_may_weigh_half_of_the_budget() -> None:
    """Nobody knows yet what a row weighs."""
    fresh = sizer()
    assert fresh.size == 1
    assert fresh.footprint(1) == MEMORY // 2


def test_light_rows_are_asked_for_by_the_thousand() -> None:
    """The size doubles with each answer, up to what the platform advises."""
    sizes = grown(sizer(), row_bytes=100)
    assert sizes[:8] == [1, 2, 4, 8, 16, 32, 64, 128]
    assert sizes[-1] == MOST_ROWS


def test_bundles_stay_under_the_target_size() -> None:
    """Rows of 100 KB are asked for by the forty."""
    assert grown(sizer(), row_bytes=100 * 1024)[-1] == TARGET_BYTES // (100 * 1024)


def test_rows_heavier_than_the_target_are_asked_for_one_by_one() -> None:
    """A bundle has one row at least."""
    assert set(grown(sizer(), row_bytes=50 * 1024**2)) == {1}


def test_a_small_memory_makes_small_bundles() -> None:
    """Several bundles must fit into the budget at once."""
    small = sizer(max_memory=16 * 1024**2)
    assert small.footprint(grown(small, row_bytes=1024)[-1]) <= 16 * 1024**2 / 4


def test_the_user_caps_the_size() -> None:
    """--bundle-size 7 never asks for more."""
    assert max(grown(sizer(cap=7), row_bytes=10)) == 7


def test_a_maximum_that_the_server_names_is_learnt_in_one_error_and_kept() -> None:
    """No bundle after it is larger."""
    it = sizer()
    grown(it, row_bytes=10)
    it.too_much(it.size, 100)
    assert set(grown(it, row_bytes=10)) == {100}


def test_an_unnamed_maximum_is_met_now_and_then() -> None:
    """After a halving the size grows by single rows: one bundle in fifty fails, not every other."""
    it, refused = sizer(), 0
    for _ in range(500):
        size = it.size
        if size > 100:
            refused += 1
            it.too_much(size, None)
        else:
            it.answered(size, size * 10, size * 10, 0.2)
    assert 5 <= refused <= 12
    assert it.size > 40


def test_bundles_that_failed_together_are_one_finding() -> None:
    """Ten bundles of one size that are too much halve the size once."""
    it = sizer()
    grown(it, row_bytes=10, answers=8)
    size = it.size
    for _ in range(10):
        it.too_much(size, None)
    assert it.size == size // 2


def test_slow_answers_do_not_grow_and_very_slow_ones_shrink() -> None:
    """Neither is worth a time-out."""
    it = sizer()
    grown(it, row_bytes=10, answers=6)
    size = it.size
    it.answered(size, size * 10, size * 10, 6.0)
    assert it.size == size
    it.answered(size, size * 10, size * 10, 30.0)
    assert it.size == size // 2


def test_a_slow_failure_shrinks_and_a_quick_one_does_not() -> None:
    """A time-out may be the bundle's fault, a 503 is not."""
    it = sizer()
    grown(it, row_bytes=10, answers=6)
    size = it.size
    it.failed(size, 0.1)
    assert it.size == size
    it.failed(size, 60.0)
    assert it.size == size // 2


@pytest.mark.parametrize(
    ("took", "answered", "failed"),
    [(4.9, 64, 32), (5.0, 64, 32), (5.1, 32, 16), (20.0, 32, 16), (20.1, 16, 16)],
)
def test_what_is_too_long_for_an_answer_and_for_a_failure(took: float, answered: int, failed: int) -> None:
    """Up to 5 s bundles grow, from 20 s on they shrink; a failure that took over 5 s shrinks them at once."""
    for outcome, size in (("answered", answered), ("failed", failed)):
        it = sizer()
        grown(it, row_bytes=10, answers=5)
        assert it.size == 32
        if outcome == "answered":
            it.answered(32, 320, 320, took)
        else:
            it.failed(32, took)
        assert it.size == size


def test_a_row_size_of_an_earlier_run_makes_bundles_full_at_once() -> None:
    """With half of it on top, as long as it is not known how sizes vary."""
    it = BundleSizer(max_memory=8 * 1024**2, row_bytes=10_000)
    assert it.size == 1024**2 // 15_000
    assert it.footprint(10) == int(150_000 * 2.35)
    assert BundleSizer(max_memory=MEMORY, row_bytes=10).size == MOST_ROWS


def test_how_much_an_answer_counts_depends_on_its_rows() -> None:
    """Ten of fifty rows remembered are a fifth, a hundred are half, and of heavier ones one is a quarter."""

    def bytes_a_row(*answers: tuple[int, int]) -> float:
        it = sizer()
        for rows, size in ((1, 1000), *answers):
            it.answered(rows, rows * size, rows * size, 0.2)
        return it.footprint(1000) / 2.35 / 1000

    assert bytes_a_row() == pytest.approx(1000, rel=0.0001)
    assert bytes_a_row((10, 500)) == pytest.approx(900 + 100, rel=0.001)
    assert bytes_a_row((10, 500), (10, 900)) == pytest.approx(900 + 80, rel=0.001)
    assert bytes_a_row((100, 400)) == pytest.approx(700 + 300, rel=0.001)
    assert bytes_a_row((1, 2000)) == pytest.approx(1250 + 250, rel=0.001)
    assert bytes_a_row((1, 2000), (1, 1500)) == pytest.approx(1255 + 250, rel=0.001)


def test_rows_without_a_byte_are_possible() -> None:
    """As where all of an answer is left out."""
    it = sizer()
    it.answered(1, 0, 0, 0.2)
    assert it.size == 2
    assert it.footprint(100) == pytest.approx(235, abs=1)


def test_a_halved_size_grows_by_single_rows() -> None:
    """From where it failed on; below, it doubles as at the start."""
    it = sizer()
    grown(it, row_bytes=10, answers=7)
    it.too_much(100, None)
    assert grown(it, row_bytes=10, answers=3) == [50, 51, 52]
    it.too_much(4, None)
    it.too_much(1, None)
    assert grown(it, row_bytes=10, answers=4) == [1, 2, 3, 4]
    it.too_much(7, 0)
    assert it.size == 1


def test_heavier_rows_are_believed_sooner_than_lighter_ones() -> None:
    """Memory is at stake: one heavy answer makes the next bundles weigh more."""
    it = sizer(cap=1)
    grown(it, row_bytes=1000)
    it.answered(1, 1_000_000, 1_000_000, 0.2)
    assert it.footprint(1) > 500_000
    it.answered(1, 1000, 1000, 0.2)
    assert it.footprint(1) > 400_000


def test_what_rows_grow_to_as_lines_is_learnt() -> None:
    """Rows of 1 KB, with their skeletons, that become lines of 3 KB hold 4.35 KB each."""
    it = sizer(cap=10)
    for _ in range(100):
        it.answered(10, 10_000, 30_000, 0.2)
    assert it.footprint(10) == pytest.approx(43_500, rel=0.01)


def test_a_batch_is_cut_into_halves_down_to_the_row() -> None:
    """Each part knows its places in the bundle and the requests that were made for it."""
    rows = plan(5)
    batch = Batch(rows, range(5), spent=2)
    left, right = batch.cut()
    assert (left.rows, left.places) == (rows[:3], [0, 1, 2])
    assert (right.rows, right.places) == (rows[3:], [3, 4])
    assert (right.spent, right.attempts) == (0, 2)
    assert [part.rows for part in right.cut()] == [[rows[3]], [rows[4]]]


def test_a_batch_is_cut_by_the_maximum_that_the_server_named() -> None:
    """Also where it names one that is no help."""
    batch = Batch(plan(10), range(10))
    assert [len(part.rows) for part in batch.cut(3)] == [3, 3, 3, 1]
    assert [len(part.rows) for part in batch.cut(1000)] == [5, 5]
    assert [len(part.rows) for part in batch.cut(0)] == [5, 5]


@given(
    st.lists(st.sampled_from("abcdefgh"), unique=True, min_size=1),
    st.lists(st.one_of(st.none(), st.sampled_from("abcdefghxyz"))),
)
def test_whatever_the_answer_each_row_is_found_or_missing(
    asked: list[str], answered: list[str | None]
) -> None:
    """Any order, duplicates, foreign rows and rows without a hash."""
    found = find_asked(asked, answered)
    for i, at in enumerate(found.at):
        assert (at is None) == (asked[i] not in answered)
        assert at is None or answered.index(asked[i]) == at
    assert found.missing == [i for i, label_hash in enumerate(asked) if label_hash not in answered]
    assert found.foreign == len(set(answered) - set(asked))


def test_rows_are_read_together_where_they_follow_one_another() -> None:
    """Neither one that the answer left out nor one that the batch lacks stands between them."""
    found = find_asked("abcdef", ["f", "a", "b", "e", "d"])
    assert list(found.runs(range(6))) == [[(0, 1), (1, 2)], [(3, 4), (4, 3), (5, 0)]]
    assert list(found.runs([0, 1, 2, 3, 8, 9])) == [[(0, 1), (1, 2)], [(3, 4)], [(4, 3), (5, 0)]]
