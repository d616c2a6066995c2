"""The listing: every row with its outcome, derived from the plan and the failed rows."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from harvester.errors import Unsound
from harvester.labels.wire import PlanRow, split_outcome
from harvester.output.export_spec import Project
from harvester.output.listing_file import listing_lines
from harvester.output.manifest import manifest_digest, read_manifest, with_listing, write_manifest
from harvester.output.mending import mend_state
from harvester.output.target import LocalTarget
from harvester.output.verify import verify
from harvester.schema import LISTING_KEYS
from harvester.settings import Selection
from tests.output.small import PURPOSE, contents, export

TEXTS = st.text('a"\\,:{}\n\u2028é') | st.just('","outcome":"failed"')
ROWS = st.builds(
    PlanRow,
    label_hash=TEXTS,
    branch_name=TEXTS | st.none(),
    data_hash=TEXTS,
    dataset_hash=TEXTS,
    data_title=TEXTS,
    client_metadata=TEXTS | st.none(),
    width=st.none() | st.integers(1, 10),
    outcome=st.sampled_from((None, "unlabelled", "filtered")),
    listed_twice=st.booleans(),
    metadata=st.sampled_from(
        (b"null", b'{"a": ",\\"outcome\\":", "outcome":"x"}', b'{"a":1,"outcome":null,"b":2}')
    ).map(msgspec.Raw),
)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    export(LocalTarget(tmp_path / "out"))
    return tmp_path / "out"


def lines(path: Path) -> list[dict[str, Any]]:
    with zstandard.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


@given(st.lists(ROWS))
def test_a_line_is_what_the_plan_says_and_the_outcome(rows: list[PlanRow]) -> None:
    """Always all keys, in their order, whatever the texts hold; cut out of the row's JSON, not made anew."""
    sent = list(map(msgspec.json.encode, rows))
    assert [split_outcome(line)[1] for line in sent] == [row.outcome for row in rows]
    found = list(map(json.loads, listing_lines(LocalTarget("nowhere"), sent, [])))
    expected = [
        {key: getattr(row, key) for key in LISTING_KEYS} | {"outcome": row.outcome or "harvested"}
        for row in rows
    ]
    assert found == expected
    assert [tuple(line) for line in found] == [LISTING_KEYS] * len(rows)


@pytest.mark.parametrize(
    "line", [b"", b"{}", b'{"a":1,"outcome":"stolen"}', b'{"a":1,"outcome":[]}', b'{"a":1,"outcome":"\xff"}']
)
def test_a_row_that_is_none_of_a_plan_is_damage(line: bytes) -> None:
    """The plan may have been written by anybody, with the right checksums."""
    with pytest.raises(Unsound, match="not as it was written"):
        list(listing_lines(LocalTarget("nowhere"), [line], []))


def test_every_row_stands_in_it_with_what_became_of_it(out: Path) -> None:
    """In the order of the plan, in numbers as in the manifest, which names the file outside its digest."""
    found = lines(out / "listing.ndjson.zst")
    assert [line["data_hash"] for line in found] == [f"data-{i}" for i in range(8)]
    assert [line["outcome"] for line in found] == [
        "harvested", "harvested", "failed", "unlabelled", "harvested", "filtered", "harvested", "unlabelled"
    ]  # fmt: skip
    fields = json.loads((out / "manifest.json").read_bytes())
    assert (fields["listing"]["name"], fields["listing"]["rows"]) == ("listing.ndjson.zst", 8)
    assert manifest_digest(fields | {"listing": None}) == fields["digest"]


@pytest.mark.parametrize("name", ["plan.json", "plan.ndjson.zst"])
def test_a_lost_plan_is_made_again_from_the_listing(out: Path, name: str) -> None:
    """To the byte; and not from one that is of another plan, or for another export."""
    target, whole = LocalTarget(out), contents(out)
    (out / ".harvester" / name).unlink()
    mend_state(target, msgspec.structs.replace(PURPOSE, selection=Selection()))
    mend_state(target, msgspec.structs.replace(PURPOSE, project=Project("other", "Streets")))
    assert not (out / ".harvester" / name).exists()
    mend_state(target, PURPOSE)
    assert contents(out) == whole
    (out / ".harvester" / name).unlink()
    (out / "listing.ndjson.zst").write_bytes(zstandard.compress(b""))
    mend_state(target, PURPOSE)
    assert not (out / ".harvester" / name).exists()


@pytest.mark.parametrize(("field", "wrong"), [("sha256", "0" * 64), ("rows", 7), ("name", "../listing")])
def test_a_manifest_that_says_something_else_of_it_is_named_and_written_anew(
    out: Path, field: str, wrong: object
) -> None:
    """The file comes out as it was, and so does the manifest."""
    target, whole = LocalTarget(out), contents(out)
    manifest = read_manifest(target)
    assert manifest is not None
    assert manifest.listing is not None
    changed = msgspec.structs.replace(manifest.listing, **{field: wrong})
    write_manifest(target, with_listing(manifest, changed))
    assert any(problem.name == "listing.ndjson.zst" for problem in verify(target).problems)
    export(target)
    assert contents(out) == whole
