"""Read the project's own Markdown pages: their links, anchors, code references, tables and code blocks."""

import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
_NAMED = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *ROOT.glob("docs/*.md")]
PAGES = sorted(page for page in _NAMED if page.exists())

_FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.M | re.S)
_BLOCK = re.compile(
    r"(?:<!-- (runnable|runnable in a clone|not run: [^\n]+) -->\n)?^```(sh|python)\n(.*?)^```", re.M | re.S
)
_SCOPE = re.compile(r"<!-- (names|fields) of (\S+) -->\n+((?:\|[^\n]*\n)+)")
_LINK = re.compile(r"!?\[[^\]]*\]\(([^()\s]+)\)")
_CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")


@dataclass(frozen=True)
class Block:
    """A code block of a page."""

    page: Path
    code: str

    def __str__(self) -> str:
        return f"{self.page.name}: {self.code.strip().splitlines()[0][:60]}"


@dataclass(frozen=True)
class Table:
    """A table whose first column names things of one module or class, `scope`.

    `complete` says that the table must name every field of that class.
    """

    page: Path
    scope: str
    complete: bool
    names: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page.name}: {self.scope}"


def prose(page: Path) -> str:
    """Return the text of a page without its code blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def links(page: Path) -> list[str]:
    """Return the targets of all links and images of a page, as written."""
    return _LINK.findall(_CODE.sub("", prose(page)))


def code_references(page: Path) -> list[str]:
    """Return everything that stands in backticks in the prose of a page."""
    return _CODE.findall(prose(page))


@cache
def anchors(page: Path) -> frozenset[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    seen = Counter[str]()
    found = set()
    for heading in re.findall(r"^#{1,6} +(.+?)\s*$", prose(page), re.M):
        text = _LINK.sub(lambda link: link[0][link[0].index("[") + 1 : link[0].index("]")], heading)
        slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return frozenset(found)


def clone_blocks() -> list[Block]:
    """Return the shell blocks of all pages that are marked to run in a clone."""
    return [
        Block(page, code)
        for page in PAGES
        for mark, language, code in _BLOCK.findall(page.read_text(encoding="utf-8"))
        if mark == "runnable in a clone"
    ]


def page_script(page: Path) -> str:
    """Return what a reader can run beside an export, as one shell script: empty if there is nothing.

    These are all shell blocks without a mark, and the blocks of Python that are marked as runnable. Left out
    are those of a clone, and those that are marked with a reason not to run them.
    """
    script = list[str]()
    for mark, language, code in _BLOCK.findall(page.read_text(encoding="utf-8")):
        if language == "python" and mark == "runnable":
            script.append(f"python - <<'END_OF_PYTHON'\n{code}END_OF_PYTHON\n")
        elif language == "sh" and mark in ("", "runnable"):
            script.append(code)
    return "".join(script)


def tables() -> list[Table]:
    """Return all tables of all pages that are marked to name things of one module or class."""
    return [
        Table(page, scope, kind == "fields", _names(rows))
        for page in PAGES
        for kind, scope, rows in _SCOPE.findall(page.read_text(encoding="utf-8"))
    ]


def _names(rows: str) -> tuple[str, ...]:
    cells = [first_cell(row) for row in rows.splitlines()[2:]]
    return tuple(name for cell in cells for name in _CODE.findall(cell))


def first_cell(row: str) -> str:
    """Return the text of the first cell of a table's row."""
    return row.strip().strip("|").split("|")[0].strip()
