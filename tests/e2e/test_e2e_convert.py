"""`harvester convert` as a user runs it: what it prints, how it ends, and `verify` after it."""

import json
import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.datasets.exports import exported, records_of
from tests.e2e.conftest import Command, wait_for
from tests.forked import HARVESTER
from tests.patience import LONG
from tests.sync.worlds import LiveWorld


@pytest.fixture(scope="module")
def command() -> Command:
    """Without a server: a conversion asks none."""
    return Command({"PATH": "/usr/bin:/bin", "ENCORD_DOMAIN": "https://127.0.0.1:1"})


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported(tmp_path_factory.mktemp("exports") / "out", LiveWorld(rows=40))


def test_a_conversion_says_what_it_wrote(command: Command, export: Path, tmp_path: Path) -> None:
    """On the screen, as JSON, and it is sound."""
    out, number = tmp_path / "set", len(records_of(export, "objects"))
    done = command("convert", export, "-o", out, "--to", "parquet")
    assert (done.returncode, done.stdout) == (0, "")
    assert f"{number:,} written" in done.stderr
    done = command("convert", export, "-o", out, "--to", "parquet", "--json")
    summary = json.loads(done.stdout)
    assert summary["records"]["objects"] == {"read": number, "written": number, "left_out": {}}
    assert (summary["target"], summary["files"]) == (str(out), 5)
    done = command("verify", out)
    assert done.returncode == 0, done.stderr
    assert "sound" in done.stderr


def test_filters_count_what_they_leave_out(command: Command, export: Path, tmp_path: Path) -> None:
    """By name; flags have environment variables as everywhere."""
    done = command(
        "convert", export, "-o", tmp_path / "set", "--name", "no such name", HARVESTER_TO="parquet"
    )
    assert done.returncode == 0, done.stderr
    assert "0 written of" in done.stderr
    assert "by name" in done.stderr


def test_what_became_of_each_shape_stands_in_a_table(command: Command, export: Path, tmp_path: Path) -> None:
    """With what was left out in brackets; the columns begin below each other."""
    done = command("convert", export, "-o", tmp_path / "set", "--to", "coco")
    found = json.loads((tmp_path / "set" / "conversion.json").read_bytes())["tables"]["shapes"]
    shown = done.stderr[done.stderr.index("shapes ") : done.stderr.index("splits ")]
    lines = dict(re.findall(r"^(?:shapes)? +(\w+) {2,}(\S.*?) *$", shown, re.M))
    assert lines.keys() == found.keys()
    for shape, cells in found.items():
        reasons = {name[9:].replace("_", " "): cells[name] for name in cells if "left_out" in name}
        said = ", ".join(f"{number:,} by {reason}" for reason, number in reasons.items())
        assert lines[shape].partition(" (left out ")[2] == (f"{said})" if said else "")
    assert lines["audio"].startswith("none (left out ")


def test_damage_is_named(command: Command, export: Path, tmp_path: Path) -> None:
    """Exit 3, with the file and what to do."""
    out = tmp_path / "set"
    assert command("convert", export, "-o", out, "--to", "parquet", "--quiet").returncode == 0
    (out / "units" / "00000.parquet").write_bytes(b"")
    done = command("verify", out)
    assert done.returncode == 3
    assert "units/00000.parquet: is cut off" in done.stderr
    assert "convert its export again" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["OUT", "--to", "parquet"], 6, "no data set of ours"),
        (["SET"], 2, "name the format with --to: parquet"),
        (["SET", "--to", "png"], 2, "unknown format 'png'"),
        (["SET", "--to", "parquet", "--task", "detect"], 2, "does not take --task"),
        (["ftp://bucket/x", "--to", "parquet"], 2, "no target is at ftp://"),
        (["SET", "--to", "parquet", "--approved"], 2, "has no reviews"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    command: Command, export: Path, tmp_path: Path, arguments: list[str], code: int, said: str
) -> None:
    """With its exit code, and nothing is written."""
    places = {"OUT": str(export), "SET": str(tmp_path / "set")}
    done = command("convert", export, "-o", *(places.get(word, word) for word in arguments))
    assert done.returncode == code
    assert said in done.stderr
    assert done.stderr.strip().count("\n") == 0
    assert list(tmp_path.iterdir()) == []


def test_formats_without_work_for_processes_take_them_from_the_environment(
    command: Command, export: Path, tmp_path: Path
) -> None:
    """It may be set for all commands; a number that is none is refused in any format."""
    for number, code in (("2", 0), ("auto", 0), ("0", 2), ("257", 2), ("two", 2)):
        for to in ("yolo", "parquet"):
            done = command("convert", export, "-o", tmp_path / to, "--to", to, HARVESTER_PROCESSES=number)
            assert done.returncode == code, done.stderr


def test_a_filter_without_a_working_directory_is_not_found(export: Path, tmp_path: Path) -> None:
    """It was deleted meanwhile."""
    script = 'cd "$1" && rmdir "$1" && exec "$2" convert "$3" -o "$4" --to parquet --filter mine:large'
    arguments = (tmp_path / "gone", HARVESTER, export, tmp_path / "set")
    arguments[0].mkdir()
    done = subprocess.run(
        ["sh", "-c", script, "sh", *arguments], capture_output=True, text=True, check=False, timeout=LONG
    )
    assert done.returncode == 2
    assert done.stderr.startswith("harvester: filter 'mine:large': mine does not import")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_leaves_no_half_data_set(command: Command, tmp_path: Path, number: signal.Signals) -> None:
    """What SIGKILL leaves beside it, the next one cleans."""
    target = exported(tmp_path / "out", LiveWorld(rows=400))
    out, work = tmp_path / "set", tmp_path / ".set.converting"
    with command.start(
        "convert", target, "-o", out, "--to", "parquet", stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        wait_for(running, lambda: (work / "new").exists())
        running.send_signal(number)
        running.communicate(timeout=LONG)
    assert running.returncode == (-number if number == signal.SIGKILL else 128 + number)
    assert not out.exists()
    assert work.exists() == (number == signal.SIGKILL)
    assert command("convert", target, "-o", out, "--to", "parquet").returncode == 0
    assert not work.exists()
