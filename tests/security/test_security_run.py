"""The security of whole runs, through the installed command. Where each point of the list is held:

1. Keys: by path, environment or text, checked first, never shown: tests/encord/test_encord_credentials.py;
   never in the arguments of a child: here.
2. Redaction: the patterns: tests/cli/test_cli_redaction.py; a planted secret is in no output, file or
   report: here.
3. Signed URLs are not asked for: tests/filters/test_filters_chain.py; they are in no output: here.
4. https only, verified, no redirects, no other host: tests/encord/test_encord_transport.py, and
   tests/cli/test_cli_settings.py; no flag turns it off: here.
5. File names are made of indices; files 0600, directories 0700 whatever the umask: here, and
   tests/output/test_output_target.py. No link in an export is followed:
   tests/security/test_security_links.py. Titles cannot steer the terminal: here, and
   tests/cli/test_cli_shown.py.
6. Caps on size, ratio and nesting: tests/encord/test_encord_body.py, tests/e2e/test_e2e_faults_server.py.
7. Nothing but reads is sent: tests/encord/test_encord_guard.py; no verb makes a mutating call: here.
8. The SDK's internals are what they were: tests/encord/test_encord_transport.py, which says what to do when
   they move. Dependencies are locked with hashes: here.
"""

import json
import os
import re
import stat
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harvester.simulator import Faults, Simulator, WorldSpec
from tests.e2e.conftest import command_for
from tests.encord.recording import Asked, Recording, Reply, key_file, private_key_text
from tests.forked import HARVESTER, ForkedCommand
from tests.patience import LONG

PROJECT = "Demo street scenes"
ROOT = Path(__file__).parents[2]
NAME = re.compile(
    r"(?:manifest\.json|\.harvester|commits|lock|ontology\.json|listing\.ndjson\.zst|plan(?:-settled)?\.(?:json|ndjson\.zst)"
    r"|(?:objects|classifications|units|notes|rows|failed)-\d{5}\.ndjson|\d{5}\.json)"
)


class Watched:
    """The command; all that it says, leaves behind, or gives its children as arguments is kept."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self.folder = folder
        self.temporary = folder / "temporary"
        self.temporary.mkdir(parents=True)
        self._environment = environment | {"TMPDIR": str(self.temporary)}
        self.said: list[str] = []
        self._arguments: set[bytes] = set()

    def __call__(self, *arguments: str | Path, umask: int = -1, **variables: str) -> int:
        process = ForkedCommand(
            *arguments,
            environment=self._environment | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            umask=umask,
        )
        ended = threading.Event()
        watching = threading.Thread(target=self._watch, args=(ended,))
        watching.start()
        self.said += map(bytes.decode, process.communicate(timeout=LONG))
        ended.set()
        watching.join()
        return process.wait()

    def _watch(self, ended: threading.Event) -> None:
        while not ended.wait(0.1):
            for process in Path("/proc").glob("[0-9]*"):
                try:
                    self._arguments.add((process / "cmdline").read_bytes())
                except OSError:
                    pass  # it has ended

    def everything(self) -> bytes:
        """All of it, as one text to search."""
        files = [path.read_bytes() for path in self.folder.rglob("*") if path.is_file()]
        return b"\0".join([*(text.encode() for text in self.said), *files, *self._arguments])


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator(WorldSpec(rows=60, objects=2)) as running:
        yield running


@pytest.fixture
def watched(simulator: Simulator, tmp_path: Path) -> Watched:
    return Watched(command_for(simulator).environment, tmp_path / "watched")


def secrets_of(key: str) -> list[bytes]:
    lines = [line for line in key.splitlines() if "-----" not in line]
    return [
        line[:24].encode() for line in lines[1:] if len(line) >= 24
    ]  # the first line is alike in all keys


def test_every_verb_in_fair_weather_and_foul_gives_nothing_away(
    simulator: Simulator, watched: Watched
) -> None:
    """The key is in no output, file or argument; no signed URL is; and no call would have written."""
    key = simulator.ssh_key_file.read_text()
    target = watched.folder / "out"
    loud = ("--debug", "--log-level", "debug")
    simulator.set_faults(Faults(strikes=("500", "truncated"), every=2, times=2))
    assert watched("export", PROJECT, "-o", target, "--processes", "2", "--bundle-size", "5",
                   "--rows-per-part", "30", "--emit", "objects,classifications,rows", *loud) == 0  # fmt: skip
    simulator.set_faults()
    others = {
        ("projects",): 0,
        ("status", PROJECT): 0,
        ("plan", PROJECT): 0,
        ("verify", target, "--server"): 0,
        ("export", PROJECT, "-o", "-"): 0,
        ("export", "no such project", "-o", watched.folder / "no"): 2,
    }
    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(lambda verb: watched(*verb, *loud), others)) == list(others.values())
    assert watched("sync", target, *loud, ENCORD_SSH_KEY_FILE="", ENCORD_SSH_KEY=key) == 0
    everything = watched.everything()
    assert b"objectHash" in everything  # it is searched where labels are
    secrets = secrets_of(key)
    assert secrets
    for secret in (*secrets, b"X-Goog-Signature", b"encord-sig="):
        assert secret not in everything
    assert simulator.stats()["mutations"] == 0


def test_what_a_server_says_in_an_error_gives_nothing_away(tmp_path: Path) -> None:
    """Its answers may quote the request and signed URLs; neither the screen nor a log shows them."""
    token, signature = "CANARY-token-73ab", "CANARY-signature-51cd"
    said = f"Authorization: Bearer {token} at https://bucket.example/a.jpg?X-Amz-Signature={signature}"
    replies = (
        Reply(json.dumps({"message": said}).encode(), status=400),
        Reply(json.dumps({"message": said}).encode(), status=401),
        Reply(json.dumps({"detail": said}).encode(), status=403),
        Reply(b"", status=302, headers={"Location": said.rpartition(" ")[2]}),
    )

    def run(at: int) -> bytes:
        def answer(asked: Asked) -> Reply:
            assert asked.headers["Authorization"] == f"Bearer {token}"
            return replies[at]

        with Recording(answer, None) as server:
            environment = {"PATH": os.environ["PATH"], "ENCORD_DOMAIN": server.url}
            watched = Watched(environment | {"HARVESTER_BEARER_TOKEN": token}, tmp_path / str(at))
            assert watched("projects", "--debug", "--log-level", "debug") in (2, 4, 5)
            return watched.everything()

    with ThreadPoolExecutor(2) as threads:
        for everything in threads.map(run, range(len(replies))):
            assert b"CANARY" not in everything
            assert b"harvester: " in everything


def test_the_report_of_a_bug_gives_nothing_away(watched: Watched, tmp_path: Path) -> None:
    """The traceback that is kept in a file for a report, and the one on the screen, are redacted."""
    key = private_key_text()
    (tmp_path / "defect.py").write_text(
        "from harvester.run import Run\n"
        f"async def fail(*_): raise RuntimeError({key!r} + ' https://a.example/?sig=CANARY-url')\n"
        "Run.write_manifest = fail\ndef keep(record): return True\n"
    )
    flags = ("export", PROJECT, "--filter", "defect:keep", "-o", watched.folder / "out")
    assert watched(*flags, PYTHONPATH=str(tmp_path)) == 1
    assert watched(*flags[:-1], watched.folder / "other", "--debug", PYTHONPATH=str(tmp_path)) == 1
    (report,) = watched.temporary.glob("harvester-bug-*")
    assert stat.S_IMODE(report.stat().st_mode) == 0o600
    assert b"Traceback" in report.read_bytes()
    everything = watched.everything()
    for secret in (*secrets_of(key), b"CANARY"):
        assert secret not in everything


@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_what_is_written_is_the_users_own_and_named_by_number(
    simulator: Simulator, watched: Watched, umask: int
) -> None:
    """Titles of any kind: no file outside, no name but known ones, nothing that others could read."""
    simulator.set_faults(Faults(hostile_titles=True))
    target = watched.folder / "out"
    assert watched("export", PROJECT, "-o", target, "--rows-per-part", "20", umask=umask) == 0
    if umask:
        verbs = (("status", PROJECT), ("plan", PROJECT), ("projects",), ("verify", target))
        with ThreadPoolExecutor(2) as threads:
            assert list(threads.map(lambda verb: watched(*verb), verbs)) == [0, 0, 0, 0]
    simulator.set_faults()
    assert b"etc/passwd" in b"".join(path.read_bytes() for path in target.glob("*.ndjson"))
    assert sorted(path.name for path in watched.folder.iterdir()) == ["out", "temporary"]
    for path in (target, *target.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
        assert path == target or NAME.fullmatch(path.name), path
    shown = "".join(watched.said)
    assert PROJECT in shown
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]", shown)


def test_a_locked_key_opens_or_says_why_not(simulator: Simulator, watched: Watched) -> None:
    """With the right passphrase it is asked with (and refused, being nobody's); else one line says why."""
    from tests.encord.test_encord_credentials import LOCKED_OPENSSH

    locked = str(key_file(watched.folder, LOCKED_OPENSSH))
    for passphrase, said in (
        ("open sesame", "does not accept"),
        ("wrong", "does not open"),
        ("", "none was given"),
    ):
        watched.said.clear()
        variables = {"ENCORD_SSH_KEY_FILE": locked, "HARVESTER_SSH_KEY_PASSPHRASE": passphrase}
        assert watched("projects", **variables) == 4
        (line,) = "".join(watched.said).splitlines()
        assert said in line
        assert "sesame" not in line


def test_the_sdks_own_transport_reads_rows_of_every_age(simulator: Simulator, tmp_path: Path) -> None:
    """It is asked below the getters that trip over older rows: the records are those of the pooled one."""
    command, branches = command_for(simulator), "--include-all-label-branches"
    sdk, pooled = (
        command.export(tmp_path / way, PROJECT, "--transport", way, branches) for way in ("sdk", "pooled")
    )
    assert sdk["counts"] == pooled["counts"]
    assert sdk["records"] == pooled["records"]


def test_rows_come_whole_where_a_feature_is_chosen(simulator: Simulator, tmp_path: Path) -> None:
    """The server could leave other features out of a row; of a row that is written as sent, it must not."""
    command, some = command_for(simulator), (PROJECT, "--emit", "objects,rows")
    command.export(tmp_path / "all", *some)
    first = json.loads((tmp_path / "all" / "objects-00000.ndjson").read_bytes().splitlines()[0])
    command.export(tmp_path / "few", *some, "--feature-hash", first["object"]["featureHash"])
    rows = [(tmp_path / name / "rows-00000.ndjson").read_bytes() for name in ("all", "few")]
    assert rows[0] == rows[1]
    objects = [(tmp_path / name / "objects-00000.ndjson").read_bytes() for name in ("all", "few")]
    assert 0 < len(objects[1]) < len(objects[0])


def test_no_flag_turns_verification_off() -> None:
    """Nothing in the help of an export speaks of it."""
    done = subprocess.run([HARVESTER, "export", "--help"], capture_output=True, text=True, check=True)
    assert "--ca-bundle" in done.stdout
    assert not re.search(r"insecure|no-verify|skip-verify|verify-ssl|--tls", done.stdout)


@pytest.mark.parametrize("name", ["run", "test", "lint"])
def test_dependencies_are_locked_with_hashes_and_no_index(name: str) -> None:
    """Each of them has a version and hashes, and no line says where to get it."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    locked = re.split(r"\n(?=\S)", text.strip())
    assert len(locked) > 30
    for one in locked:
        assert re.match(r"[\w.\[\],-]+==[\w.!+]+", one), one
        assert "--hash=sha256:" in one
    assert "://" not in text
