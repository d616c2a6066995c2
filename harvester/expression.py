"""`--where`: an expression over the record that would be written, in CEL, the Common Expression Language.

Only what the expression reads is decoded. Numbers inside `object`, `classification` and the answers are
doubles, as CEL has it for JSON, however the server spelt them: whether 1 came as 1 or as 1.0 never matters.
A record whose field is missing or null where a value is needed does not match, nor does one whose list has no
such element.
"""

import math
import re
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, TypedDict

import msgspec

from harvester.errors import BadInput
from harvester.events import one_line
from harvester.schema import CLASSIFICATION_KEYS, HEAD_KEYS, OBJECT_KEYS

if TYPE_CHECKING:
    from cel import Program

# Keys that only records of one kind have.
_OF_OBJECTS = frozenset(OBJECT_KEYS) - frozenset(CLASSIFICATION_KEYS)
_OF_CLASSIFICATIONS = frozenset(CLASSIFICATION_KEYS) - frozenset(OBJECT_KEYS)
_VARIABLES = (*OBJECT_KEYS, *(key for key in CLASSIFICATION_KEYS if key not in OBJECT_KEYS))
# What the server sent, and what is made of it: its numbers are doubles.
_OF_JSON = frozenset(("object", "classification", "attributes", "dynamic_attributes", "answers", "reviews"))
# Of these only the fields that are named are decoded, where the expression names fields.
_BY_FIELD = ("object", "classification")

# What the library has; a test calls each.
FUNCTIONS = frozenset(
    (
        "contains", "startsWith", "endsWith", "matches", "size",
        "string", "int", "uint", "double", "bytes", "timestamp", "duration", "type", "dyn",
        "getFullYear", "getMonth", "getDayOfYear", "getDayOfMonth", "getDate", "getDayOfWeek",
        "getHours", "getMinutes", "getSeconds", "getMilliseconds",
    )
)  # fmt: skip
_TYPES = frozenset(("int", "uint", "double", "string", "bytes", "bool", "list", "map"))

_BOUND = re.compile(r"\.\s*(?:all|exists|exists_one|map|filter)\s*\(\s*(\w+)\s*,")
_SYNTAX = re.compile(r"ERROR: <input>:(\d+):(\d+): (?:Syntax error: )?(.*)")
_UNDEFINED = re.compile(r"Undefined variable or function: '(\w+)'")
# What shows which fields are read: ``a.b``, ``a["b"]``, ``a[0]``, and a loop's variable with its list.
_SELECTED = re.compile(r"(?<![\w.])([a-zA-Z_]\w*)((?:\s*\.\s*\w+\b(?!\s*\())*)")
_KEYED = re.compile(r"\[\s*(?:\"(\w+)\"|'(\w+)')\s*\]")
_NUMBERED = re.compile(r"\[\s*\d+\s*\]")
_LOOP = re.compile(
    r"(?<![\w.])([a-zA-Z_]\w*)((?:\s*\.\s*\w+)*?)\s*\.\s*(?:all|exists|exists_one|map|filter)\s*\(\s*(\w+)\s*,"
)
_QUOTED = re.compile(r"\"[^\"\n]*\"|'[^'\n]*'")
# What other languages write, in lower case, and what CEL does.
_SPELT = {
    "and": "&&", "&": "&&", "or": "||", "|": "||", "not": "!",
    "=": "==", "===": "==", "is": "==", "<>": "!=", "!==": "!=", "=>": ">=", "=<": "<=",
    "none": "null", "null": "null", "true": "true", "false": "false",
}  # fmt: skip
_WORD_OR_SIGN = re.compile(r"\w+|[=!<>&|]+")
_AROUND = 20  # characters shown of where an error is

# A record in which what is usually there has the usual type: what an expression gives shows at the start.
_LABEL = {
    "name": "",
    "value": "",
    "featureHash": "",
    "confidence": 1.0,
    "createdBy": "",
    "manualAnnotation": True,
}
_USUAL = {
    **dict.fromkeys(HEAD_KEYS, ""),
    **dict.fromkeys(("width", "height", "frame", "object_number", "until"), 0),
    **dict.fromkeys(("object_hash", "classification_hash", "feature_hash", "name", "shape"), ""),
    "object": _LABEL | {"objectHash": "", "shape": ""},
    "classification": _LABEL | {"classificationHash": ""},
}


class Where:
    """An expression, ready to be evaluated on the lines of records. May be used from many threads.

    It concerns records of the `kinds` that have what it names: one that names `object` leaves
    classifications alone, one that names `answers` leaves objects alone.
    """

    name = "where"

    def __init__(self, expression: str, keys: tuple[str, ...] = _VARIABLES) -> None:
        """Take an expression over these `keys`, by default those of objects and classifications.

        Raises:
            BadInput: it cannot be used. The message names the column.
        """
        self._program = _compiled(expression, keys)
        self.reads = frozenset(self._program.variables()) & frozenset(keys)
        objects, classifications = self.reads & _OF_OBJECTS, self.reads & _OF_CLASSIFICATIONS
        alone = "objects" if objects else "classifications"
        self.kinds = (alone,) if bool(objects) != bool(classifications) else ("objects", "classifications")
        self.fields = {".".join(path): path for path in _paths(expression, self.reads)}
        fields = {name: _named_fields(expression, name) for name in _BY_FIELD}
        self.reads_reviews = "reviews" in self.reads or any(
            name in self.reads and (named is None or "reviews" in named) for name, named in fields.items()
        )
        self._of_json = self.reads & _OF_JSON
        self._decode = msgspec.json.Decoder(self._record_type(fields)).decode
        self._check_result(expression)

    def _record_type(self, fields: dict[str, frozenset[str] | None]) -> Any:
        types: dict[str, Any] = dict.fromkeys(self.reads, Any)
        for name in self.reads.intersection(_BY_FIELD):
            if (named := fields[name]) is not None:
                types[name] = _partly(name, dict.fromkeys(named, Any))
        return _partly("record", types)

    def _check_result(self, expression: str) -> None:
        try:
            result = self._program.execute(_USUAL)
        except Exception:
            return  # the example is not the record that it is meant for
        if not isinstance(result, bool | None):
            raise BadInput(
                f"--where: column 1 (at {_excerpt(expression, 0)}): gives {result!r}, not true or false"
            )

    def matches(self, line: bytes, label_hash: str | None, lacking: set[str] | None = None) -> bool:
        """Whether the record that would be written as `line` is kept.

        Takes those of the expression's `fields` out of `lacking` that have a value in this record.

        Raises:
            BadInput: it cannot be said, for another reason than that something is missing.
        """
        values = self._decode(line)
        if lacking:  # seldom after the first record, so that this costs nothing
            lacking -= {field for field in lacking if _has(values, self.fields[field])}
        for name in self._of_json & values.keys():
            values[name] = _doubles(values[name])
        try:
            result = self._program.execute(values)
        except (KeyError, IndexError):
            return False
        except Exception:
            result = self._without_nulls(values, label_hash)
        if result is None or isinstance(result, bool):
            return bool(result)
        raise self._failed(f"it gives {one_line(repr(result), limit=40)}, not true or false", label_hash)

    def _without_nulls(self, values: dict[str, Any], label_hash: str | None) -> Any:
        """The result with all null fields taken for missing ones; None where it needs one of these."""
        values = _pruned(values)
        try:
            return self._program.execute(values)
        except (KeyError, IndexError):
            return None
        except Exception as exc:
            reason = str(exc)
            undefined = _UNDEFINED.match(reason)
            if undefined and undefined[1] in self.reads:
                return None
            raise self._failed(_explained(exc), label_hash) from exc

    def _failed(self, reason: str, label_hash: str | None) -> BadInput:
        where = f"one of the records of row {label_hash}"
        return BadInput(f"--where cannot be used on {where}: {reason}", operation="filter", row=label_hash)


def _compiled(expression: str, keys: tuple[str, ...]) -> "Program":
    import cel  # not before it is needed: with it come the libraries of its own command line

    try:
        program = cel.compile(expression)
    except ValueError as exc:
        raise _syntax_error(expression, str(exc)) from exc
    known = {*keys, *_TYPES, *_BOUND.findall(expression)}
    variables = [name for name in program.variables() if name not in known]
    functions = [name for name in program.functions() if name.isidentifier() and name not in FUNCTIONS]
    if not variables and not functions:
        return program
    blank = _without_quoted(expression)
    places = {name: _first(name, blank) for name in (*variables, *functions)}
    name = min(places, key=places.__getitem__)
    if name in variables:
        what = f"no such key of a record: {name}; there are {', '.join(keys)}"
    else:
        what = f"no such function: {name}; there are {', '.join(sorted(FUNCTIONS))}"
    what = _other_spelling(expression, places[name]) or what
    raise BadInput(f"--where: column {places[name] + 1} (at {_excerpt(expression, places[name])}): {what}")


def _without_quoted(expression: str) -> str:
    """The expression with blanks for its quoted texts, as long as it is."""
    return _QUOTED.sub(lambda found: " " * len(found[0]), expression)


def _other_spelling(expression: str, place: int) -> str | None:
    """What to write where the word or sign at `place`, or the one before it, is another language's."""
    words = [found for found in _WORD_OR_SIGN.finditer(_without_quoted(expression)) if found.start() <= place]
    for word in (found[0] for found in reversed(words[-2:])):
        cel = _SPELT.get(word.lower(), word)
        if cel != word:
            return f"CEL writes {cel} for {word}"
    return None


def _first(name: str, text: str) -> int:
    found = re.search(rf"(?<!\w){name}(?!\w)", text)
    return found.start() if found else 0


def _syntax_error(expression: str, said: str) -> BadInput:
    """The first error that the parser names, in one line."""
    found = _SYNTAX.search(said)
    if found is None:
        return BadInput(f"--where: {one_line(said)}")
    line, column, reason = int(found[1]), int(found[2]), found[3]
    place = sum(len(text) + 1 for text in expression.split("\n")[: line - 1]) + column - 1
    reason = reason.partition(" expecting ")[0].replace("mismatched input '<EOF>'", "something is missing")
    reason = _other_spelling(expression, place) or reason
    spot = f"column {column}" if line == 1 else f"line {line}, column {column}"
    return BadInput(f"--where: {spot} (at {_excerpt(expression, place)}): {reason}")


def _excerpt(expression: str, place: int) -> str:
    rest = " ".join(expression[place:].split())
    if not rest:
        return "its end"
    return repr(rest if len(rest) <= _AROUND else rest[:_AROUND] + "...")


def _named_fields(expression: str, variable: str) -> frozenset[str] | None:
    """The fields of `variable` that the expression reads; None: all of them, as it is used as a whole.

    Searched for in the text, quotes and all: what only looks like a field costs time, and nothing else.
    """
    uses = len(re.findall(rf"(?<!\w){variable}(?!\w)", expression))
    selected = rf"(?<!\w){variable}\s*(?:\.\s*(\w+)\b(?!\s*\()|\[\s*(?:\"(\w+)\"|'(\w+)')\s*\])"
    fields = re.findall(selected, expression)
    return frozenset(max(names) for names in fields) if len(fields) == uses else None


def _paths(expression: str, variables: Collection[str]) -> set[tuple[str, ...]]:
    """The ways to all fields that the expression reads, as far as its text shows them; each with its start.

    That of a field in the elements of a list leads through the list.
    """
    text = _NUMBERED.sub("", _KEYED.sub(r".\1\2", expression))
    text = _QUOTED.sub('""', text)
    bound: dict[str, tuple[str, ...]] = {}

    def path(root: str, rest: str) -> tuple[str, ...]:
        return (*bound.get(root, (root,)), *re.findall(r"\w+", rest))

    for root, rest, variable in _LOOP.findall(text):
        bound[variable] = path(root, rest)
    found = {path(root, rest) for root, rest in _SELECTED.findall(text)}
    return {way[:end] for way in found if way[0] in variables for end in range(1, len(way) + 1)}


def _has(value: Any, path: tuple[str, ...]) -> bool:
    """Whether there is something at the end of `path`: neither null nor an empty list."""
    for step, name in enumerate(path):
        if isinstance(value, list):
            return any(_has(item, path[step:]) for item in value)
        if not isinstance(value, dict):
            return False
        value = value.get(name)
    return value is not None and value != []


def _partly(name: str, types: dict[str, Any]) -> Any:
    """The type of a JSON object of which only these keys are decoded, into a dict."""
    return TypedDict(name, types, total=False)  # type: ignore[operator]  # made while we run


def _doubles(value: Any) -> Any:
    """`value` with all its numbers as doubles."""
    if type(value) is int:
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    if isinstance(value, dict):
        return {key: _doubles(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_doubles(item) for item in value]
    return value


def _pruned(value: Any) -> Any:
    """`value` without the null fields in it."""
    if isinstance(value, dict):
        return {key: _pruned(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_pruned(item) for item in value]
    return value


def _explained(exc: Exception) -> str:
    reason = one_line(str(exc))
    if isinstance(exc, TypeError):
        reason = f"types that do not go together: {reason.partition(': ')[2].partition('. ')[0] or reason}"
        reason += "; the numbers of objects and answers are doubles: write 2.0, not 2, to calculate with them"
    return reason
