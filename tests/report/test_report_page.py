"""The report's page, seen by a browser, and the verb that writes it."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from harvester import cli
from harvester.output.target import LocalTarget
from harvester.report.measure import measure
from harvester.report.page import write_page
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
            reviews=[{"approved": bool(i % 2)}], attributes=[{"name": name, "answers": [""] * (frame % 2)}],
        )
        for frame in range(4)
        for i, name in enumerate(names)
    ]  # fmt: skip
    answers = [{"name": HOSTILE, "answers": "x"}]
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


def test_an_empty_export_has_a_page(tmp_path: Path) -> None:
    """Without a row, an object or a box."""
    page = write_page(measure(made(tmp_path / "out", [])))
    assert "<h2>Objects</h2>" in page
    assert "Boxes" not in page


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
