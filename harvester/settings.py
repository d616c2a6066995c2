"""The settings of a run: immutable, and validated when they are made.

`Selection` and `Format` determine the content of an export. They are stored in its plan, and a target that
was made with others is refused. `Connection` and `Limits` determine how it is fetched, and never change the
output. This is also the only module that reads environment variables.
"""

import os
import sys
from collections.abc import Iterable, Mapping, Set
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from harvester.addresses import check_domain, check_scheduler, is_plain_http
from harvester.errors import BadInput
from harvester.process import MOST_PROCESSES
from harvester.schema import FILE_KINDS, KINDS, STREAM_KINDS, Kind

DEFAULT_DOMAIN = "https://api.encord.com"
DEFAULT_ROWS_PER_PART = 1000

Transport = Literal["pooled", "sdk"]
Compression = Literal["gzip", "zstd"]
Engine = Literal["local", "dask"]

# The platform's values, spelled as in the SDK's enums. A test compares them with the SDK.
TASK_STATUSES = ("QUEUED", "ASSIGNED", "IN_REVIEW", "RETURNED", "COMPLETED")
LABEL_STATUSES = (
    "NOT_LABELLED",
    "LABEL_IN_PROGRESS",
    "LABELLED",
    "REVIEW_IN_PROGRESS",
    "REVIEWED",
    "REVIEWED_TWICE",
)
SHADOW_DATA_STATES = ("ALL_DATA", "SHADOW_DATA", "NOT_SHADOW_DATA")
DATA_TYPES = (
    "video",
    "img_group",
    "dicom",
    "image",
    "dicom_study",
    "nifti",
    "audio",
    "time_series",
    "plain_text",
    "pdf",
    "group",
    "scene",
)
SHAPES = (
    "bounding_box",
    "rotatable_bounding_box",
    "polygon",
    "polyline",
    "point",
    "skeleton",
    "bitmask",
    "cuboid",
    "cuboid_2d",
    "circle",
    "ellipse",
    "segmentation",
    "audio",
    "time_range",
    "text",
)


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """How to connect to the API. May contain secrets, and is never stored.

    `ssh_key` is the text of a private key, as in ENCORD_SSH_KEY, and `ssh_key_file` the path to one. Timeouts
    are in seconds. `request_deadline` limits the time of a whole call, even if bytes keep arriving slowly.
    """

    domain: str = DEFAULT_DOMAIN
    ssh_key_file: Path | None = None
    ssh_key: str | None = None
    ssh_key_passphrase: str | None = None
    bearer_token: str | None = None
    ca_bundle: Path | None = None
    transport: Transport = "pooled"
    connect_timeout: float = 10.0
    read_timeout: float = 60.0
    request_deadline: float = 600.0
    max_response_bytes: int = 2 * 1024**3

    def __post_init__(self) -> None:
        check_domain(self.domain)
        check_one_of("transport", [self.transport], get_args(Transport))
        for name in ("connect_timeout", "read_timeout", "request_deadline"):
            check_within(name, getattr(self, name), 0.001, 86_400)
        check_within("max response bytes", self.max_response_bytes, 1024**2, 1024**4)

    def __repr__(self) -> str:
        return f"Connection(domain={self.domain!r}, transport={self.transport!r})"


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Which label rows and which records are wanted.

    It is applied in three places, the cheapest first: by the server's list call, to the listing, and to each
    record. A field for several strings also accepts a single one: ``Selection(names="Car")``.
    """

    # Applied by the server's list call.
    task_statuses: tuple[str, ...] = ()
    edited_before: str | None = None
    edited_after: str | None = None
    data_title_eq: str | None = None
    data_title_like: str | None = None
    workflow_graph_node_title_eq: str | None = None
    workflow_graph_node_title_like: str | None = None
    branch_name: str | None = None
    include_all_label_branches: bool = False
    shadow_data_state: str | None = None
    data_hashes: tuple[str, ...] = ()
    label_hashes: tuple[str, ...] = ()
    # Applied to the listing.
    data_types: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    label_statuses: tuple[str, ...] = ()
    # Applied to each record.
    shapes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    feature_hashes: tuple[str, ...] = ()
    approved: bool = False
    min_confidence: float | None = None
    authors: tuple[str, ...] = ()
    manual: bool | None = None
    where: str | None = None
    filters: tuple[str, ...] = ()
    # Requested with each label row.
    include_reviews: bool = False
    include_archived: bool = False
    signed_urls: bool = False
    client_metadata: bool = False

    def __post_init__(self) -> None:
        _make_tuples(self)
        check_one_of("task status", self.task_statuses, TASK_STATUSES)
        check_one_of("label status", self.label_statuses, LABEL_STATUSES)
        check_one_of("data type", self.data_types, DATA_TYPES)
        check_one_of("shape", self.shapes, SHAPES)
        if self.shadow_data_state is not None:
            check_one_of("shadow data state", [self.shadow_data_state], SHADOW_DATA_STATES)
        for field in self.__struct_fields__:
            value = getattr(self, field)
            if value == "" or (isinstance(value, tuple) and "" in value):
                raise BadInput(f"{field.replace('_', ' ')} may not be empty")
        if self.branch_name is not None and self.include_all_label_branches:
            raise BadInput("name one branch or include all label branches, not both")
        after, before = (
            _moment("edited after", self.edited_after),
            _moment("edited before", self.edited_before),
        )
        if after is not None and before is not None and after >= before:
            raise BadInput(
                f"nothing can be edited after {self.edited_after} and before {self.edited_before}: swap them"
            )
        if self.min_confidence is not None:
            check_within("minimum confidence", self.min_confidence, 0, 1)
        if self.where is not None:
            from harvester.expression import Where  # imported here to avoid an import cycle

            Where(self.where)


class Format(msgspec.Struct, frozen=True, kw_only=True):
    """What is written, and how it is divided into parts.

    `emit` are the kinds of record; a single one may be given as a string: ``Format(emit="objects")``. `None`
    means the default for where the records go, see `for_files` and `for_streams`. `rows_per_part` is the
    number of label rows in a part.
    """

    emit: tuple[Kind, ...] | None = None
    per_frame: bool = False
    rows_per_part: int = DEFAULT_ROWS_PER_PART
    compress: Compression | None = None

    def __post_init__(self) -> None:
        _make_tuples(self)
        check_within("rows per part", self.rows_per_part, 1, 1_000_000)
        if self.compress is not None:
            check_one_of("compression", [self.compress], get_args(Compression))
        if self.emit is None:
            return
        if not self.emit:
            raise BadInput(f"nothing to emit: name some of {', '.join(KINDS)}")
        check_kinds(self.emit)
        if len(set(self.emit)) < len(self.emit):
            raise BadInput(f"a record kind is named twice: {', '.join(self.emit)}")

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """Return the kinds of record that are written: `emit`, or the default of a stream if it is `None`."""
        return STREAM_KINDS if self.emit is None else self.emit

    def for_files(self) -> "Format":
        """Return this format with `emit` set. The default is that of a target."""
        return msgspec.structs.replace(self, emit=FILE_KINDS) if self.emit is None else self

    def for_streams(self) -> "Format":
        """Return this format with `emit` set. The default is that of standard output and of streams."""
        return msgspec.structs.replace(self, emit=STREAM_KINDS) if self.emit is None else self


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits on the load and on the duration, and where parts are harvested.

    `None` means that there is no limit for `max_duration`, and that a good value is found automatically for
    the others. `concurrency` is the number of requests in flight, `max_rps` in requests per second,
    `bundle_size` in label rows per request, `max_memory` in bytes of requests in flight, `max_duration` in
    seconds, and `max_attempts` per label row. `engine` is where parts are harvested: in `processes` of this
    machine, or on the Dask cluster whose scheduler has the address `scheduler`.
    """

    concurrency: int | None = None
    max_rps: float | None = None
    bundle_size: int | None = None
    max_memory: int = 512 * 1024**2
    max_duration: float | None = None
    max_attempts: int = 6
    processes: int = 1
    engine: Engine = "local"
    scheduler: str | None = None

    def __post_init__(self) -> None:
        check_within("concurrency", self.concurrency, 1, 1024)
        check_within("requests a second", self.max_rps, 0.001, 100_000)
        check_within("bundle size", self.bundle_size, 1, 1000)
        check_within("memory in bytes", self.max_memory, 16 * 1024**2, 1024**4)
        check_within("duration in seconds", self.max_duration, 0.001, 10 * 365 * 86_400)
        check_within("attempts", self.max_attempts, 1, 100)
        check_within("processes", self.processes, 1, MOST_PROCESSES)
        check_one_of("engine", [self.engine], get_args(Engine))
        if self.engine == "dask" and not self.scheduler:
            raise BadInput("the engine dask needs the address of a scheduler, e.g. tcp://host:8786")
        if self.scheduler is not None:
            check_scheduler(self.scheduler)
        if self.engine != "dask" and self.scheduler is not None:
            raise BadInput("a scheduler is for the engine dask only")
        if self.engine == "dask" and self.processes > 1:
            raise BadInput("processes are of this machine: a cluster has its own workers")

    @property
    def in_this_process(self) -> bool:
        """Return whether parts are harvested in the current process."""
        return self.engine == "local" and self.processes == 1


def flag_from_environment(flag: str, environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the value of a flag's environment variable, or None if it is not set or empty.

    The variable of ``--edited-after`` is HARVESTER_EDITED_AFTER.
    """
    return environ.get("HARVESTER_" + flag.lstrip("-").replace("-", "_").upper()) or None


def check_text(what: str, given: str) -> None:
    """Raise BadInput if `given`, an argument or environment variable, has bytes that are not valid text.

    `what` names it in the message, which does not quote the value.
    """
    try:
        given.encode()
    except UnicodeEncodeError:  # Python keeps such bytes as unpaired surrogates
        encoding = sys.getfilesystemencoding()
        raise BadInput(f"{what} holds bytes that are no text in the encoding {encoding}") from None


def connection_from_environment(environ: Mapping[str, str] = os.environ, **given: Any) -> Connection:
    """Make a `Connection` from the fields `given`. Missing ones are taken from environment variables.

    Credentials are the first that are set of: those in `given`, HARVESTER_BEARER_TOKEN, ENCORD_SSH_KEY_FILE,
    ENCORD_SSH_KEY. HARVESTER_SSH_KEY_PASSPHRASE decrypts the key. ENCORD_DOMAIN and REQUESTS_CA_BUNDLE are
    also read.

    Raises:
        BadInput: a value is out of range, or the domain is not an https URL.
    """
    names = {"domain": "ENCORD_DOMAIN", "ca_bundle": "REQUESTS_CA_BUNDLE"}
    if not given.keys() & {"ssh_key_file", "ssh_key", "bearer_token"}:
        credentials = {
            "bearer_token": "HARVESTER_BEARER_TOKEN",
            "ssh_key_file": "ENCORD_SSH_KEY_FILE",
            "ssh_key": "ENCORD_SSH_KEY",
        }
        first = next((field for field, variable in credentials.items() if environ.get(variable)), None)
        names |= {first: credentials[first]} if first else {}
    names["ssh_key_passphrase"] = "HARVESTER_SSH_KEY_PASSPHRASE"
    found: dict[str, Any] = {field: environ[name] for field, name in names.items() if environ.get(name)}
    for field in found:
        check_text(names[field], found[field])
    for field in ("ssh_key_file", "ca_bundle"):
        if field in found:
            found[field] = Path(found[field])
    return Connection(**{**found, **given})


# The environment variables that set the address of each kind of object store.
_STORE_ENDPOINTS = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "gs": ("GOOGLE_BASE_URL",),
    "az": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT", "AZURITE_BLOB_STORAGE_URL"),
}


def object_store_plain_http(scheme: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether the environment sets an http address of this machine for object stores of a `scheme`.

    Schemes are ``s3``, ``gs`` and ``az``.

    Raises:
        BadInput: the address is an http address of another machine.
    """
    plain = [is_plain_http(variable, environ.get(variable, "")) for variable in _STORE_ENDPOINTS[scheme]]
    return any(plain)


def object_store_ca_bundle(environ: Mapping[str, str] = os.environ) -> bytes | None:
    """Return the certificates in the file AWS_CA_BUNDLE, for stores with a private authority, or None."""
    path = environ.get("AWS_CA_BUNDLE")
    if not path:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise BadInput(f"AWS_CA_BUNDLE cannot be read: {error.strerror}") from error


def strings(field: str, given: object) -> tuple[str, ...]:
    """Return one or several strings as a tuple. The strings of a set are sorted.

    Raises:
        BadInput: `given` is something else; the message names the `field`.
    """
    if isinstance(given, str):
        return (given,)
    if not isinstance(given, Iterable) or isinstance(given, Mapping | bytes):
        raise BadInput(f"{field} takes a string or several, not {type(given).__name__}")
    several = list(given)
    for one in several:
        if not isinstance(one, str):
            raise BadInput(f"{field} takes strings, but one of them is of type {type(one).__name__}")
    return tuple(sorted(several) if isinstance(given, Set) else several)


def check_kinds(kinds: Iterable[str]) -> None:
    """Raise BadInput if one of `kinds` is not a kind of record."""
    check_one_of("record kind", kinds, KINDS)


def _make_tuples(settings: msgspec.Struct) -> None:
    """Convert the fields of `settings` that are declared as tuples to tuples."""
    for field, may_be_none in _tuples(type(settings)).items():
        if (given := getattr(settings, field)) is not None or not may_be_none:
            msgspec.structs.force_setattr(settings, field, strings(field, given))


@cache  # as it takes longer than all else that is done for new settings
def _tuples(kind: type[msgspec.Struct]) -> dict[str, bool]:
    """Return the fields that are declared as tuples, and whether each may be None."""
    declared = {field: (hint, *get_args(hint)) for field, hint in get_type_hints(kind).items()}
    return {
        field: type(None) in types
        for field, types in declared.items()
        if any(get_origin(one) is tuple for one in types)
    }


def check_one_of(what: str, values: Iterable[str], allowed: tuple[str, ...]) -> None:
    """Raise BadInput if one of `values` is not allowed. `what` names them in the message."""
    for value in values:
        if value not in allowed:
            raise BadInput(f"unknown {what} {value!r}: one of {', '.join(allowed)}")


def check_within(what: str, value: float | None, low: float, high: float) -> None:
    """Raise BadInput if `value` is a number outside `low` to `high`. `what` names it in the message."""
    # `not low <= value` instead of `value < low`, so that NaN is rejected too.
    if value is not None and not low <= value <= high:
        raise BadInput(f"{what.replace('_', ' ')} must be from {low:,} to {high:,}, not {value}")


def _moment(what: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BadInput(f"{what}: {text!r} is no date, write 2026-01-31 or 2026-01-31T12:00:00Z") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
