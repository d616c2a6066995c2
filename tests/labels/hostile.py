"""Hostile label rows: real ones mutated in every way that JSON, or no JSON, allows; and what holds of them.

Rows are trees in which every number keeps its text and every repeated key its place. `check` knows nothing
of `harvester.labels`: what it expects, it reads from the row with the standard library's parser.
"""

import json
import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from harvester.labels.extract import Extracted, Extractor
from harvester.labels.wire import ListedRow, PlanRow
from harvester.schema import CLASSIFICATION_KEYS, OBJECT_KEYS, ROW_KEYS
from harvester.settings import Format, Selection
from harvester.simulator.recipes import RECIPES
from harvester.simulator.world import World, WorldSpec

KEYS = {"objects": OBJECT_KEYS, "classifications": CLASSIFICATION_KEYS, "rows": ROW_KEYS}
COPIED = {"objects": "object", "classifications": "classification", "rows": "row"}
EVERY_KIND = ("objects", "classifications", "rows")
WORLD = World(WorldSpec(rows=120, objects=3.0, unlabelled=0.0, mix=tuple(recipe.name for recipe in RECIPES)))


class Pairs(list[tuple[str, Any]]):
    """A JSON object: its keys in their order, also the repeated ones."""

    def last(self, key: str) -> Any:
        """What counts where a key is repeated; None where it is missing."""
        return dict(self).get(key)


class Text(bytes):
    """A value by its JSON text, whatever that is."""


_LITERALS = r"""
null true 0 -0 -1 1.5 1e400 1e-400 NaN -Infinity 01 123456789012345678901234567890 -9223372036854775809
18446744073709551616 "" "0" "\u0000" "\ud800" "\udc00\ud800" "\ud83d\ude00" "a\nb" "\u001b[2J"
[] {} [[]] [null] [{}] {"":{}} [[0,9999999999999]] [[5,0]] [[0.5,1e300]] [[0,1],[1,2]] {"a":1,"a":2}
"../../etc/passwd" "root" "upsert" "delete" "scene" "video" "audio" "html" {"objects":[{}]} { nul
"""
HOSTILE = (
    *(Text(literal.encode()) for literal in _LITERALS.split()),
    Text(b""),
    Text(b'"a\nb"'),
    Text('"\u2028\u2029\u0085\u202e"'.encode()),
    Text(b'"\xff\xfe"'),
    Text(b'"\xed\xa0\x80"'),
    Text(b"1" * 5000),
    Text(b'"' + b"x" * 70_000 + b'"'),
    Text(b"[" * 120 + b"]" * 120),
    Text(b"[" * 5000 + b"]" * 5000),
    Text(b'{"a":' * 2000 + b"1" + b"}" * 2000),
)
_NAMES = """
objects classifications labels objectHash featureHash shape range spaces answers actions event data_units
space_type data_sequence reviews spaceId label_hash 0 1e3 root
"""
NAMES = (*_NAMES.split(), "", "\u2028", "٣", "a\nb")
WHITE = (b"", b"", b"", b" ", b"\n", b"\r\n  ", b"\t")


def planned_rows() -> list[tuple[PlanRow, bytes]]:
    """A few rows of every kind that the simulator makes, each with its plan."""
    found = []
    for item in WORLD.listing():
        listed = msgspec.json.decode(item, type=ListedRow)
        planned = PlanRow(
            dataset_hash=listed.dataset_hash,
            data_title=listed.data_title or "",
            label_hash=listed.label_hash,
            branch_name=listed.branch_name,
            data_hash=listed.data_hash,
            data_type=listed.data_type or "",
            metadata=msgspec.Raw(item),
        )
        found.append((planned, WORLD.label_row(listed.label_hash or "", reviews=True) or b""))
    return found


def extractor(format: Format = Format(emit=EVERY_KIND), **selection: Any) -> Extractor:
    """An extractor that knows the ontology of the rows."""
    return Extractor(Selection(**selection), format, json.dumps(WORLD.ontology()).encode())


# -- mutating -----------------------------------------------------------------------------------------


def parsed(sent: bytes) -> Any:
    """JSON as a tree; ValueError where it is none."""
    return json.loads(
        sent.decode(), object_pairs_hook=Pairs, parse_int=_number, parse_float=_number, parse_constant=_refuse
    )


def written(tree: Any, space: bytes = b"") -> bytes:
    """The JSON of a tree, with `space` between its tokens."""
    if isinstance(tree, Text):
        return bytes(tree)
    if isinstance(tree, Pairs):
        pairs = [
            json.dumps(key).encode() + space + b":" + space + written(value, space) for key, value in tree
        ]
        return b"{" + space + (b"," + space).join(pairs) + space + b"}"
    if isinstance(tree, list):
        return b"[" + space + (b"," + space).join(written(value, space) for value in tree) + space + b"]"
    return json.dumps(tree, ensure_ascii=False).encode(errors="surrogatepass")


def mutated(sent: bytes, dice: random.Random, most: int = 4) -> bytes:
    """The row after a few mutations, of its tree and sometimes of its bytes."""
    tree = parsed(sent)
    for _ in range(dice.randint(1, most)):
        tree = _mutate(tree, dice)
    sent = written(tree, dice.choice(WHITE))
    if dice.random() < 0.1:
        at = dice.randrange(len(sent) + 1)
        tail = dice.choice(
            (b"", sent[at + 1 :], b"\xff" + sent[at:], b"\n" + sent[at:], b"\x00" + sent[at + 1 :])
        )
        sent = sent[:at] + tail
    return sent


def _mutate(tree: Any, dice: random.Random) -> Any:
    holder, at = _anywhere(tree, dice)
    if holder is None:
        return tree
    key, value = holder[at] if isinstance(holder, Pairs) else ("", holder[at])
    what = dice.randrange(8)
    if what == 0:
        del holder[at]
        return tree
    if what == 1 and isinstance(holder, Pairs):  # a repeated key, before or behind
        holder.insert(dice.choice((at, len(holder))), (key, dice.choice(HOSTILE)))
        return tree
    if what == 2 and isinstance(holder, Pairs):
        holder[at] = (dice.choice(NAMES), value)
        return tree
    if what == 3:  # the same again
        holder.insert(at, holder[at])
        return tree
    if what == 4:  # something from elsewhere
        other, there = _anywhere(tree, dice)
        made = (
            parsed(b"[0]")
            if other is None
            else (other[there][1] if isinstance(other, Pairs) else other[there])
        )
        made = Text(written(made)) if len(written(made)) < 100_000 else Text(b"[]")
    elif what == 5:
        made = dice.choice(([value], Pairs([(dice.choice(NAMES), value)])))
    else:
        made = dice.choice(HOSTILE)
    holder[at] = (key, made) if isinstance(holder, Pairs) else made
    return tree


def _anywhere(tree: Any, dice: random.Random) -> tuple[Any, int]:
    """A place in the tree, the deeper the rarer: what holds it, and where; None if there is none."""
    if not isinstance(tree, list) or not tree:
        return None, 0
    while True:
        at = dice.randrange(len(tree))
        value = tree[at][1] if isinstance(tree, Pairs) else tree[at]
        if not isinstance(value, list) or not value or dice.random() < 0.15:
            return tree, at
        tree = value


def _number(text: str) -> Text:
    return Text(text.encode())


def _refuse(text: str) -> None:
    raise ValueError(text)


LARGE = 50_000_000  # bytes of lines that are no longer held at once

# -- checking -----------------------------------------------------------------------------------------


def check(sent: bytes, planned: PlanRow, harvest: Extracted, emit: Sequence[str] = EVERY_KIND) -> None:
    """Raises AssertionError unless `harvest` is a true reading of the row: whole lines, values as sent.

    Lines without end, one for each frame of a range that a mutation has made, are not looked at.
    """
    squeezed = _squeezed(sent)
    assert set(harvest.lines) == set(emit)
    for kind in harvest.lines:
        if harvest.lines[kind].size > LARGE:
            continue
        lines = bytes(harvest.lines[kind])
        assert lines == b"" or lines.endswith(b"\n")
        rows = lines.split(b"\n")[:-1]
        assert b"\r" not in lines
        assert len(rows) == harvest.written[kind]
        assert harvest.seen[kind] == harvest.written[kind] + sum(harvest.dropped[kind].values())
        for line in rows:
            record = parsed(line)
            msgspec.json.decode(line, type=msgspec.Raw)  # numbers may be beyond what Python holds
            assert tuple(key for key, _ in record) == KEYS[kind]
            copied = msgspec.json.decode(line, type=dict[str, msgspec.Raw])[COPIED[kind]]
            assert _squeezed(bytes(copied)) in squeezed
            assert b"\n" in sent or b"\r" in sent or bytes(copied) in sent
        if kind == "rows":
            assert [written(parsed(line).last("row")) for line in rows] == [written(parsed(sent))]
            metadata = [written(parsed(line).last("metadata")) for line in rows]
            assert metadata == [written(parsed(bytes(planned.metadata)))]
    if "objects" in emit and not harvest.dropped["objects"]:
        _check_none_lost(parsed(sent), planned, bytes(harvest.lines["objects"]))


def _check_none_lost(row: Pairs, planned: PlanRow, lines: bytes) -> None:
    """Every object on a frame is there as often as it was sent; any other has an entry of its own."""
    found = Counter(written(parsed(line).last("object")) for line in lines.splitlines())
    scene = ((row.last("data_type") or planned.data_type) or "").lower() == "scene"
    sent = Counter(
        written(thing)
        for thing in _on_frames(row)
        if not (scene and isinstance(thing, Pairs) and thing.last("event") == "delete")
    )
    entries = {written(value) for value in dict(row.last("object_answers") or Pairs()).values()}
    assert not sent - found
    assert set(found - sent) <= entries


def _on_frames(row: Pairs) -> Iterator[Any]:
    for places in (row.last("data_units"), row.last("spaces")):
        for place in dict(places or Pairs()).values():
            labels = place.last("labels") if place is not None else None
            if isinstance(labels, Pairs):
                flat = labels.last("objects")
                yield from flat if isinstance(flat, list) and not isinstance(flat, Pairs) else ()
                for frame in dict(labels).values():
                    if isinstance(frame, Pairs):
                        yield from frame.last("objects") or ()


def _squeezed(sent: bytes) -> bytes:
    """JSON without the spacing between its tokens."""
    return re.sub(rb'("(?:[^"\\]|\\.)*")|[ \t\r\n]+', rb"\1", sent, flags=re.S)
