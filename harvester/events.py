"""Counters, log lines, and the redaction of secrets that all text passes.

Each log line goes through the standard library's logger ``harvester``, so that a program which uses harvester
as a library decides where it goes. `configure` is for the command line: it sends the lines of harvester and
of the libraries to one stream. No line is written without `redact`.
"""

import logging
import re
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from structlog.stdlib import BoundLogger, ProcessorFormatter

# Event name -> the level at which it is logged. Other events are logged at INFO.
LEVELS: Mapping[str, int] = {
    "export.resumed": logging.INFO,
    "export.progress": logging.INFO,
    "export.finished": logging.INFO,
    "plan.frozen": logging.INFO,
    "changes.frozen": logging.INFO,
    "ontology.changed": logging.WARNING,
    "sync.options_passed_over": logging.WARNING,
    "selection.unknown_feature": logging.WARNING,
    "listing.filter_ignored": logging.WARNING,
    "listing.filter_contradicted": logging.WARNING,
    "store.away": logging.WARNING,
    "store.answers": logging.INFO,
    "part.started": logging.DEBUG,
    "part.committed": logging.INFO,
    "part.repaired": logging.WARNING,
    "bundle.split": logging.DEBUG,
    "answer.foreign": logging.WARNING,
    "request.answered": logging.DEBUG,
    "request.refused": logging.DEBUG,
    "request.retried": logging.INFO,
    "row.failed": logging.WARNING,
    "file.failed": logging.WARNING,
    "media.progress": logging.INFO,
    "convert.progress": logging.INFO,
    "compact.progress": logging.INFO,
    "row.noted": logging.WARNING,
    "rows.failed": logging.WARNING,
    "rows.drifted": logging.WARNING,
    "rows.older": logging.DEBUG,
    "rows.clocks_differ": logging.WARNING,
}

# Loggers of the libraries. Only their warnings and errors are logged, whatever level the user chose: the SDK
# logs the start of each request at INFO, and urllib3 each URL at DEBUG.
FOREIGN_LOGGERS = ("encord", "urllib3", "requests", "aiohttp", "asyncio", "distributed")


@dataclass(slots=True)
class Counters:
    """The counters of a run. Only the event loop's thread may change them, because ``+=`` is not atomic.

    Label rows: `listed`, and by outcome `harvested`, `unlabelled`, `filtered` and `failed`. At the end of a
    run the outcomes add up to `listed`.

    Written: `objects`, `classifications`, `units` and `rows` are records, `notes` are notes on harvested
    rows.

    Requests: `requests` counts those for label rows, without the listing; `refused` those refused by the rate
    limit; `retries` those sent again. `wire_bytes` is the size of the answers on the network, `body_bytes`
    their size after decompression, `out_bytes` the size of the files written.

    `is_listing` says that the rows are being listed, and that `listed` still grows.
    """

    listed: int = 0
    harvested: int = 0
    unlabelled: int = 0
    filtered: int = 0
    failed: int = 0
    objects: int = 0
    classifications: int = 0
    units: int = 0
    rows: int = 0
    notes: int = 0
    requests: int = 0
    refused: int = 0
    retries: int = 0
    wire_bytes: int = 0
    body_bytes: int = 0
    out_bytes: int = 0
    is_listing: bool = False

    def add(self, numbers: Mapping[str, int], *, times: int = 1) -> None:
        """Add `times` times each number to the counter of its name."""
        for name, number in numbers.items():
            setattr(self, name, getattr(self, name) + times * number)

    def snapshot(self) -> dict[str, int]:
        """Return the present values of all counters by name."""
        return {name: value for name, value in asdict(self).items() if name != "is_listing"}

    def work(self) -> dict[str, int]:
        """Return the counters of requests and received bytes by name."""
        names = ("requests", "refused", "retries", "wire_bytes", "body_bytes")
        return {name: getattr(self, name) for name in names}

    @property
    def done(self) -> int:
        """Return the number of rows that have an outcome."""
        return self.harvested + self.unlabelled + self.filtered + self.failed


# -- redaction ------------------------------------------------------------------------------------

GONE = "[redacted]"

# The patterns have no nested repetition, so that no text can make them take exponential time.
SECRETS: tuple[tuple[re.Pattern[str], str], ...] = (
    # A private key, complete or truncated; also its body alone (every OpenSSH key starts with these letters).
    (re.compile(r"-----BEGIN [A-Z0-9 ]{1,40}-----.*?(?:-----END [A-Z0-9 ]{1,40}-----|\Z)", re.S), GONE),
    (re.compile(r"b3BlbnNzaC1rZXk(?:[A-Za-z0-9+/=\s]|\\[nr])*"), GONE),
    # The SDK's v1 signature: public key, colon, signature, without the name of a scheme.
    (re.compile(r"\b[0-9a-fA-F]{64}:[0-9a-fA-F]{128}\b"), GONE),
    (re.compile(r"\b(Bearer|Basic)\s+[^\s\"',}]+", re.I), rf"\1 {GONE}"),
    (re.compile(r"\beyJ[\w-]{6,2000}\.[\w-]+(?:\.[\w-]*)?"), GONE),
    # Headers as text, as the repr of a dict or as JSON, up to the closing quote or the end of the line.
    (
        re.compile(
            r"\b((?:Proxy-)?Authorization|Signature-Input|Signature|(?:Set-)?Cookie)"
            r"(\\?[\"']?\s*:\s*)(\\?[\"'])?(?(3).*?(?:\3|$)|[^\r\n]*)",
            re.I | re.M,
        ),
        rf"\1\2{GONE}",
    ),
    (re.compile(r"\bencord-sig=[^\s\"']+"), GONE),
    (
        re.compile(r"\b(X-(?:Amz|Goog)-[\w-]+)(\\?[\"']?\s*[=:]\s*\\?[\"']?)[^\s&\"',}]+", re.I),
        rf"\1\2{GONE}",
    ),
    (
        re.compile(
            r"\b(sig|signature|[a-z_-]{0,20}token|passphrase|password|secret|GoogleAccessId|AWSAccessKeyId)"
            r"=[^\s&\"',}]+",
            re.I,
        ),
        rf"\1={GONE}",
    ),
)


def redact(text: str) -> str:
    """Replace private keys, credentials, signatures and URL queries in `text` by ``[redacted]``."""
    if "@" in text:
        text = _ADDRESSES.sub(_without_user, text)
    for pattern, replacement in SECRETS:
        text = pattern.sub(replacement, text)
    return _WORD.sub(_without_query, text)


# A password that is not percent-encoded may contain any character, so the last @ is the one before the host.
_ADDRESSES = re.compile(r"[^\s\"<>]+")
_USER = re.compile(r"://[^/?#:@]*[:@]")


def _without_user(word: re.Match[str]) -> str:
    """Remove the user and password of an address in a word.

    After a colon before the first slash, everything up to the last @ is removed, because a password may
    contain slashes. This may remove a port and a part of the path too.
    """
    text = word[0]
    end = text.rfind("@")
    user = _USER.search(text, 0, end + 1)
    return f"{text[: user.start()]}://{GONE}{text[end:]}" if user else text


_WORD = re.compile(r"[^\s\"'<>]+")
_REQUEST_TARGET = re.compile(r"(?:^|[(=:])/")


def _without_query(word: re.Match[str]) -> str:
    """Remove the query of a URL or of a request target in a word.

    It is called for each word, because one pattern for the whole text takes quadratic time on hostile text.
    """
    address, mark, query = word[0].partition("?")
    secret = query and ("://" in address or ("=" in query and _REQUEST_TARGET.search(address)))
    return f"{address}{mark}{GONE}" if secret else word[0]


# A complete terminal escape sequence (CSI, OSC and similar, two-character), so that no part of it remains.
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]?"
)
_SPACES = re.compile(r"[\t\n\r\v\f\x1c-\x1f\x85\u2028\u2029]+")
# Control characters, zero-width and bidirectional marks, unpaired surrogates, the byte order mark.
_UNPRINTABLE = re.compile(
    r"[\x00-\x08\x0e-\x1b\x7f-\x9f\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)


def printable(text: str) -> str:
    """Return `text` on one line and without escape sequences, control characters and bidirectional marks."""
    return _UNPRINTABLE.sub("", _SPACES.sub(" ", _ESCAPES.sub("", text)))


def one_line(text: str, *, limit: int = 2000) -> str:
    """Return `text` redacted and on one line of at most `limit` characters, for use in error messages."""
    line = printable(redact(text)).strip()
    return line if len(line) <= limit else line[: limit - 1] + "…"


# -- logging --------------------------------------------------------------------------------------


class Stream(Protocol):
    """The destination of log lines: a text file, or an object with the same methods."""

    def write(self, text: str, /) -> object: ...
    def flush(self) -> object: ...


def logger(name: str = "harvester") -> "BoundLogger":
    """Return a structured logger on top of the standard library's logger `name`. Configures nothing."""
    import structlog  # imported late: a run without log lines need not load it

    bound: BoundLogger = structlog.wrap_logger(
        logging.getLogger(name),
        processors=[
            structlog.stdlib.filter_by_level,
            _redacted,
            _to_record,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    return bound


def say(event: str, fields: Mapping[str, Any], *, name: str = "harvester") -> None:
    """Log an event at its level in `LEVELS`."""
    level = LEVELS.get(event, logging.INFO)
    if logging.getLogger(name).isEnabledFor(level):
        logger(name).log(level, event, **fields)


def once(
    event: str, on_event: Callable[[str, Mapping[str, Any]], None]
) -> Callable[[str, Mapping[str, Any]], None]:
    """Wrap `on_event` so that it is called only once with `event`, even if many worker processes send it."""
    told = False

    def hear(name: str, fields: Mapping[str, Any]) -> None:
        nonlocal told
        if name != event or not told:
            told = told or name == event
            on_event(name, fields)

    return hear


def configure(level: str, stream: Stream, json: bool) -> None:
    """Send the log lines of harvester and of the libraries to `stream`, redacted.

    Calling it again replaces the former configuration.

    Args:
        level: debug, info, warning or error, for harvester. Of the libraries, warnings and errors are logged.
        stream: the destination.
        json: write one JSON object per line instead of text.
    """
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_LateFormatter(json))
    for name in ("harvester", *FOREIGN_LOGGERS):
        chosen = logging.getLogger(name)
        chosen.handlers = [handler]
        chosen.propagate = False
        ours = logging.getLevelName(level.upper())
        chosen.setLevel(ours if name == "harvester" else max(ours, logging.WARNING))


class _LateFormatter(logging.Formatter):
    """A formatter that imports structlog for its first line: a run without log lines need not load it."""

    def __init__(self, json: bool) -> None:
        super().__init__()
        self._json = json

    @cached_property
    def _made(self) -> "ProcessorFormatter":
        return _formatter(self._json)

    def format(self, record: logging.LogRecord) -> str:
        return self._made.format(record)


def _formatter(json: bool) -> "ProcessorFormatter":
    import structlog

    render = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if json
        else structlog.dev.ConsoleRenderer(colors=False, pad_event_to=20, pad_level=False)
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            _from_record,
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
        ],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _redacted, render],
        # `format_exc_info` above has already rendered the exception, so that it passes the redaction.
        use_get_message=True,
    )


def _to_record(_: Any, __: str, event: MutableMapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    # Put all fields into one attribute: a field named `message` or `name` would clash with the record's own.
    kept = {key: event.pop(key) for key in ("exc_info", "stack_info", "stacklevel") if key in event}
    return (event.pop("event"),), {**kept, "extra": {"fields": dict(event)}}


def _from_record(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {**getattr(event.get("_record"), "fields", {}), **event}


def _redacted(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """structlog processor: remove secrets and escape sequences from all strings, also from nested ones."""
    return {
        key: value if key == "exc_info" else _clean_field(key, value, lines=key == "exception")
        for key, value in event.items()
    }


# Names of fields and mapping keys whose values are always redacted.
_SECRET_KEYS = re.compile(r"authorization|signature|cookie|token|passphrase|password|secret|ssh_?key$", re.I)


def _clean_field(key: str, value: object, *, lines: bool = False) -> Any:
    return GONE if value and _SECRET_KEYS.search(key) else _clean(value, lines=lines)


def _clean(value: object, *, lines: bool = False) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {printable(redact(str(key))): _clean_field(str(key), item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(item) for item in value]
    text = redact(value.decode(errors="replace") if isinstance(value, bytes) else str(value))
    if lines:
        return "\n".join(printable(line) for line in text.splitlines())
    return printable(text)
