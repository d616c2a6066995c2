"""Code that an export names runs only if its user names it again: an export may come from somebody else."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import harvester
from harvester.errors import BadInput
from harvester.live import live_records
from harvester.output import planfile
from harvester.output.target import LocalTarget
from harvester.simulator import Simulator, WorldSpec
from tests.e2e.conftest import command_for
from tests.forked import HARVESTER, run_forked

MINE = """
import os, pathlib
pathlib.Path(os.environ["RAN"]).touch()

def large(record):
    return record["kind"] == "object"

def near(record):
    return (record["frame"] or 0) < 3
"""
GIVEN = ("--filter", "mine:near", "--filter", "mine:large")  # in another order than the export's
UNREACHABLE = {"ENCORD_DOMAIN": "http://127.0.0.1:9", "ENCORD_SSH_KEY_FILE": "/nowhere"}
ENGINES = {
    "here": (),
    "processes": ("--processes", "2"),
    "dask": ("--engine", "dask", "--scheduler", "tcp://127.0.0.1:9"),
}


class Export:
    """An export made with two filters, which holds a module of their names. A row was edited since."""

    def __init__(self, folder: Path, simulator: Simulator) -> None:
        self.out, self.ran, self.project = folder / "out", folder / "ran", simulator.project_hash
        self.command = command_for(simulator)
        self.out.mkdir()
        (self.out / "mine.py").write_text(MINE)
        filters = ("--filter", "mine:large", "--filter", "mine:near")
        done = self.run("export", self.project, "-o", ".", *filters)
        assert done.returncode == 0, done.stderr
        assert self.has_run()
        simulator.edit(rows=[next(live_records(self.out))["label_hash"]])

    def run(self, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        """The command in the export's own directory."""
        environment = self.command.environment | {"RAN": str(self.ran)} | variables
        return run_forked(*arguments, environment=environment, folder=self.out)

    def has_run(self) -> bool:
        """Whether the module was imported since this was asked last."""
        ran = self.ran.exists()
        self.ran.unlink(missing_ok=True)
        return ran


@pytest.fixture
def export(tmp_path: Path, simulator: Simulator) -> Export:
    return Export(tmp_path, simulator)


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator(WorldSpec(rows=60, objects=1.0)) as running:
        yield running


def test_a_sync_runs_nothing_that_only_the_export_names(export: Export) -> None:
    """In any engine: exit code 2 and a line that says what would run, before anything is imported, opened
    or asked for; and where only one of two is named."""
    told = (
        "harvester: . was made with --filter mine:large --filter mine:near, which is code: give it again to "
        "run it: harvester sync . --filter mine:large --filter mine:near (in Python: filters=)\n"
    )
    before = sorted(export.out.rglob("*"))
    for engine in ENGINES.values():
        for given in ((), GIVEN[:2]):
            done = export.run("sync", ".", "--quiet", *given, *engine, **UNREACHABLE)
            assert (done.returncode, done.stdout, done.stderr) == (2, "", told)
    assert not export.has_run()
    assert sorted(export.out.rglob("*")) == before


def test_a_filter_that_the_export_was_not_made_with_is_refused(export: Export) -> None:
    """It would change which records are live."""
    done = export.run("sync", ".", "--quiet", *GIVEN, "--filter", "mine:other", **UNREACHABLE)
    assert done.returncode == 2
    assert done.stderr == "harvester: . was not made with --filter mine:other: leave it out\n"
    assert not export.has_run()


@pytest.mark.parametrize("engine", ["here", "processes"])
@pytest.mark.parametrize("by", ["flags", "variable"])
def test_what_is_named_again_runs(export: Export, engine: str, by: str, tmp_path: Path) -> None:
    """As it does in an export: the live records are those of a new one."""
    flags = GIVEN if by == "flags" else ()
    variables = {} if by == "flags" else {"HARVESTER_FILTER": "mine:near,mine:large"}
    done = export.run("sync", ".", *flags, *ENGINES[engine], "--json", **variables)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["changes"]["edited"] == 1
    assert export.has_run()
    fresh = tmp_path / "fresh"
    done = export.run("export", export.project, "-o", str(fresh), *GIVEN)
    assert done.returncode == 0, done.stderr

    def live(target: Path) -> list[str]:
        return sorted(map(json.dumps, live_records(target)))

    assert live(export.out) == live(fresh)
    assert live(fresh)


def test_what_only_looks_imports_nothing(export: Export) -> None:
    """`verify`, with the server and without, `report`, `live_records`, and a plan of the same project."""
    code = "import harvester; print(len(list(harvester.live_records('.'))))"
    for arguments in (
        ("verify", "."),
        ("verify", ".", "--server"),
        ("report", "."),
        ("plan", export.project),
    ):
        done = export.run(*arguments)
        assert done.returncode == 0, done.stderr
    environment = export.command.environment | {"RAN": str(export.ran)}
    done = subprocess.run(
        [HARVESTER.with_name("python"), "-c", code], cwd=export.out, env=environment, check=True, text=True,
        capture_output=True,
    )  # fmt: skip
    assert int(done.stdout) > 0
    assert not export.has_run()


def test_no_name_of_a_filter_steers_a_terminal_or_a_shell(export: Export) -> None:
    """The line quotes what the plan holds."""
    selection = harvester.Selection(filters=("a\x1b[2J:b; rm -rf ~",))
    target = LocalTarget(export.out)
    header = planfile.read_header(target)
    assert header is not None
    spec = planfile.ExportSpec(project=header.project, selection=selection, format=header.format)
    planfile.freeze(target, [], spec)
    done = export.run("sync", ".", **UNREACHABLE)
    assert done.returncode == 2
    assert "harvester sync . --filter 'a:b; rm -rf ~' (in Python" in done.stderr


def keep_all(record: dict[str, Any]) -> bool:
    return True


def test_python_names_them_too(simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By path or as the function; else nothing is imported, and no session is opened."""
    connection = harvester.Connection(
        domain=simulator.url, ssh_key_file=simulator.ssh_key_file, ca_bundle=simulator.ca_file
    )
    out, path = tmp_path / "out", f"{__name__}:keep_all"

    def no_one_odd(record: dict[str, Any]) -> bool:
        return True

    harvester.export(simulator.project_hash, out, filters=[keep_all, no_one_odd], connection=connection)
    with monkeypatch.context() as patched:
        for name in ("harvester.filters.chain.load_filter", "harvester.filters.own.load_filter"):
            patched.setattr(name, lambda path: pytest.fail(f"{path} was imported"))
        patched.setattr("harvester.api.open_session", lambda connection: pytest.fail("a session was opened"))
        for filters in ((), [keep_all], [path], [no_one_odd]):
            for limits in (harvester.Limits(), harvester.Limits(processes=2)):
                with pytest.raises(BadInput, match=r"which is code: give it again|run that program again"):
                    harvester.sync(out, filters=filters, limits=limits)
        with pytest.raises(BadInput, match="was not made with --filter os:getcwd"):
            harvester.sync(out, filters=[path, no_one_odd, "os:getcwd"])
    simulator.edit(rows=[next(live_records(out))["label_hash"]])
    done = harvester.sync(out, filters=[no_one_odd, path], connection=connection)
    assert (done.generation, done.changes["edited"]) == (1, 1)
