"""The report's page, seen by a browser, and the verb that writes it."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from harvester import cli
from harvester.output.target import LocalTarget
from harvester.report.measure import measure
from harvester.report.numbers import HistoryEntry
from harvester.report.page import FAILURE_MEANS, write_page
from harvester.schema import FAILURES
from harvester.settings import Selection
from tests.report.browser import look
from tests.report.conftest import pytest_runtest_setup
from tests.report.made import classification_record, made, object_record, row

HOSTILE = "<script>alert(1)</script>"
BOX = {"x": 0.1, "y": 0.2, "w": 0.3, "h": 0.05}


def hostile_export(path: Path) -> Path:
    """An export whose every name is an attack, and which fills every section of the page."""
    turned, coloured = "abc\u202edcba", "\x1b[31mred\x1b[0m{{ 7 * 7 }}"
    names = [HOSTILE, turned, coloured, '"><img src=x onerror=alert(2)>', "$\\frac{a}{b}$ 漢字", "n" * 5000]
    objects = [
        object_record(
            0, frame, objectHash=f"o{i}", name=name, shape=name, createdBy=name, boundingBox=BOX,
            reviews=[{"approved": bool(i % 2)}], attributes=[{"name": name, "text": "x" * (frame % 2)}],
        )
        for frame in range(4)
        for i, name in enumerate(names)
    ]  # fmt: skip
    answers = [{"name": HOSTILE, "number": 0}]
    rows = [row(0, task_status=HOSTILE, stage=turned, dataset_title=coloured), row(1, data_title=HOSTILE)]
    made(
        path,
        rows,
        objects=objects,
        classifications=[classification_record(answers=answers, classificationHash="c")],
        failed=["label-1"],
        title=HOSTILE,
        selection=Selection(names=(HOSTILE,)),
        dropped={HOSTILE: 3},
        run={"seconds": 9000.0, "harvested": 2, "pace": [[1.0, 1], [2.0, 2], [4.5, 9]]},
    )
    return path


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_shows_it_and_complains_of_nothing(tmp_path: Path, scheme: str) -> None:
    """In both colour schemes, with hostile names in every place that takes one."""
    page = tmp_path / "report.html"
    assert cli.main(["report", str(hostile_export(tmp_path / "out")), "-o", str(page), "--quiet"]) == 0
    dark = ["--blink-settings=preferredColorScheme=0"] if scheme == "dark" else []
    console, pixels = look(page, tmp_path / f"{scheme}.png", *dark)
    assert console == []
    ground = tuple(pixels[0, 0])
    assert ground == ((251, 250, 247) if scheme == "light" else (18, 22, 21))
    assert len(np.unique(pixels @ np.array([1, 256, 65536]))) > 50


@pytest.mark.browser
def test_the_browser_would_tell(tmp_path: Path) -> None:
    """What the test above relies on: a script that fails and a blocked image are seen in the console."""
    page = tmp_path / "broken.html"
    page.write_text("<script>throw new Error('oh')</script><body>")
    console, pixels = look(page, tmp_path / "broken.png")
    assert "oh" in "".join(console)
    assert len(np.unique(pixels)) == 1


def test_without_a_browser_tests_that_need_one_are_skipped_but_not_on_ci(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The reason says how to get one; on CI they fail, with the same words."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CI", raising=False)
    request.node.add_marker("browser")
    with pytest.raises(pytest.skip.Exception, match="install Chromium"):
        pytest_runtest_setup(request.node)
    monkeypatch.setenv("CI", "true")
    pytest_runtest_setup(request.node)
    with pytest.raises(AssertionError, match="install Chromium"):
        look(tmp_path / "page.html", tmp_path / "page.png")


def test_the_page_needs_nothing_else(tmp_path: Path) -> None:
    """No script, no address, nothing that is loaded; names stand in it as text."""
    page = write_page(measure(LocalTarget(hostile_export(tmp_path / "out"))))
    assert "<script" not in page.lower()
    assert not re.search(
        r"https?:|//[a-z]|@import|\bsrc=(?!x)|<(link|img|iframe|object)\b(?! rel=\"icon\")", page
    )
    assert "&lt;script&gt;alert(1)&lt;/" in page.replace("<wbr>", "")
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x1b]", page)
    assert "{{ 7 * 7 }}" in page
    assert "n" * 161 not in page
    ids = re.findall(r'\bid="([^"]*)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]*)"', page)) <= set(ids)


def test_the_page_is_the_same_each_time(tmp_path: Path) -> None:
    """The same export gives the same bytes."""
    numbers = measure(LocalTarget(hostile_export(tmp_path / "out")))
    assert write_page(numbers) == write_page(numbers)


def test_an_empty_export_is_one_line(tmp_path: Path) -> None:
    """Without a row there is nothing to count, and no page of zeros."""
    page = write_page(measure(made(tmp_path / "out", [], run={"seconds": 0.1, "requests": 0})))
    assert re.findall(r"<h2>(.*?)</h2>", page) == ["Label rows"]
    assert "The server listed no label row, so there is nothing to show." in page
    assert "<dd>" not in page
    page = write_page(measure(made(tmp_path / "chosen", [], selection=Selection(names=("Car",)))))
    assert "The server listed no label row that this export chooses" in page


def test_a_kind_without_records_is_one_line(tmp_path: Path) -> None:
    """And has neither reviews nor answers, nor, as nothing was chosen, filters to speak of."""
    page = write_page(measure(made(tmp_path / "out", [row()])))
    assert page.count("The export holds none.") == 2
    titles = ["Label rows", "Objects", "Classifications", "Filters", "Failed rows", "The export"]
    assert re.findall(r"<h2>(.*?)</h2>", page) == titles
    assert '<th scope="col" class="number">Seen</th>' not in page


def test_a_bar_is_the_share_of_its_track(tmp_path: Path) -> None:
    """Of rows by status, and of records by class: a full track is all of them."""
    rows = [row(i, task_status="DONE" if i < 3 else "OPEN") for i in range(4)]
    names = ["Car", "Car", "Car", "Tree", "Tree"]
    objects = [object_record(i % 4, objectHash=f"o{i}", name=name) for i, name in enumerate(names)]
    page = write_page(measure(made(tmp_path / "out", rows, objects=objects)))
    for name, bar, share in (("DONE", "75.00", "75.0"), ("OPEN", "25.00", "25.0")):
        assert re.search(rf"{name}</bdi>.*?harvested\" style=\"width:{bar}%.*?{share} %", page, re.S)
    for name, bar, share in (("Car", "60.00", "60.0"), ("Tree", "40.00", "40.0")):
        assert re.search(rf"{name}</bdi>.*?one\" style=\"width:{bar}%.*?{share} %", page, re.S)


def test_failed_rows_are_told_by_code(tmp_path: Path) -> None:
    """How many of each, and what it means; each code has its meaning."""
    rows = [row(i) for i in range(3)]
    page = write_page(measure(made(tmp_path / "out", rows, failed=["label-1", "label-2"])))
    told = re.search(r"<h3>By code</h3>.*?</table>", page, re.S)
    assert told
    assert [FAILURE_MEANS["gone"], ">2<", "100 %"] == [
        one for one in (FAILURE_MEANS["gone"], ">2<", "100 %") if one in told[0]
    ]
    assert FAILURE_MEANS.keys() == set(FAILURES)


def test_the_page_says_when_the_export_ended(tmp_path: Path) -> None:
    """In UTC; nothing where an older version has not noted it."""
    ended = {"ended_at": "2024-06-01T12:30:59+00:00"}
    page = write_page(measure(made(tmp_path / "dated", [row()], run=ended)))
    assert "exported 2024-06-01 12:30 UTC" in page
    numbers = measure(made(tmp_path / "older", [row()]))
    assert numbers.history == [HistoryEntry(0, None, {})]
    assert "exported" not in write_page(numbers)


@pytest.mark.parametrize("width", [390, 1400])
def test_the_page_is_as_wide_as_the_window(tmp_path: Path, width: int) -> None:
    """Nothing is cut off or has to be scrolled sideways, but names without a place to break."""
    numbers = measure(LocalTarget(hostile_export(tmp_path / "out")))
    page = write_page(numbers)
    # The page itself allows no script: one that looks takes that line out.
    page, allowed = re.subn(r"<meta http-equiv=\"Content-Security-Policy\"[^>]*>", "", page)
    assert allowed == 1
    script = "<script>console.log(`[${document.documentElement.scrollWidth}]`)</script>"
    (tmp_path / "page.html").write_text(page + script)
    # In a frame: a browser's window has a smallest width, which is larger than a telephone's.
    frame = tmp_path / "frame.html"
    frame.write_text(f'<iframe src="page.html" width="{width}" height="900" frameborder="0"></iframe>')
    console, _ = look(frame, tmp_path / "page.png", "--window-size=1500,1000")
    assert len(console) == 1
    assert f"[{width}]" in console[0]


def test_a_dash_is_standard_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    """The page and nothing else, and no file of that name; beside --json there is no room for it."""
    monkeypatch.chdir(tmp_path)
    export = hostile_export(tmp_path / "out")
    assert cli.main(["report", str(export), "-o", "-"]) == 0
    assert capsysbinary.readouterr().out.decode() == write_page(measure(LocalTarget(export)))
    assert list(tmp_path.iterdir()) == [export]
    assert cli.main(["report", str(export), "-o", "-", "--json"]) == 2
    out, told = capsysbinary.readouterr()
    assert (out, told.count(b"\n")) == (b"", 1)
    assert b"both want standard output" in told


def test_numbers_are_for_machines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--json alone writes no page; an export that is not there is bad input, one not finished unsound."""
    out = hostile_export(tmp_path / "out")
    assert cli.main(["report", str(out), "--json"]) == 0
    numbers = json.loads(capsys.readouterr().out)
    assert numbers["objects"]["records"] == 24
    assert numbers["project"]["title"] == HOSTILE
    assert not list(tmp_path.glob("*.html"))
    assert cli.main(["report", str(tmp_path)]) == 2
    (out / "manifest.json").unlink()
    assert cli.main(["report", str(out)]) == 3
    told = capsys.readouterr().err.splitlines()
    assert [line.split(": ", 2)[-1] for line in told] == [
        f"{tmp_path} holds no export",
        "the export is not finished; run it again, then report",
    ]
    assert cli.main(["report", str(out), "-o", str(tmp_path)]) == 2


def test_a_page_in_a_deleted_working_directory_is_bad_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Running it again would not help."""
    out, gone = hostile_export(tmp_path / "out"), tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert cli.main(["report", str(out), "-o", "page.html"]) == 2
    assert capsys.readouterr().err == "harvester: page.html: the working directory is deleted\n"
    assert cli.main(["report", str(out), "-o", str(tmp_path / "page.html"), "--quiet"]) == 0
