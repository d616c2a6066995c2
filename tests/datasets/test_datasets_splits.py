"""Splits: by hash, stable, close to their shares; what is no split is refused in one line."""

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.datasets.convert import convert
from harvester.errors import BadInput
from harvester.labels.wire import PlanRow
from harvester.splitting.division import Division
from harvester.splitting.splits import Splits
from tests.datasets.exports import exported
from tests.sync.worlds import LiveWorld

SHARES = "train=0.8,val=0.1,test=0.1"


def _keys(number: int) -> list[str]:
    return [f"00000000-1111-2222-3333-{index:012d}" for index in range(number)]


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_shares_are_met_within_2_percent_at_5000_items(seed: int) -> None:
    """The hash spreads keys evenly."""
    splits = Splits(SHARES, seed)
    found = Counter(map(splits.of, _keys(5000)))
    for name, share in (("train", 0.8), ("val", 0.1), ("test", 0.1)):
        assert abs(found[name] / 5000 - share) <= 0.02


def test_the_position_is_the_documented_hash() -> None:
    """Anybody can compute the split of an item."""
    for key in _keys(50):
        position = int.from_bytes(hashlib.sha256(f"7:{key}".encode()).digest()[:8]) / 2**64
        expected = "train" if position < 0.8 else "val" if position < 0.9 else "test"
        assert Splits(SHARES, 7).of(key) == expected


@given(st.lists(st.text(), min_size=1), st.lists(st.text()), st.integers())
def test_an_item_keeps_its_split_while_others_come_and_go(
    before: list[str], others: list[str], seed: int
) -> None:
    """Whatever else is written before, after or between, in any order."""
    first, second = Splits(SHARES, seed), Splits(SHARES, seed)
    known = {key: first.fill(key) for key in before}
    after = {key: second.fill(key) for key in [*others, *reversed(before)]}
    assert {key: after[key] for key in before} == known


def test_another_seed_is_another_division() -> None:
    """A seed is part of what is hashed."""
    keys = _keys(200)
    assert [Splits(SHARES, 1).of(key) for key in keys] != [Splits(SHARES, 2).of(key) for key in keys]


@pytest.mark.parametrize("options", [("dataset", 0), ("data", 7)])
def test_how_to_split_without_splits_is_refused(options: tuple[str, int]) -> None:
    """Both flags say how, and not whether."""
    with pytest.raises(BadInput, match="need --split, such as"):
        Division(None, *options)


def test_names_that_only_begin_like_a_device_are_taken() -> None:
    """What a device is called on Windows ends at the first dot."""
    assert Splits("contrast=0.5,com=0.25,train.con=0.25").names == ("contrast", "com", "train.con")


def test_every_position_has_a_split() -> None:
    """Also where shares are no binary fractions, and with a single split."""
    splits = Splits("a=0.1,b=0.2,c=0.3,d=0.4")
    assert {splits.of(key) for key in _keys(1000)} == {"a", "b", "c", "d"}
    assert {Splits("all=1").of(key) for key in _keys(10)} == {"all"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("train=0.8,val=0.1", "add up to 0.9, not to 1"),
        ("train=0.8,val=0.3", "add up to 1.1, not to 1"),
        ("train=0.5,train=0.5", "'train' is named twice"),
        ("train=0.5,Train=0.5", "'Train' is named twice"),
        ("train=1.5,val=-0.5", "above 0 and up to 1, not '1.5'"),
        ("train=-0.5,val=1.5", "above 0 and up to 1, not '-0.5'"),
        ("train=1,val=0", "above 0 and up to 1, not '0'"),
        ("train=nan,val=1", "above 0 and up to 1, not 'nan'"),
        ("train=1e999", "above 0 and up to 1, not '1e999'"),
        ("train=.", "above 0 and up to 1, not '.'"),
        ("train=", "above 0 and up to 1, not ''"),
        ("train", "name=share"),
        ("", "name=share"),
        ("train=0.5,,val=0.5", "name=share"),
        ("../up=1", "cannot be called '../up'"),
        ("a/b=1", "cannot be called 'a/b'"),
        (".hidden=1", "cannot be called '.hidden'"),
        ("dot.=1", "cannot be called 'dot.'"),
        ("=1", "cannot be called ''"),
        ("a" * 65 + "=1", "cannot be called"),
        ("tr\nain=1", "cannot be called"),
        ("tr\u00e4in=1", "cannot be called"),
        ("\u0130=1", "cannot be called"),
        ("Con=1", "cannot be called 'Con'"),
        ("lpt1.x=1", "cannot be called 'lpt1.x'"),
    ],
)
def test_what_is_no_split_is_refused_in_one_line(text: str, says: str) -> None:
    """With what is wrong and how it is written."""
    with pytest.raises(BadInput) as refused:
        Splits(text)
    assert says in refused.value.message
    assert "\n" not in refused.value.message


def test_an_empty_split_is_refused_with_a_seed_that_fills_it() -> None:
    """The seed that the message names does what it says."""
    keys = _keys(4)
    seed = next(seed for seed in range(1000) if len(set(map(Splits(SHARES, seed).of, keys))) < 3)
    splits = Splits(SHARES, seed)
    for key in keys:
        splits.fill(key)
    with pytest.raises(BadInput, match=r"would be empty: --split-seed (\d+) fills every split") as refused:
        splits.check_filled("data")
    better = Splits(SHARES, int(refused.value.message.split("--split-seed ")[1].split()[0]))
    for key in keys:
        better.fill(key)
    better.check_filled("data")


def test_fewer_items_than_splits_cannot_fill_them() -> None:
    """No seed is promised then, nor where none is found."""
    splits = Splits(SHARES)
    splits.fill("one")
    splits.fill("one")
    with pytest.raises(BadInput, match="by data there are only 1 to divide into 3"):
        splits.check_filled("data")
    nothing = Splits("all=1")
    with pytest.raises(BadInput, match="there are only 0 to divide into 1"):
        nothing.check_filled("data")
    small = Splits("train=0.999999999999,test=0.000000000001")
    for key in _keys(1000):
        small.fill(key)
    with pytest.raises(BadInput, match="test would be empty: give it a larger share"):
        small.check_filled("data")


def _row(number: int, **known: str) -> PlanRow:
    return PlanRow(f"label {number}", "main", f"data {number}", "set", **known)


def test_the_rows_of_an_export_are_divided_as_the_options_say() -> None:
    """Branches of a datum have one split; without splits there is none; what is missing is counted."""
    division = Division("a=0.5,b=0.5", "item", 3)
    splits = Splits("a=0.5,b=0.5", 3)
    rows = [_row(number, backing_item_uuid=f"item {number % 7}") for number in range(40)]
    assert [division.of(row) for row in rows] == [splits.of(f"item {number % 7}") for number in range(40)]
    assert division.of(_row(50)) == splits.of("data 50")
    assert (division.missing, division.names) == (1, ("a", "b"))
    division.check("out")
    assert Division(None).of(_row(1)) is None
    Division(None).check("out")


def test_an_empty_division_is_refused() -> None:
    """What no row has is said before which split is empty."""
    none = Division("a=1", "item")
    none.of(_row(1))
    with pytest.raises(BadInput, match="no label row of out has the item"):
        none.check("out")
    one = Division("a=0.5,b=0.5")
    one.of(_row(1))
    with pytest.raises(BadInput, match="by data there are only 1 to divide into 2"):
        one.check("out")
    with pytest.raises(BadInput, match="not by 'colour'"):
        Division(None, "colour")


def test_filled_splits_pass() -> None:
    """Nothing is raised where each split has something."""
    splits = Splits("a=0.5,b=0.5")
    for key in _keys(30):
        splits.fill(key)
    splits.check_filled("data")
    assert splits.names == ("a", "b")


class LateMain(LiveWorld):
    """Most rows have a label on a branch only."""

    def items(self) -> list[dict[str, Any]]:
        """The listing: of the main branch, two rows are labelled."""
        items = super().items()
        labelled = [item["data_hash"] for item in items if item["branch_name"] == "main"][:2]
        return [
            item
            | ({} if item["data_hash"] in labelled or item["branch_name"] != "main" else {"label_hash": None})
            for item in items
        ]


def test_a_split_that_only_a_branch_fills_is_empty(tmp_path: Path) -> None:
    """The main branch is the data set; the seed that is named fills its splits."""
    target = exported(tmp_path / "out", LateMain(40, mix="image", branches=("model",)))
    made, refused = 0, 0
    for seed in range(6):
        options: dict[str, Any] = {"to": "coco", "split": "a=0.5,b=0.5"}
        try:
            done = convert(target, tmp_path / str(seed), **options, split_seed=seed)
        except BadInput as error:
            better = int(error.message.split("--split-seed ")[1].split()[0])
            done = convert(target, tmp_path / str(seed), **options, split_seed=better)
            refused += 1
        made += {"a", "b"} <= done.tables["splits"].keys()
    assert made == 6
    assert refused
