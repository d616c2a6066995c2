"""Flags, their environment variables and docs/flags.md say the same."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

import harvester
from harvester import cli
from harvester.cli import values
from harvester.cli.flags import CONNECTION, FORMAT, LIMITS, SELECTION, Group
from harvester.errors import BadInput
from harvester.run import GRACE
from tests.cli.reference import PAGE, page

# Fields that no flag sets: secrets come from the environment.
SECRETS = {"ssh_key", "ssh_key_passphrase", "bearer_token"}


def test_the_page_of_flags_has_every_verb_and_flag() -> None:
    """Its tables are those that the command line makes: `python -m tests.cli.reference` writes them."""
    present = PAGE.read_text(encoding="utf-8")
    assert present == page(present)


@pytest.mark.parametrize("group", [CONNECTION, SELECTION, FORMAT, LIMITS], ids=lambda group: group.name)
def test_every_setting_has_a_flag(group: Group) -> None:
    """A setting that cannot be set from the command line would be forgotten."""
    fields = {field.name for field in msgspec.structs.fields(group.struct)}
    assert {flag.field for flag in group.flags} == fields - SECRETS


def test_the_grace_that_the_help_speaks_of_is_the_grace_that_is_given() -> None:
    """How much longer than --max-duration a run may take."""
    (text,) = (flag.help for flag in LIMITS.flags if flag.field == "max_duration")
    assert f"{GRACE:g} s to end" in text


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the export verb was called with, instead of its work."""
    called: dict[str, Any] = {}

    def run(project: str, output: str, *settings: Any, **options: Any) -> Any:
        called.update(project=project, output=output, settings=settings[:4], **options)
        raise BadInput("that will do")

    monkeypatch.setattr("harvester.cli.export.run", run)
    for name in ("ENCORD_SSH_KEY_FILE", "ENCORD_SSH_KEY", "ENCORD_DOMAIN", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    return called


def test_flags_make_settings(exported: dict[str, Any]) -> None:
    """Words in any case, lists with commas or repeated, sizes and times as people write them."""
    argv = (
        "export p -o out --task-status completed,in_review --shape polygon --shape Point --max-memory 1GiB "
        "--emit rows --processes 3 --automated --read-timeout 2m --retry-failed"
    )
    assert cli.main(argv.split()) == 2
    connection, selection, format, limits = exported["settings"]
    assert selection.task_statuses == ("COMPLETED", "IN_REVIEW")
    assert selection.shapes == ("polygon", "point")
    assert selection.manual is False
    assert format.emit == ("rows",)
    assert (limits.max_memory, limits.processes, connection.read_timeout) == (2**30, 3, 120)
    assert (exported["retry_failed"], exported["settle"]) == (True, False)


def test_every_flag_has_a_variable_and_outranks_it(
    exported: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """HARVESTER_<FLAG> is the default, of switches and lists too."""
    monkeypatch.setenv("HARVESTER_OUTPUT", "there")
    monkeypatch.setenv("HARVESTER_SHAPE", "polygon, point")
    monkeypatch.setenv("HARVESTER_APPROVED", "1")
    monkeypatch.setenv("HARVESTER_SETTLE", "true")
    monkeypatch.setenv("HARVESTER_BUNDLE_SIZE", "7")
    assert cli.main(["export", "p", "--bundle-size", "9"]) == 2
    _, selection, _, limits = exported["settings"]
    assert (exported["output"], exported["settle"]) == ("there", True)
    assert (selection.shapes, selection.approved) == (("polygon", "point"), True)
    assert limits.bundle_size == 9


def test_a_variable_that_a_sync_has_no_use_for_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """HARVESTER_LABEL_HASH chooses rows of an export; as a flag, it needs --refetch."""
    assert cli.main(["sync", str(tmp_path), "--label-hash", "a"]) == 2
    assert "give --refetch, too" in capsys.readouterr().err
    monkeypatch.setenv("HARVESTER_LABEL_HASH", "a")
    assert cli.main(["sync", str(tmp_path)]) == 2
    assert "holds no export" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        (values.size, "512MB", 512_000_000),
        (values.size, "1.5 GiB", 1_610_612_736),
        (values.size, "12", 12),
        (values.duration, "90s", 90),
        (values.duration, "400ms", 0.4),
        (values.duration, "1m30s500ms", 90.5),
        (values.duration, "1h30m", 5400),
        (values.duration, "45", 45),
        (values.processes, "4", 4),
    ],
)
def test_values_are_read_as_people_write_them(read: Any, text: str, value: float) -> None:
    """Sizes in powers of ten or two, times with units."""
    assert read(text) == value


@pytest.mark.parametrize(
    ("read", "text"),
    [(values.size, "5 apples"), (values.size, "-1"), (values.duration, "soon"), (values.processes, "many")],
)
def test_values_that_are_none_are_refused(read: Any, text: str) -> None:
    """In words that show how to write it."""
    with pytest.raises(BadInput, match=r"write"):
        read(text)


def test_auto_is_at_least_one_process() -> None:
    """One for each core that this process may use."""
    assert values.processes("auto") >= 1


def test_auto_is_within_the_bounds_on_the_largest_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(384)))
    assert harvester.Limits(processes=values.processes("auto")).processes == 256


@pytest.mark.parametrize(
    ("number", "shown"), [(999, "999 B"), (1000, "1.0 kB"), (14_200_000, "14.2 MB"), (2.5e12, "2.5 TB")]
)
def test_bytes_are_shown_short(number: float, shown: str) -> None:
    """Three digits and a unit."""
    assert values.show_bytes(number) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(6.24, "6.2 s"), (185, "3 min 05 s"), (8040, "2 h 14 min"), (59.99, "60.0 s")]
)
def test_durations_are_shown_short(seconds: float, shown: str) -> None:
    """The two largest units."""
    assert values.show_duration(seconds) == shown
