"""docs/records.md has the keys of the schema, in their order, and its examples are lines of that form."""

import json
import re
from pathlib import Path

import pytest

from harvester.schema import (
    ANSWER_KEYS,
    CLASSIFICATION_KEYS,
    FAILED_KEYS,
    FAILURES,
    HEAD_KEYS,
    LISTING_KEYS,
    NOTE_KEYS,
    NOTES,
    OBJECT_KEYS,
    ROW_KEYS,
    SCHEMA_VERSION,
    SLICE_KEYS,
    UNIT_KEYS,
)

PAGES = Path(__file__).parents[2] / "docs"
DOCS = (PAGES / "records.md").read_text(encoding="utf-8")
ON_DISK = (PAGES / "on-disk-format.md").read_text(encoding="utf-8")
SECTIONS = {text.partition("\n")[0]: text for text in DOCS.split("\n## ")[1:]}


def first_column(section: str) -> tuple[str, ...]:
    """What the rows of a section's first table are of."""
    cells = re.findall(r"^\| (`.+?`) \|", SECTIONS[section], re.M)
    return tuple(name for cell in cells for name in re.findall(r"`(\w+)`", cell))


def names(section: str, text: str) -> tuple[str, ...]:
    """The keys that a section lists after some words."""
    listed = SECTIONS[section].partition(text)[2].partition(".\n")[0]
    without_values = re.sub(r"\(.*?\)", "", listed, flags=re.S)
    return tuple(re.findall(r"`(\w+)`", without_values))


@pytest.mark.parametrize(
    ("section", "keys"),
    [
        ("Head", HEAD_KEYS),
        ("Objects", OBJECT_KEYS[len(HEAD_KEYS) :]),
        ("Classifications", CLASSIFICATION_KEYS[len(HEAD_KEYS) :]),
        ("Units", UNIT_KEYS[len(HEAD_KEYS) :]),
        ("Answers", ANSWER_KEYS),
        ("Notes", NOTES),
        ("Failed rows", FAILURES),
    ],
)
def test_a_table_has_every_key_in_its_order(section: str, keys: tuple[str, ...]) -> None:
    """The keys of a kind after its head, of an answer; all notes, all codes."""
    assert first_column(section) == keys


@pytest.mark.parametrize(
    ("section", "words", "keys"),
    [
        ("Units", "A slice: ", SLICE_KEYS),
        ("Rows", "one line for each label row: ", ROW_KEYS),
        ("Notes", "what a user should know about label rows that were harvested. ", NOTE_KEYS),
        ("Failed rows", "label rows that could not be fetched or read. ", FAILED_KEYS),
        ("The listing", "filtered and failed ones too: ", LISTING_KEYS),
    ],
)
def test_a_list_has_every_key_in_its_order(section: str, words: str, keys: tuple[str, ...]) -> None:
    """Of what has no table."""
    assert tuple(dict.fromkeys(names(section, words)))[: len(keys)] == keys


@pytest.mark.parametrize(
    ("section", "keys"),
    [
        ("Objects", OBJECT_KEYS),
        ("Classifications", CLASSIFICATION_KEYS),
        ("Units", UNIT_KEYS),
        ("Answers", ANSWER_KEYS),
        ("Rows", ROW_KEYS),
        ("Notes", NOTE_KEYS),
        ("Failed rows", FAILED_KEYS),
        ("The listing", LISTING_KEYS),
    ],
)
def test_an_example_is_a_line_of_its_kind(section: str, keys: tuple[str, ...]) -> None:
    """All of its keys, in their order, on one line."""
    [line] = re.findall(r"```json\n(.+)\n```", SECTIONS[section])
    assert tuple(json.loads(line)) == keys
    assert json.dumps(json.loads(line), ensure_ascii=False, separators=(",", ":")) == line


def test_the_version_is_the_schemas() -> None:
    """It is the format of a target, which two pages name."""
    assert f"This is schema {SCHEMA_VERSION};" in DOCS
    assert f"`harvester/schema.py:SCHEMA_VERSION`, now {SCHEMA_VERSION}." in ON_DISK
    assert f"| version of everything in the target: {SCHEMA_VERSION}." in ON_DISK
    assert f"| version of the format: {SCHEMA_VERSION} |" in ON_DISK
