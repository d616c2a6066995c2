"""The forecast against what an export then comes to, on simulated projects in virtual time."""

from collections import Counter
from collections.abc import Callable

import pytest

from harvester.forecast.estimate import Estimate, exactly
from harvester.settings import Format, Limits, Selection
from harvester.simulator.world import WorldSpec
from tests.fetch.virtual import Server, TokenBucket, Unlimited
from tests.plan.world_session import Truth, WorldSession, exported, foreseen
from tests.truth import truth_of


@pytest.fixture(scope="module")
def projects() -> list[WorldSession]:
    """Ten seeds, ten projects."""
    return [WorldSession(WorldSpec(rows=400, seed=seed)) for seed in range(10, 20)]


def holds(estimate: Estimate | None, truth: float) -> bool:
    return estimate is not None and estimate.low <= truth <= estimate.high


@pytest.mark.parametrize(
    ("server", "limits", "format", "selection"),
    [
        (Unlimited, Limits(), Format(), Selection()),
        (
            Unlimited,
            Limits(max_rps=10, bundle_size=5),
            Format(rows_per_part=70),
            Selection(where="object.confidence > 0.5"),
        ),
        (lambda: TokenBucket(10, 5), Limits(bundle_size=4), Format(emit=("objects",)), Selection()),
    ],
    ids=["as quick as can be", "paced and filtered", "against a rate limit"],
)
def test_the_truth_is_within_in_nine_of_ten_seeds(
    projects: list[WorldSession],
    server: Callable[[], Server],
    limits: Limits,
    format: Format,
    selection: Selection,
) -> None:
    """Requests, bytes, records by kind, bytes of output, seconds: each by itself."""
    held = Counter[str]()
    for session in projects:
        how = {"limits": limits, "format": format, "selection": selection}
        session.server = server()
        found = foreseen(session, **how).prediction  # type: ignore[arg-type]
        assert found is not None
        session.server = server()
        truth: Truth = exported(session, **how)  # type: ignore[arg-type]
        for name in ("requests", "label_bytes", "wire_bytes", "seconds"):
            held[name] += holds(getattr(found, name), getattr(truth, name))
        for kind, written in truth.records.items():
            held[kind] += holds(found.records[kind], written)
            held[f"{kind}, bytes"] += holds(found.output_bytes[kind], truth.output_bytes[kind])
        assert holds(found.failed, truth.failed)
        assert found.label_bytes.high < 1.5 * found.label_bytes.low, "an interval that says nothing"
    assert min(held.values()) >= 9, held


def test_a_sample_of_everything_is_the_truth() -> None:
    """A project no larger than the sample is counted, not estimated; each row is asked for once."""
    session = WorldSession(WorldSpec(rows=60))
    found = foreseen(session, sample=100).prediction
    assert found is not None
    truth = exported(WorldSession(WorldSpec(rows=60)))
    assert found.records == {kind: exactly(number) for kind, number in truth.records.items()}
    assert found.output_total == exactly(sum(truth.output_bytes.values()))
    assert len(session.asked) == len(set(session.asked)) > 0


def test_without_a_sample_no_label_row_is_asked_for() -> None:
    """One listing, and the counts that follow from it."""
    session = WorldSession(WorldSpec(rows=500))
    found = foreseen(session, sample=0)
    truth = truth_of(session.world)
    assert (found.prediction, found.steps) == (None, None)
    assert (found.preview.listed, found.preview.to_fetch) == (truth.listed, truth.labelled)
    assert (session.listings, session.asked) == (1, [])


def test_the_sample_is_about_as_large_as_asked() -> None:
    """A few more, for rare kinds of rows."""
    session = WorldSession(WorldSpec(rows=2000))
    found = foreseen(session, sample=200).prediction
    assert found is not None
    assert 200 <= found.sampled == len(session.asked) <= 230


def test_explained_steps_say_what_each_predicate_leaves() -> None:
    """Of the server, of the listing, of the records; one more listing for each that the server has."""
    selection = Selection(
        task_statuses=("COMPLETED",),
        data_title_like="street%",
        data_types=("image", "video"),
        label_statuses=("REVIEWED",),
        shapes=("polygon",),
        where="object.confidence > 0.5",
    )
    session = WorldSession(WorldSpec(rows=1500))
    steps = foreseen(session, selection=selection, explain=True).steps
    assert steps is not None
    assert session.listings == 3
    assert [(step.where, step.predicate, step.of) for step in steps] == [
        ("server", "all rows", "rows"),
        ("server", "task_statuses", "rows"),
        ("server", "data_title_like", "rows"),
        ("listing", "data_types", "rows"),
        ("listing", "label_statuses", "rows"),
        ("listing", "has a label row", "rows"),
        ("record", "all records", "objects"),
        ("record", "shape", "objects"),
        ("record", "where", "objects"),
        ("record", "all records", "classifications"),
    ]
    rows = [step.left for step in steps if step.of == "rows"]
    world = session.world
    assert rows[:2] == [
        exactly(truth_of(world).listed),
        exactly(truth_of(world, {"label_statuses": ["COMPLETED"]}).listed),
    ]
    assert rows == sorted(rows, key=lambda left: -left.value)
    objects = [step.left for step in steps if step.of == "objects"]
    assert objects[0].value > objects[1].value > objects[2].value > 0
    assert steps[7].value == ("polygon",)


def test_rows_that_cannot_be_had_are_foreseen() -> None:
    """They weigh nothing, and are counted."""
    session = WorldSession(WorldSpec(rows=400, mix="image", unlabelled=0, branches=()))
    session.broken = {session.world.label_hash(number) for number in range(0, 400, 10)}
    found = foreseen(session).prediction
    assert found is not None
    assert found.failed_in_sample > 0
    assert found.failed.low < 40 < found.failed.high


@pytest.mark.parametrize(("emit", "asked"), [(("objects",), ("abc",)), (("objects", "rows"), ())])
def test_sampled_rows_are_asked_for_as_the_export_does(emit: tuple[str, ...], asked: tuple[str, ...]) -> None:
    """Where whole rows are emitted, the server leaves nothing out of them: they weigh what they will."""
    session = WorldSession(WorldSpec(rows=20))
    foreseen(session, sample=2, selection=Selection(feature_hashes=("abc",)), format=Format(emit=emit))
    assert session.request_selection.feature_hashes == asked
