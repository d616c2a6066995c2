"""Projects by hash or exact title, listings as sent; what is asked again, and what is not."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from harvester.encord.project import ProjectInfo
from harvester.encord.session import Session
from harvester.errors import BadInput, CannotFinishNow, CredentialsRefused, SkipRow, Stop
from harvester.settings import Connection, Format, Selection
from tests.encord.recording import ONTOLOGY, PROJECT, Asked, Recording, Reply, envelope, error, gzipped

Connect = Callable[..., Session]
OTHER = PROJECT[:-1] + "9"
EDITOR = {"objects": [{"id": "1", "name": "Car", "shape": "a shape of tomorrow"}], "classifications": []}


def project(title: str, project_hash: str = PROJECT, **more: Any) -> dict[str, Any]:
    return {
        "projectHash": project_hash,
        "title": title,
        "ontologyHash": ONTOLOGY,
        "lastEditedAt": "2026-01-31T12:00:00Z",
        "projectType": "a type of tomorrow",
        **more,
    }


def as_json(answer: Any, status: int = 200) -> Reply:
    return Reply(json.dumps(answer).encode(), status)


class Platform:
    """The v2 endpoints of projects and ontologies, two projects a page."""

    def __init__(self, *projects: dict[str, Any]) -> None:
        self.projects = projects

    def __call__(self, asked: Asked) -> Reply:
        parts = urlsplit(asked.path)
        query = parse_qs(parts.query)
        if parts.path == f"/v2/public/ontologies/{ONTOLOGY}":
            return as_json({"ontologyUuid": ONTOLOGY, "editor": EDITOR})
        if parts.path == "/v2/public/projects":
            found = [
                one
                for one in self.projects
                if query.get("titleEq", [one["title"]])[0].lower() == one["title"].lower()
            ]
            start = int(query.get("pageToken", ["0"])[0])
            more = start + 2 < len(found)
            return as_json(
                {"results": found[start : start + 2], "nextPageToken": str(start + 2) if more else ""}
            )
        found = [one for one in self.projects if parts.path.endswith(one["projectHash"])]
        return as_json(found[0]) if found else as_json({"message": "no such project"}, 404)


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What was waited between attempts, without waiting."""
    waits: list[float] = []
    monkeypatch.setattr("tenacity.nap.time.sleep", waits.append)
    return waits


@pytest.mark.parametrize("way", ["pooled", "sdk"])
@pytest.mark.parametrize("wanted", [PROJECT, "Street scenes"])
def test_a_project_is_found_by_hash_and_by_exact_title(
    server: Recording, connect: Connect, wanted: str, way: str
) -> None:
    """With its ontology as JSON, shapes and types of tomorrow included, on both transports."""
    server.answers = Platform(project("street scenes", OTHER), project("Street scenes"))
    found = connect(transport=way).find_project(wanted)
    assert found.ontology is not None
    assert json.loads(found.ontology) == EDITOR
    assert (found.project_hash, found.title, found.last_edited_at) == (
        PROJECT,
        "Street scenes",
        "2026-01-31T12:00:00Z",
    )


def test_an_ontology_is_kept_as_it_was_sent(server: Recording, connect: Connect) -> None:
    """Byte for byte: spaces, the spelling of numbers, escapes and what comes twice."""
    editor = (
        b'{ "objects" : [{"id":1.0e2,"name":"\\u00e4","name":"B", "of": 123456789012345678901234567890}]}'
    )
    platform = Platform(project("Street scenes"))

    def answers(asked: Asked) -> Reply:
        if "ontologies" in asked.path:
            return Reply(b'{"a": 1, "editor":  %b , "z": [{}]}' % editor, 200)
        return platform(asked)

    server.answers = answers
    assert connect().find_project(PROJECT).ontology == editor


def test_a_title_that_looks_like_a_hash_is_a_title(server: Recording, connect: Connect) -> None:
    """Where there is no project with the hash, there may be one with the title."""
    server.answers = Platform(project(OTHER))
    assert connect().find_project(OTHER).project_hash == PROJECT


@pytest.mark.parametrize("title", ["Street scenes of the year 2026, east", PROJECT.replace("-", "")])
def test_only_what_has_the_form_of_a_hash_is_asked_for_as_one(
    server: Recording, connect: Connect, title: str
) -> None:
    """A title as long as a hash, and a hash without its dashes, are titles."""
    server.answers = Platform(project(title))
    assert connect().find_project(title).title == title
    assert [urlsplit(asked.path).path.rpartition("/")[2] for asked in server.asked] == ["projects", ONTOLOGY]


def test_all_pages_of_projects_are_listed(server: Recording, connect: Connect) -> None:
    """Page after page, until the token is empty, in whichever way."""
    server.answers = Platform(*(project(f"P{number}") for number in range(5)))
    assert [one.title for one in connect().projects()] == ["P0", "P1", "P2", "P3", "P4"]
    assert all(one.ontology is None for one in connect().projects())


def test_an_ambiguous_title_lists_the_candidates(server: Recording, connect: Connect) -> None:
    """The message names each by its hash and its date, and asks for one."""
    server.answers = Platform(project("Twice"), project("Twice", OTHER))
    with pytest.raises(BadInput) as refused:
        connect().find_project("Twice")
    assert refused.value.message == (
        f"2 projects have the title 'Twice', name one by its hash: {PROJECT} (edited 2026-01-31),"
        f" {OTHER} (edited 2026-01-31)"
    )


def test_of_many_candidates_ten_are_listed(server: Recording, connect: Connect) -> None:
    """And all are counted."""
    hashes = [f"{PROJECT[:-2]}{number}" for number in range(10, 22)]
    server.answers = Platform(*(project("Often", one) for one in hashes))
    with pytest.raises(BadInput, match=r"^12 projects have the title") as refused:
        connect().find_project("Often")
    assert [one in refused.value.message for one in hashes] == [True] * 10 + [False] * 2


def test_an_unknown_title_suggests_close_ones(server: Recording, connect: Connect) -> None:
    """A slip of the finger gets a hint, and anything else none."""
    server.answers = Platform(project("Street scenes"), project("Cats"))
    with pytest.raises(BadInput, match=r"title 'Stret scenes'; did you mean 'Street scenes'\?"):
        connect().find_project("Stret scenes")
    with pytest.raises(BadInput, match=r"has the hash or title 'zzz'$"):
        connect().find_project("zzz")


REFUSALS = {
    "401": (
        as_json({"message": "who are you?"}, 401),
        "not accept these credentials .who are you..: .*region",
    ),
    "403": (as_json({"message": "not yours"}, 403), "not yours Connected to https.*another region"),
}


@pytest.mark.parametrize("way", ["pooled", "sdk"])
@pytest.mark.parametrize("case", REFUSALS)
def test_refused_credentials_end_at_once_with_a_hint_on_the_region(
    server: Recording, connect: Connect, slept: list[float], case: str, way: str
) -> None:
    """Exit code 4, one request, no waiting."""
    reply, words = REFUSALS[case]
    server.answers = lambda asked: reply
    with pytest.raises(CredentialsRefused, match=words) as refused:
        connect(transport=way).find_project(PROJECT)
    assert refused.value.exit_code == 4
    assert server.url in refused.value.message
    assert (len(server.asked), slept) == (1, [])


@pytest.mark.parametrize("domain", ["https://no-such-host.invalid", "https://127.0.0.1:1"])
@pytest.mark.parametrize("way", ["pooled", "sdk"])
def test_where_nobody_is_there_it_ends_at_once(
    connect: Connect, slept: list[float], domain: str, way: str
) -> None:
    """An unknown host and a closed port: exit code 5, without ten seconds of retries."""
    with pytest.raises(CannotFinishNow, match=f"{domain}") as ended:
        connect(domain=domain, transport=way).projects()
    assert ended.value.exit_code == 5
    assert slept == []


def test_a_start_in_bad_weather_is_tried_again(
    server: Recording, connect: Connect, slept: list[float]
) -> None:
    """A refusal's Retry-After is kept to the second, a failure is followed by a short wait."""
    weather = [Reply(status=429, headers={"Retry-After": "7"}), Reply(b"<html>", 503), Reply(raw=())]
    good = Platform(project("T"))
    server.answers = lambda asked: weather.pop(0) if weather else good(asked)
    assert [one.title for one in connect().projects()] == ["T"]
    assert slept[0] == 7
    assert len(slept) == 3
    assert all(0 < wait <= 11 for wait in slept[1:])


@pytest.mark.parametrize("status", [429, 503])
def test_a_retry_after_of_nothing_is_no_leave_to_hammer(
    server: Recording, connect: Connect, slept: list[float], status: int
) -> None:
    """A listing that is refused with `Retry-After: 0`, or with less than the back-off, waits for that."""
    for header in ("0", "1", "Sat, 31 Jan 2026 12:00:00 GMT"):
        server.answers = lambda asked, header=header: Reply(status=status, headers={"Retry-After": header})
        slept.clear()
        with pytest.raises(CannotFinishNow):
            read(connect())
        assert len(slept) == 8
        assert sum(slept) > 40


def test_a_server_that_stays_down_ends_the_run_with_its_reason(
    server: Recording, connect: Connect, slept: list[float]
) -> None:
    """Attempts for three quarters of a minute, then exit code 5."""
    server.answers = lambda asked: Reply(b"<html>", 503)
    with pytest.raises(CannotFinishNow, match="HTTP status 503"):
        connect().projects()
    assert len(server.asked) == len(slept) + 1 == 9
    assert 40 < sum(slept) < 60
    for wait, least in zip(slept, [0.5, 1, 2, 4, 8, 10, 10, 10], strict=True):
        assert least <= wait <= least + 1


@pytest.mark.parametrize(("header", "waits"), [("60", 8), ("61", 0), ("86400", 0)])
def test_a_server_that_asks_for_more_than_a_minute_is_not_waited_for(
    server: Recording, connect: Connect, slept: list[float], header: str, waits: int
) -> None:
    """A wait that long is the user's to decide."""
    server.answers = lambda asked: Reply(status=429, headers={"Retry-After": header})
    with pytest.raises(CannotFinishNow):
        connect().projects()
    assert (len(server.asked), slept) == (1 + waits, [60.0] * waits)


# -- listing --------------------------------------------------------------------------------------

LISTED = [{"data_hash": f"d{number}", "label_hash": None, "data_title": "x" * 300} for number in range(3000)]


LISTED_PROJECT = ProjectInfo(PROJECT, "T", "")


def read(session: Session, **selection: Any) -> list[Any]:
    with session.listing(LISTED_PROJECT, Selection(**selection)) as chunks:
        return [json.loads(bytes(item)) for chunk in chunks for item in chunk]


@pytest.mark.parametrize("way", ["pooled", "sdk"])
@pytest.mark.parametrize("reply", [envelope(LISTED), gzipped(envelope(LISTED).body)])
def test_a_listing_comes_item_by_item_as_sent(
    server: Recording, connect: Connect, reply: Reply, way: str
) -> None:
    """All items in the server's order, with and without compression, on both transports."""
    server.answers = lambda asked: reply
    assert read(connect(transport=way), task_statuses=("COMPLETED",), data_title_like="x%") == LISTED
    (asked,) = server.asked
    assert asked.query["query_type"] == "labelrowmetadata"
    assert (asked.payload["label_statuses"], asked.payload["data_title_like"]) == (["COMPLETED"], "x%")
    assert asked.payload["include_uninitialised_labels"] is True


@pytest.mark.parametrize("way", ["pooled", "sdk"])
def test_a_listing_says_whether_it_is_another(server: Recording, connect: Connect, way: str) -> None:
    """The same rows compressed and not have one digest, others another; the untouched SDK knows of none."""
    session, digests = connect(transport=way), []
    for reply in (envelope(LISTED), gzipped(envelope(LISTED).body), envelope(LISTED[1:])):
        server.answers = lambda asked, reply=reply: reply
        with session.listing(LISTED_PROJECT, Selection()) as listing:
            digests.append(listing.digest())
    if way == "sdk":
        assert digests == [None] * 3
    else:
        assert digests[0] == digests[1] != digests[2]
        assert None not in digests


def test_a_digest_of_what_is_cut_short_ends_the_run(server: Recording, connect: Connect) -> None:
    """As reading it does: resumable."""
    whole = gzipped(envelope(LISTED).body)
    server.answers = lambda asked: replace(whole, body=whole.body[:-20])
    with connect().listing(LISTED_PROJECT, Selection()) as listing, pytest.raises(CannotFinishNow):
        listing.digest()


def test_a_listing_leaves_no_file_behind_and_none_to_be_found(
    server: Recording, connect: Connect, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The spool has no name while it is read, and its descriptor is closed when the reading stops early."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    server.answers = lambda asked: envelope(LISTED)
    session = connect()
    with session.listing(LISTED_PROJECT, Selection()) as chunks:
        next(iter(chunks))
        assert list(tmp_path.iterdir()) == []
        opened = len(os.listdir("/dev/fd"))
    assert len(os.listdir("/dev/fd")) == opened - 1


def test_an_error_instead_of_a_listing_is_asked_again_or_named(
    server: Recording, connect: Connect, slept: list[float]
) -> None:
    """A busy server's envelope is tried again; a refused project is not."""
    weather = [error("RATE_LIMIT_ERROR"), gzipped(error("UNKNOWN_ERROR").body), Reply(b"<html>", 502)]
    server.answers = lambda asked: weather.pop(0) if weather else envelope(LISTED[:2])
    assert read(connect()) == LISTED[:2]
    assert len(slept) == 3
    server.answers = lambda asked: error("AUTHORISATION_ERROR")
    with pytest.raises(CredentialsRefused, match="another region"):
        read(connect())


@pytest.mark.parametrize("cut", [0.5, 0.999])
def test_a_listing_that_is_cut_short_never_passes(
    server: Recording, connect: Connect, slept: list[float], cut: float
) -> None:
    """A cut inside the compression and a cut inside the JSON both end the run, resumable."""
    whole = envelope(LISTED).body
    for reply in (
        gzipped(whole[: int(len(whole) * cut)]),
        Reply(whole[: int(len(whole) * cut)]),
    ):
        server.answers = lambda asked, reply=reply: reply
        with pytest.raises(CannotFinishNow):
            read(connect())


def test_a_full_disk_under_the_spool_is_named(
    server: Recording, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No room for the listing: exit code 5, and where it was wanted."""

    class Full:
        def __init__(self, buffering: int) -> None: ...

        def write(self, _: bytes) -> None:
            raise OSError(28, "No space left on device")

        def close(self) -> None: ...

    monkeypatch.setattr("tempfile.TemporaryFile", Full)
    server.answers = lambda asked: envelope(LISTED)
    with pytest.raises(CannotFinishNow, match="no room for the listing in /"):
        read(connect())


# -- refused in mid-run ---------------------------------------------------------------------------


@pytest.mark.parametrize("whole_project", [True, False])
def test_a_refused_row_is_told_from_a_refused_project(
    server: Recording, connect: Connect, whole_project: bool
) -> None:
    """AUTHORISATION_ERROR skips the row, unless the project itself is refused: then the run ends."""
    platform = Platform(project("T"))

    def answers(asked: Asked) -> Reply:
        if asked.path == "/public":
            return error("AUTHORISATION_ERROR")
        return as_json({"message": "not yours"}, 403) if whole_project else platform(asked)

    server.answers = answers
    rows = connect().label_rows(ProjectInfo(PROJECT, "T", ""), Selection(), Format())
    with pytest.raises(CredentialsRefused if whole_project else SkipRow):
        rows.get_label_row("a")


def test_a_session_needs_credentials(server: Recording) -> None:
    """None given, none in the environment: exit code 4, before the server is asked."""
    with pytest.raises(Stop, match="no credentials") as refused:
        Session.open(Connection(domain=server.url))
    assert refused.value.exit_code == 4


def test_a_bearer_token_is_sent_as_it_is(server: Recording, connect: Connect) -> None:
    """On v1 and v2, and no signature beside it."""
    server.answers = lambda asked: envelope(LISTED[:1]) if asked.path == "/public" else Platform()(asked)
    session = connect(ssh_key=None, bearer_token="t0ken")
    session.projects()
    read(session)
    assert [asked.headers["Authorization"] for asked in server.asked] == ["Bearer t0ken"] * 2
    assert not any("Signature" in asked.headers for asked in server.asked)


class Told(Platform):
    """Stages, branches and datasets of a project, two branches a page; `refused` is answered instead."""

    def __init__(self, refused: int | None = None, **more: Any) -> None:
        super().__init__(project("Street scenes", **more))
        self.refused = refused

    def __call__(self, asked: Asked) -> Reply:
        parts = urlsplit(asked.path)
        if self.refused is not None:
            return as_json({"message": "no"}, self.refused)
        if parts.path.endswith("/branches"):
            names = ["model-a", "main", "mödel b", "model-c", "model-d"]
            start = int(parse_qs(parts.query).get("pageToken", ["0"])[0])
            more = str(start + 2) if start + 2 < len(names) else ""
            return as_json(
                {"results": [{"name": name} for name in names[start : start + 2]], "nextPageToken": more}
            )
        if parts.path.endswith("/datasets"):
            return as_json({"results": [{"datasetHash": OTHER, "title": "Streets", "description": ""}]})
        return super().__call__(asked)


FOUND = ProjectInfo(PROJECT, "Street scenes", "")


@pytest.mark.parametrize("way", ["pooled", "sdk"])
def test_stages_branches_and_datasets_are_read(server: Recording, connect: Connect, way: str) -> None:
    """Page after page; stages of a sort that nobody knows yet, too. Every project has the branch main."""
    stages = [
        {"stageType": "A_TYPE_OF_TOMORROW", "uuid": "u", "title": title} for title in ("Review", "Done")
    ]
    server.answers = Told(workflow={"stages": stages})
    session = connect(transport=way)
    assert session.stages(FOUND) == ["Review", "Done"]
    assert session.branches(FOUND) == ["main", "model-a", "mödel b", "model-c", "model-d"]
    assert session.datasets(FOUND) == {OTHER: "Streets"}


@pytest.mark.parametrize("answers", [Told(), Told(workflow=None), Told(workflow={}), Told(403), Told(404)])
def test_what_the_platform_does_not_tell_of_a_project_stops_nothing(
    server: Recording, connect: Connect, answers: Told
) -> None:
    """No workflow; a key that may not read it; a platform without such a call: then nothing is known."""
    server.answers = answers
    session = connect()
    assert session.stages(FOUND) == []
    if answers.refused:
        assert session.branches(FOUND) == []
        assert session.datasets(FOUND) == {}


def test_a_platform_that_is_down_is_not_one_that_tells_nothing(
    server: Recording, connect: Connect, slept: list[float]
) -> None:
    """It is asked again, and then the run stops."""
    server.answers = Told(503)
    with pytest.raises(CannotFinishNow):
        connect().branches(FOUND)
    assert slept
