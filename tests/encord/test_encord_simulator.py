"""Against the simulated platform over TLS, which checks every signature and counts every write."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import orjson
import pytest

from harvester.encord.project import ProjectInfo
from harvester.encord.session import Session
from harvester.errors import (
    BadInput,
    CredentialsRefused,
    HarvesterError,
    SkipRow,
    Stop,
    TooMuchAsked,
    Unavailable,
)
from harvester.labels.wire import label_hash_of
from harvester.settings import Connection, Format, Selection
from harvester.simulator import Faults, Simulator, WorldSpec
from tests.encord.recording import private_key_text

ROWS = 120


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator(WorldSpec(rows=ROWS, seed=7)) as running:
        yield running


@pytest.fixture
def well(simulator: Simulator) -> Iterator[Simulator]:
    """The simulator, with what a test makes go wrong taken back."""
    yield simulator
    simulator.set_faults()


def connection_to(simulator: Simulator, **options: object) -> Connection:
    known = {"domain": simulator.url, "ssh_key_file": simulator.ssh_key_file, "ca_bundle": simulator.ca_file}
    return Connection(**(known | options))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def session(simulator: Simulator) -> Iterator[Session]:
    opened = Session.open(connection_to(simulator))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def project(session: Session, simulator: Simulator) -> ProjectInfo:
    return session.find_project(simulator.project_title)


def listed(session: Session, project: ProjectInfo, **selection: object) -> list[dict[str, object]]:
    with session.listing(project, Selection(**selection)) as chunks:  # type: ignore[arg-type]
        return [json.loads(bytes(item)) for chunk in chunks for item in chunk]


@pytest.fixture(scope="module")
def labelled(session: Session, project: ProjectInfo) -> list[str]:
    return [str(row["label_hash"]) for row in listed(session, project) if row.get("label_hash")]


def test_project_listing_and_rows_are_the_same_on_both_transports(
    simulator: Simulator,
    session: Session,
    project: ProjectInfo,
    labelled: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The untouched SDK finds the same project and listing, and the same label rows as far as it parses them.

    It keeps the top-level fields that it knows, and makes integers beyond 64 bits into floats.
    """
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(simulator.ca_file))
    plain = Session.open(connection_to(simulator, transport="sdk"))
    assert plain.find_project(simulator.project_hash) == project == session.find_project(project.project_hash)
    assert project.ontology is not None
    assert json.loads(project.ontology)["objects"]
    assert listed(plain, project) == listed(session, project)
    chosen = labelled[:12]
    ours, theirs = (
        one.label_rows(project, Selection(include_reviews=True), Format(), as_sent=True)
        for one in (session, plain)
    )
    singles = [orjson.loads(bytes(ours.get_label_row(label_hash).rows[0])) for label_hash in chosen]
    bundled = {
        row["label_hash"]: row for row in map(orjson.loads, map(bytes, ours.get_label_rows(chosen).rows))
    }
    assert [bundled[label_hash] for label_hash in chosen] == singles
    for row in map(orjson.loads, map(bytes, theirs.get_label_rows(chosen).rows)):  # type: ignore[arg-type]
        known = bundled[row["label_hash"]]
        assert {key: value for key, value in row.items() if value is not None} == {
            key: known[key] for key, value in row.items() if value is not None
        }


def test_the_listing_has_every_row_and_the_filters_reach_the_server(
    session: Session, project: ProjectInfo
) -> None:
    """All rows, labelled or not; fewer by status; more with all branches."""
    everything = listed(session, project)
    assert len(everything) == ROWS
    completed = [row for row in everything if row["annotation_task_status"] == "COMPLETED"]
    assert completed
    assert listed(session, project, task_statuses=("COMPLETED",)) == completed
    assert len(listed(session, project, include_all_label_branches=True)) > ROWS


def test_a_full_read_makes_no_mutating_call(
    simulator: Simulator, session: Session, project: ProjectInfo, labelled: list[str]
) -> None:
    """Every row read by many threads, and the server has seen no write and no bad signature."""
    rows = session.label_rows(project, Selection(), Format(), as_sent=True)
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(rows.get_label_row, labelled))
    assert [json.loads(bytes(answer.rows[0]))["label_hash"] for answer in answers] == labelled
    stats = simulator.stats()
    assert (stats["mutations"], stats["unauthentic"]) == (0, 0)


def test_a_key_that_the_platform_does_not_know_is_refused(simulator: Simulator) -> None:
    """Exit code 4, with the region in the hint."""
    stranger = Session.open(connection_to(simulator, ssh_key_file=None, ssh_key=private_key_text()))
    with pytest.raises(CredentialsRefused, match="region") as refused:
        stranger.find_project(simulator.project_title)
    assert refused.value.exit_code == 4


def test_an_unknown_project_is_bad_input(session: Session) -> None:
    """One line, exit code 2."""
    with pytest.raises(BadInput, match="no project that these credentials can read"):
        session.find_project("no such project")


TROUBLES: dict[str, type[HarvesterError]] = {
    "corrupt": SkipRow,
    "error_500": Unavailable,
    "too_large": TooMuchAsked,
    "bomb": TooMuchAsked,
    "broken": SkipRow,
    "nested": SkipRow,
    "nan": SkipRow,
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_trouble_with_one_row_of_a_bundle_has_its_meaning(
    well: Simulator, session: Session, project: ProjectInfo, labelled: list[str], trouble: str
) -> None:
    """The bundle's error leads to the row, whose own call names it; its neighbours can be had."""
    well.set_faults(Faults(rows={labelled[1]: trouble}))  # type: ignore[dict-item]
    rows = session.label_rows(project, Selection(), Format(), as_sent=True)
    with pytest.raises(TROUBLES[trouble]):
        rows.get_label_rows(labelled[:3])
    with pytest.raises(Unavailable if trouble == "error_500" else SkipRow) as alone:
        rows.get_label_row(labelled[1])
    assert alone.value.row == labelled[1]
    assert rows.get_label_row(labelled[0]).rows


def test_half_a_surrogate_pair_in_one_row_of_a_bundle_is_no_trouble(
    well: Simulator, session: Session, project: ProjectInfo, labelled: list[str]
) -> None:
    """All rows come, and the answer says which one is not as it was sent; alone it comes likewise."""
    well.set_faults(Faults(rows={labelled[1]: "surrogate"}))
    rows = session.label_rows(project, Selection(), Format())
    for asked in (labelled[:3], labelled[1:2]):
        answer = rows.get_label_rows(asked)
        assert sorted(map(str, map(label_hash_of, answer.rows))) == sorted(asked)
        [(place, where)] = answer.replaced.items()
        assert label_hash_of(answer.rows[place]) == labelled[1]
        assert where.endswith("simulator")


@pytest.mark.parametrize("faults", [Faults(revoked=True), Faults(forbidden=True)])
def test_credentials_refused_in_mid_run_stop_it(
    well: Simulator, session: Session, project: ProjectInfo, labelled: list[str], faults: Faults
) -> None:
    """A key that is withdrawn, and a project that is: both end the run on the next call."""
    rows = session.label_rows(project, Selection(), Format(), as_sent=True)
    assert rows.get_label_row(labelled[0]).rows
    well.set_faults(faults)
    for call, asked in ((rows.get_label_row, labelled[0]), (rows.get_label_rows, labelled[:2])):
        with pytest.raises(CredentialsRefused):
            call(asked)  # type: ignore[operator]


@pytest.mark.parametrize(
    "strike", ["502", "504", "html", "html_200", "not_json", "truncated", "reset", "closed"]
)
def test_whole_answers_that_fail_are_worth_another_attempt(
    well: Simulator, session: Session, project: ProjectInfo, labelled: list[str], strike: str
) -> None:
    """Each strike is a retry, and the attempt after it brings the row."""
    well.set_faults(Faults(strikes=(strike,), times=1))
    rows = session.label_rows(project, Selection(), Format(), as_sent=True)
    with pytest.raises(Unavailable):
        rows.get_label_rows(labelled[:2])
    assert len(rows.get_label_rows(labelled[:2]).rows) == 2


@pytest.mark.parametrize("way", ["pooled", "sdk"])
def test_the_call_that_makes_a_label_row_is_refused(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """The platform would make one, as it does for scripts; here nothing is sent."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(simulator.ca_file))
    session = Session.open(connection_to(simulator, transport=way))
    _, client = session._transport.label_rows(simulator.project_hash, as_sent=True)
    before = simulator.stats()
    with pytest.raises(Stop, match="PUT labelrow; harvester only reads"):
        client.create_label_rows(["data"])
    session.close()
    after = simulator.stats()
    assert (after["requests"], after["mutations"]) == (before["requests"], 0)
