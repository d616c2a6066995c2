"""The API as the simulator speaks it, seen by a client that signs by itself."""

import gzip
import json
import socket
import ssl
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import urllib3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from harvester.cli import command
from harvester.simulator import Faults, Simulator, WorldSpec
from harvester.simulator.world import World
from tests.forked import HARVESTER
from tests.patience import LONG
from tests.simulator.client import Client

SPEC = WorldSpec(rows=300)
WORLD = World(SPEC)


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator(SPEC) as running:
        yield running


@pytest.fixture(scope="module")
def client(simulator: Simulator) -> Iterator[Client]:
    made = Client(simulator)
    yield made
    made.close()


@pytest.fixture(scope="module")
def labelled(client: Client) -> list[str]:
    """Label hashes of the project's labelled rows, as listed."""
    items = client.v1("labelrowmetadata/GET", None, {}).json["response"]
    return [item["label_hash"] for item in items if item.get("label_hash")]


def code(got: object) -> object:
    """The error code of a v1 answer."""
    return got.json["response"]  # type: ignore[attr-defined]


def test_it_says_how_to_reach_it(simulator: Simulator) -> None:
    """Address, project, number of rows, key and certificate authority; the key is for its owner alone."""
    assert simulator.url.startswith("https://127.0.0.1:")
    assert (simulator.project_hash, simulator.project_title) == (WORLD.project_hash, SPEC.title)
    assert simulator.rows == SPEC.rows
    assert stat.S_IMODE(simulator.ssh_key_file.stat().st_mode) == 0o600
    assert simulator.ca_file is not None
    assert b"BEGIN CERTIFICATE" in simulator.ca_file.read_bytes()


def test_what_it_wrote_goes_with_it() -> None:
    """Key, token and directory are gone once it has ended."""
    with Simulator(WorldSpec(rows=1), tls=False) as running:
        assert running.url.startswith("http://")
        assert running.ca_file is None
        directory = running.ssh_key_file.parent
        assert directory.exists()
    assert not directory.exists()


def test_a_certificate_that_nobody_knows_is_refused(simulator: Simulator) -> None:
    """A client without the authority's certificate does not connect."""
    address = ("127.0.0.1", int(simulator.url.rsplit(":", 1)[1]))
    context = ssl.create_default_context()
    with socket.create_connection(address) as plain, pytest.raises(ssl.SSLCertVerificationError):
        context.wrap_socket(plain, server_hostname="127.0.0.1")


def test_one_connection_serves_many_requests(simulator: Simulator, labelled: list[str]) -> None:
    """Connections are kept: ten requests, one handshake."""
    before = simulator.stats()
    client = Client(simulator)
    for label_hash in labelled[:10]:
        client.rows(label_hash)
    client.close()
    after = simulator.stats()
    assert after["requests"] - before["requests"] == 10
    assert after["connections"] - before["connections"] == 1


# -- who asks -------------------------------------------------------------------------------------


def test_an_unknown_key_is_refused(simulator: Simulator) -> None:
    """A valid signature of somebody unknown: an error in the envelope for v1, status 401 for v2."""
    stranger = Client(simulator, Ed25519PrivateKey.generate())
    assert code(stranger.v1("labelrowmetadata/GET")) == ["AUTHENTICATION_ERROR"]
    assert stranger.v2("GET", "projects").status == 401
    stranger.close()


def test_a_v1_signature_over_another_body_is_refused(client: Client, simulator: Simulator) -> None:
    """The signature holds for the body it was made for, and for no other."""
    sent: dict[str, str] = {}
    client.send, send = lambda m, p, b, h: sent.update(h) or send(m, p, b, h), client.send  # type: ignore
    try:
        assert client.rows("a").status == 200
    finally:
        del client.send  # type: ignore[method-assign]
    body = json.dumps({"query_type": "labelrow", "query_method": "GET", "values": {"uid": "b"}}).encode()
    before = simulator.stats()["unauthentic"]
    assert code(client.send("POST", "/public", body, sent)) == ["AUTHENTICATION_ERROR"]
    assert simulator.stats()["unauthentic"] == before + 1


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer of bad news",
        "no-colon",
        "zz:zz",
        f"{'ab' * 32}:{'00' * 64}",
    ],
)
def test_an_authorization_that_is_none_is_refused(client: Client, header: str) -> None:
    """Whatever the header holds, it is refused in the envelope."""
    assert code(client.v1("labelrowmetadata/GET", Authorization=header)) == ["AUTHENTICATION_ERROR"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Content-Digest", "sha-256=:AAAA:"),
        ("Signature", "encord-sig=:AAAA:"),
        ("Signature", "encord-sig=:%%%:"),
        ("Signature-Input", 'encord-sig=();created=1;keyid="";alg="ed25519"'),
        ("Signature", ""),
    ],
)
def test_a_v2_request_with_a_wrong_signature_is_refused(client: Client, name: str, value: str) -> None:
    """Digest, parameters and signature must all hold."""
    assert client.v2("GET", "projects", **{name: value}).status == 401


def test_a_v2_signature_covers_the_whole_target(client: Client) -> None:
    """Queries are verified as they stand on the request line, undecoded."""
    assert len(client.v2("GET", "projects?titleEq=Demo+street%20scenes").json["results"]) == 1


def test_a_bearer_token_stands_for_the_key(client: Client, simulator: Simulator) -> None:
    """v1 and v2 take the token, and no signature beside it."""
    bearer = f"Bearer {simulator.token_file.read_text()}"
    assert client.v1("labelrow/GET", [], {}, Authorization=bearer).json["response"] == []
    assert client.send("GET", "/v2/public/projects", b"", {"Authorization": bearer}).status == 200


# -- projects -------------------------------------------------------------------------------------


def test_projects_come_in_pages(client: Client) -> None:
    """Pages follow one another by token until there is none; two projects share a title."""
    titles, token = [], ""
    while token is not None:
        page = client.v2("GET", f"projects{token and '?pageToken=' + token}").json
        titles += [project["title"] for project in page["results"]]
        token = page["nextPageToken"]
        assert token != ""
    assert titles[0] == SPEC.title
    assert titles.count("Archive") == 2


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("titleEq=Archive", 2),
        ("titleEq=archive", 0),
        ("titleLike=Night%25", 1),
        ("descLike=%25no+data", 3),
        ("createdBefore=2001-01-01T00:00:00", 0),
        ("editedAfter=2001-01-01T00:00:00Z", 3),
    ],
)
def test_projects_can_be_filtered(client: Client, query: str, found: int) -> None:
    """By title, description and date; the first page of what is found."""
    assert len(client.v2("GET", f"projects?{query}").json["results"]) == found


def test_old_style_projects_have_plain_dates(client: Client) -> None:
    """v1 items hold role and project and nothing else, dates without zone."""
    items = client.v1("projectwithuserrole/GET", None, {"filter": {}}, path="/public/user").json["response"]
    assert all(set(item) == {"user_role", "project"} for item in items)
    date = items[0]["project"]["created_at"]
    assert (len(date), date[10]) == (19, " ")


def test_a_project_is_unknown_or_somebody_elses(client: Client, simulator: Simulator) -> None:
    """Unknown: not found. Revoked: forbidden. In both versions of the API."""
    unknown = "00000000-0000-4000-8000-000000000000"
    assert client.v2("GET", f"projects/{unknown}").status == 404
    assert code(client.v1("labelrow/GET", [], ResourceID=unknown)) == ["RESOURCE_NOT_FOUND_ERROR"]
    simulator.set_faults(forbidden=True)
    assert client.v2("GET", f"projects/{simulator.project_hash}").status == 403
    assert code(client.v1("labelrow/GET", [])) == ["AUTHORISATION_ERROR"]
    simulator.set_faults()


def test_what_is_no_call_gets_an_error(client: Client) -> None:
    """Unknown paths, kinds and methods are answered, not dropped."""
    assert client.v2("GET", "no/such/thing").status == 404
    assert client.v2("DELETE", "projects").status == 405
    assert code(client.v1("video/GET")) == ["METHOD_NOT_ALLOWED_ERROR"]
    assert code(client.v1("labelrow/GET", ["a", None], {})) == ["INVALID_ARGUMENTS_ERROR"]
    assert code(client.v1("labelrowmetadata/GET", None, {"edited_after": "once"})) == [
        "INVALID_ARGUMENTS_ERROR"
    ]
    assert code(client.send("POST", "/public", b"[", {})) == ["INVALID_ARGUMENTS_ERROR"]
    assert code(client.send("GET", "/elsewhere", b"", {})) == ["RESOURCE_NOT_FOUND_ERROR"]


# -- label rows -----------------------------------------------------------------------------------


def test_the_listing_is_streamed_and_whole(client: Client) -> None:
    """Every row the world lists, in one answer, without a length known beforehand."""
    got = client.v1("labelrowmetadata/GET", None, {})
    assert got.headers["transfer-encoding"] == "chunked"
    assert [json.dumps(item) for item in got.json["response"]] == [
        json.dumps(json.loads(item)) for item in WORLD.listing({})
    ]


def test_an_empty_listing_is_an_empty_list(client: Client) -> None:
    """A filter that nothing passes gives [], not an error."""
    assert client.v1("labelrowmetadata/GET", None, {"data_title_eq": "?"}).json["response"] == []


def test_answers_are_gzipped_only_for_those_who_ask(client: Client, labelled: list[str]) -> None:
    """v1 as asked; the same JSON either way; v2 never."""
    zipped = client.rows(labelled[0])
    plain = client.rows(labelled[0], Accept_Encoding="identity")
    assert zipped.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert zipped.body == plain.body
    assert len(gzip.compress(plain.body)) < len(plain.body)
    assert "content-encoding" not in client.v2("GET", "projects", **{"Accept-Encoding": "gzip"}).headers


def test_a_list_of_rows_comes_without_duplicates_in_no_order(client: Client, labelled: list[str]) -> None:
    """Each row asked for once, those that are not there left out, another order than asked."""
    asked = [*labelled[:40], labelled[0], "no-such-row"]
    rows = client.rows(*asked).json["response"]
    hashes = [row["label_hash"] for row in rows]
    assert sorted(hashes) == sorted(labelled[:40])
    assert hashes != labelled[:40]


def test_a_row_comes_as_the_world_makes_it(client: Client, labelled: list[str]) -> None:
    """Alone and in a list, byte for byte."""
    row = WORLD.label_row(labelled[3])
    assert row is not None
    assert row in client.v1("labelrow/GET", labelled[3], {}).body
    assert row in client.rows(labelled[3]).body


def test_a_row_alone_that_is_not_there_is_not_found(client: Client) -> None:
    """One uid: an error; a list of it: an empty list."""
    assert code(client.v1("labelrow/GET", "no-such-row", {})) == ["RESOURCE_NOT_FOUND_ERROR"]
    assert client.rows("no-such-row").json["response"] == []


def test_classifications_tasks_datasets_and_branches_are_served(
    client: Client, simulator: Simulator, labelled: list[str]
) -> None:
    """Each of the smaller v2 calls answers what the world holds."""
    project = f"projects/{simulator.project_hash}"
    body = json.dumps({"labelUuids": labelled[:5], "branchName": "main"}).encode()
    labels = client.v2("POST", f"{project}/label-rows/classifications", body).json["labels"]
    assert [label["labelUuid"] for label in labels] == labelled[:5]
    assert client.v2("GET", f"{project}/datasets").json["results"] == WORLD.datasets()
    names = [branch["name"] for branch in client.v2("GET", f"{project}/branches").json["results"]]
    assert names == WORLD.branches()
    stages = client.v2("GET", project).json["workflow"]["stages"]
    tasks = [client.v2("GET", f"{project}/workflow/stages/{s['uuid']}/tasks").json for s in stages]
    assert [t["results"] for t in tasks] == [list(WORLD.tasks(s["uuid"]))[:100] for s in stages]


def pages(client: Client, target: str) -> Iterator[list[dict[str, str]]]:
    """The results of each page of a v2 list."""
    token: str | None = ""
    while token is not None:
        page = client.v2("GET", f"{target}?pageToken={token}" if token else target).json
        token = page["nextPageToken"]
        yield page["results"]


def test_what_rows_name_is_listed() -> None:
    """Branches (in pages), stages and datasets: all that the listing's rows name, before and after edits."""
    spec = WorldSpec(rows=200, branches=("model-a", "model-b", "mödel c", "model-d"))
    with Simulator(spec, tls=False) as own:
        client = Client(own)
        query = {"include_all_label_branches": True}
        rows = client.v1("labelrowmetadata/GET", None, query).json["response"]
        one, other, *_ = (item["label_hash"] for item in rows if item.get("label_hash"))
        for changes in ({}, {"random": 9, "added": 9, "stages": {one: "Review", other: "Complete"}}):
            own.edit(**changes)
            rows = client.v1("labelrowmetadata/GET", None, query).json["response"]
            project = f"projects/{own.project_hash}"
            listed = list(pages(client, f"{project}/branches"))
            assert [len(page) for page in listed] == [2, 2, 1]
            assert {branch["name"] for page in listed for branch in page} == {i["branch_name"] for i in rows}
            stages = client.v2("GET", project).json["workflow"]["stages"]
            nodes = {(i["workflow_graph_node"]["uuid"], i["workflow_graph_node"]["title"]) for i in rows}
            assert {(stage["uuid"], stage["title"]) for stage in stages} == nodes
            datasets = client.v2("GET", f"{project}/datasets").json["results"]
            named = {(item["dataset_hash"], item["dataset_title"]) for item in rows}
            assert {(dataset["datasetHash"], dataset["title"]) for dataset in datasets} == named
        client.close()


def test_writing_is_counted(client: Client) -> None:
    """Creating, saving and deleting count as mutations, wherever they are tried; reading does not."""
    with Simulator(SPEC, tls=False) as own:
        writer = Client(own)
        unlabelled = next(
            item
            for item in writer.v1("labelrowmetadata/GET", None, {}).json["response"]
            if not item.get("label_hash")
        )
        assert own.stats()["mutations"] == 0
        made = writer.v1("labelrow/PUT", [unlabelled["data_hash"]], {"multi_request": True})
        assert made.json["response"][0]["data_hash"] == unlabelled["data_hash"]
        assert made.json["response"][0]["label_hash"]
        writer.v1("labelrow/POST", ["x"], {})
        writer.v2("DELETE", "projects")
        assert own.stats()["mutations"] == 3
        writer.close()


def test_edits_show_at_once(labelled: list[str]) -> None:
    """Rows edited, removed and added behind a reader's back."""
    with Simulator(SPEC, tls=False) as own:
        reader = Client(own)
        before = reader.rows(labelled[0]).json["response"][0]
        own.edit(rows=[labelled[0]], removed=[labelled[1]], added=2)
        assert reader.rows(labelled[0]).json["response"][0] != before
        assert reader.rows(labelled[1]).json["response"] == []
        assert (
            len(reader.v1("labelrowmetadata/GET", None, {}).json["response"])
            == len(list(WORLD.listing({}))) + 1
        )
        with pytest.raises(ValueError, match="nonsense"):
            own.edit(nonsense=1)
        reader.close()


# -- the command ----------------------------------------------------------------------------------


def test_a_port_in_use_is_one_clear_line(simulator: Simulator) -> None:
    """`simulate --port` with a port that is taken: exit 2 and one line."""
    port = simulator.url.rsplit(":", 1)[1]
    done = subprocess.run(
        [HARVESTER, "simulate", "--rows", "1", "--port", port],
        capture_output=True, text=True, timeout=LONG, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"harvester: port {port} is in use: choose another --port, or 0 for any free one"
    ]


def test_the_command_serves_until_it_is_interrupted(tmp_path: Path) -> None:
    """`simulate` prints how to reach it, keeps key and CA in --dir, and ends in good order on SIGTERM."""
    faults = tmp_path / "faults.json"
    faults.write_text('{"max_rows": 7}')
    running = subprocess.Popen(
        [HARVESTER, "simulate", "--rows", "20", "--dir", tmp_path / "keys", "--faults", faults],
        stdout=subprocess.PIPE,
    )
    assert running.stdout is not None
    told = json.loads(running.stdout.readline())
    assert told["rows"] == 20
    assert Path(told["ssh_key_file"]).parent == tmp_path / "keys"
    assert Path(told["ca_file"]).exists()
    running.terminate()
    assert running.wait(LONG) == 0
    running.stdout.close()
    assert Path(told["ssh_key_file"]).exists()


def test_the_command_sets_how_files_are_served() -> None:
    """`--media-url-life` and `--media-rate`; the line that it prints has the address of files."""
    running = subprocess.Popen(
        [HARVESTER, "simulate", "--rows", "1", "--media-url-life", "5s", "--media-rate", "10"],
        stdout=subprocess.PIPE,
    )
    assert running.stdout is not None
    told = json.loads(running.stdout.readline())
    with urllib3.PoolManager(ca_certs=told["ca_file"], retries=False) as http:
        faults = http.request("GET", told["faults_url"]).json()
        assert http.request("GET", f"{told['media_url']}/simulated/nothing").status == 403
    assert (faults["media_url_life"], faults["media_rate"]) == (5.0, 10.0)
    running.terminate()
    assert running.wait(LONG) == 0
    running.stdout.close()


@pytest.mark.parametrize("time", ["0", "0.5", "soon"])
def test_a_url_life_that_is_too_short_is_bad_input(time: str) -> None:
    command = [HARVESTER, "simulate", "--media-url-life", time]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=LONG, check=False)
    assert refused.returncode == 2
    assert len(refused.stderr.splitlines()) == 1


def test_faults_that_cannot_be_played_are_bad_input(tmp_path: Path) -> None:
    """A misspelt fault: exit 2, and one line names it and those that there are."""
    faults = tmp_path / "faults.json"
    faults.write_text('{"latencie": 7}')
    done = subprocess.run(
        [HARVESTER, "simulate", "--faults", faults], capture_output=True, text=True, timeout=LONG, check=False
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    known = ", ".join(field.name for field in msgspec.structs.fields(Faults))
    assert line == f"harvester: {faults}: unknown fault 'latencie': one of {known}"


def test_the_faults_in_the_help_can_be_played() -> None:
    """The example is the content of a file as it could be given."""
    (option,) = (param for param in command("simulate").commands["simulate"].params if param.name == "faults")
    example = option.help[option.help.index("{") : option.help.index("}") + 1]
    assert msgspec.json.decode(example, type=Faults) == Faults(strikes=("503",), every=10)
