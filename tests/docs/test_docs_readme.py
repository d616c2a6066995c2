"""The README is short and leads to every page; commands on all pages exist as they are written."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harvester.cli import command
from tests.docs.markdown import PAGES, ROOT, links

README = ROOT / "README.md"
PICTURE = ROOT / "docs" / "export.svg"
LONGEST = 10_240  # bytes: about five minutes of reading


def commands() -> Iterator[tuple[str, list[str]]]:
    """The page and the words of each `harvester ...` in a shell block, up to a pipe or the like."""
    for page in PAGES:
        for code in re.findall(r"^```sh\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S):
            for line in code.splitlines():
                words = shlex.split(line, comments=True)
                for at, word in enumerate(words):
                    if Path(word).name == "harvester":
                        said = words[at + 1 :]
                        end = next((n for n, one in enumerate(said) if set(one) <= set("|>&;")), len(said))
                        yield page.name, said[:end]


def test_the_readme_is_read_in_five_minutes() -> None:
    assert len(README.read_bytes()) <= LONGEST


def test_the_readme_leads_to_every_page() -> None:
    """Without a detour."""
    linked = {(ROOT / link.partition("#")[0]).resolve() for link in links(README)}
    assert {page for page in PAGES if page != README} <= linked


def test_the_picture_is_small_and_loads_nothing_from_elsewhere() -> None:
    """`make picture` draws it; a page shows it as an image, which may load no font and run no script."""
    text = PICTURE.read_text(encoding="utf-8")
    assert len(text) < 60_000
    assert "url(http" not in text
    assert "<script" not in text
    assert "resumed" in text


@pytest.mark.parametrize(("page", "words"), list(commands()), ids=lambda value: str(value)[:80])
def test_every_command_on_a_page_is_one_that_harvester_takes(page: str, words: list[str]) -> None:
    """Its verb exists, and has the flags that are used; nothing is run."""
    name, *arguments = words
    verb: Any = command().commands[name]
    verb.make_context(name, arguments)


def test_the_pages_have_commands() -> None:
    """The test above finds some on the pages that teach them."""
    assert {"README.md", "choosing.md", "sync.md", "cluster.md", "simulator.md"} <= {
        page for page, _ in commands()
    }
