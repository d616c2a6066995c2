"""All flags, each declared once: `--help`, environment variables and settings are made from here.

A `Flag` sets one field of a settings struct; type and default are the field's own. `takes` gives a verb
the flags of whole groups, and the verb gets one finished struct a group.
"""

import inspect
from collections.abc import Callable
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin

import msgspec
import typer
from typer.core import TyperCommand

from harvester.cli import values
from harvester.cli.screen import Screen
from harvester.dataset_options import DATASET_FORMATS, ConvertOptions
from harvester.media.options import MediaOptions
from harvester.schema import FILE_KINDS, KINDS, STREAM_KINDS
from harvester.settings import (
    Connection,
    Format,
    Limits,
    Selection,
    connection_from_environment,
)

# The help's text for the default of `--emit`.
DEFAULT_EMIT = f"{','.join(FILE_KINDS)}; to standard output {','.join(STREAM_KINDS)}"


class Flag(NamedTuple):
    """One flag: the field it sets, its spelling, and its help."""

    field: str
    spelt: str
    help: str
    metavar: str | None = None
    parse: Callable[[str], object] | None = None
    # Words of the platform, in any case; one value may hold several, separated by commas.
    words: Literal["upper", "lower"] | None = None
    default: str | None = None


class Verb(TyperCommand):
    """A command whose help lists its flags in groups, without cutting them short."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            heading = getattr(param, "rich_help_panel", None)
            heading = heading or ("Arguments" if param.param_type_name == "argument" else "Options")
            if record := param.get_help_record(ctx):
                sections.setdefault(heading, []).append(record)
        for heading, records in sections.items():
            with formatter.section(heading):
                formatter.write_dl(records, col_max=32)


class Group(NamedTuple):
    """The flags that fill one settings struct, under one heading of the help."""

    name: str
    title: str
    struct: type[msgspec.Struct]
    flags: tuple[Flag, ...]
    make: Callable[..., msgspec.Struct]


CONNECTION = Group(
    "connection",
    "Connection",
    Connection,
    (
        Flag(
            "ssh_key_file", "--ssh-key-file", "Private key; or ENCORD_SSH_KEY_FILE, ENCORD_SSH_KEY.", "FILE"
        ),
        Flag("domain", "--domain", "Address of the API. Or ENCORD_DOMAIN.", "URL"),
        Flag("ca_bundle", "--ca-bundle", "Certificates to trust. Or REQUESTS_CA_BUNDLE.", "FILE"),
        Flag("transport", "--transport", "pooled: kept-alive connections; sdk: the SDK's own.", "pooled|sdk"),
        Flag(
            "connect_timeout",
            "--connect-timeout",
            "For a connection.",
            "TIME",
            values.duration,
            default="10s",
        ),
        Flag("read_timeout", "--read-timeout", "Between two bytes.", "TIME", values.duration, default="60s"),
        Flag(
            "request_deadline",
            "--request-deadline",
            "For a whole request.",
            "TIME",
            values.duration,
            default="10m",
        ),
        Flag(
            "max_response_bytes",
            "--max-response-size",
            "Refuse larger answers.",
            "SIZE",
            values.size,
            default="2GiB",
        ),
    ),
    connection_from_environment,
)

# The flags of `Selection` that choose among records. They work on an export as well as on the server's rows.
RECORD_FLAGS = (
    Flag("shapes", "--shape", "Objects of this shape, e.g. bounding_box. *", "SHAPE", words="lower"),
    Flag("names", "--name", "Objects and classifications of this name. *", "NAME"),
    Flag("feature_hashes", "--feature-hash", "... of this ontology feature. *", "HASH"),
    Flag("approved", "--approved", "... whose last review approved them."),
    Flag("min_confidence", "--min-confidence", "... of at least this confidence, 0 to 1.", "NUMBER"),
    Flag("authors", "--author", "... created by this user. *", "EMAIL"),
    Flag("manual", "--manual/--automated", "... made by hand, or by a model."),
    Flag("where", "--where", "... that this CEL expression is true of.", "EXPRESSION"),
    Flag("filters", "--filter", "... that your function package.module:callable keeps. *", "FUNCTION"),
)

SELECTION = Group(
    "selection",
    "Selection (those with * may be repeated)",
    Selection,
    (
        Flag("task_statuses", "--task-status", "Task status, e.g. COMPLETED. *", "STATUS", words="upper"),
        Flag("edited_before", "--edited-before", "Rows last edited before this time.", "DATE"),
        Flag("edited_after", "--edited-after", "Rows last edited after this time.", "DATE"),
        Flag("data_title_eq", "--data-title-eq", "This data title.", "TITLE"),
        Flag("data_title_like", "--data-title-like", "Data titles like this SQL pattern.", "PATTERN"),
        Flag(
            "workflow_graph_node_title_eq", "--workflow-graph-node-title-eq", "This workflow stage.", "TITLE"
        ),
        Flag(
            "workflow_graph_node_title_like",
            "--workflow-graph-node-title-like",
            "Workflow stages like this SQL pattern.",
            "PATTERN",
        ),
        Flag("branch_name", "--branch-name", "This label branch, instead of main.", "NAME"),
        Flag("include_all_label_branches", "--include-all-label-branches", "All label branches."),
        Flag(
            "shadow_data_state",
            "--shadow-data-state",
            "Benchmark projects: which data.",
            "STATE",
            words="upper",
        ),
        Flag("data_hashes", "--data-hash", "This data unit. *", "HASH"),
        Flag("label_hashes", "--label-hash", "This label row. *", "HASH"),
        Flag("data_types", "--data-type", "Data type, e.g. video. *", "TYPE", words="lower"),
        Flag("datasets", "--dataset", "Dataset, by hash or title. *", "DATASET"),
        Flag("label_statuses", "--label-status", "Label status, e.g. LABELLED. *", "STATUS", words="upper"),
        *RECORD_FLAGS,
        Flag("include_reviews", "--include-reviews", "Ask for reviews and keep them in the records."),
        Flag(
            "include_archived",
            "--include-archived",
            "Ask for labels of archived ontology features, too: else they are not sent.",
        ),
        Flag("signed_urls", "--signed-urls", "Ask for signed data URLs: they are secrets, in the output."),
        Flag(
            "client_metadata",
            "--client-metadata",
            "Ask for your own metadata of each data unit and keep it in the listing.",
        ),
    ),
    Selection,
)

RECORDS = Group("selection", "Records (those with * may be repeated)", Selection, RECORD_FLAGS, Selection)

# The flags that divide data into splits, for `convert` and `media` alike.
SPLIT_FLAGS = (
    Flag("split", "--split", "Shares of splits, e.g. train=0.8,val=0.1,test=0.1.", "SHARES"),
    Flag("split_by", "--split-by", "What stays in one split: data, item, dataset or metadata.KEY.", "WHAT"),
    Flag("split_seed", "--split-seed", "Another number gives another division.", "NUMBER"),
)

PROCESSES = Flag(
    "processes",
    "--processes",
    "Worker processes, or auto: as many as cores.",
    "N|auto",
    values.processes,
)

CONVERT = Group(
    "options",
    "Data set",
    ConvertOptions,
    (
        Flag("to", "--to", "The format.", "|".join(DATASET_FORMATS), words="lower"),
        *SPLIT_FLAGS,
        Flag("include_unlabelled", "--include-unlabelled", "Add data without labels."),
        Flag("no_empty", "--no-empty", "Leave out images without objects."),
        Flag("classes", "--classes", "Names, order and merging of classes.", "FILE"),
        Flag("task", "--task", "What a model is to learn.", "TASK", words="lower"),
        Flag("media", "--media", "Directory with the files that the labels are of.", "DIR"),
        Flag("every_frame", "--every-frame", "Add frames and slices without objects."),
        Flag(
            "classification", "--classification", "With --task classify: whose answers are classes.", "NAME"
        ),
        Flag("boxes", "--boxes", "Take boxes for areas, in masks and segments."),
        PROCESSES,
    ),
    ConvertOptions,
)

FORMAT = Group(
    "format",
    "Format",
    Format,
    (
        Flag(
            "emit",
            "--emit",
            f"Kinds of record, of {', '.join(KINDS)}.",
            "KINDS",
            words="lower",
            default=DEFAULT_EMIT,
        ),
        Flag("per_frame", "--per-frame", "One classification line a frame, not one a placement."),
        Flag("rows_per_part", "--rows-per-part", "Label rows a file.", "NUMBER"),
        Flag("compress", "--compress", "Compress the files.", "gzip|zstd"),
    ),
    Format,
)

LIMITS = Group(
    "limits",
    "Limits (default: found automatically)",
    Limits,
    (
        Flag("concurrency", "--concurrency", "Requests in flight, at most.", "NUMBER"),
        Flag("max_rps", "--max-rps", "Requests a second, at most.", "NUMBER"),
        Flag("bundle_size", "--bundle-size", "Label rows a request, at most.", "NUMBER"),
        Flag(
            "max_memory", "--max-memory", "Bytes in flight, at most.", "SIZE", values.size, default="512MiB"
        ),
        Flag(
            "max_duration",
            "--max-duration",
            "Stop, resumable, after this time; what is open gets 15 s to end.",
            "TIME",
            values.duration,
        ),
        Flag("max_attempts", "--max-attempts", "Attempts for a row before it counts as failed.", "NUMBER"),
        PROCESSES,
        Flag(
            "engine", "--engine", "local: on this machine; dask: on a cluster.", "local|dask", words="lower"
        ),
        Flag("scheduler", "--scheduler", "The Dask cluster's, e.g. tcp://host:8786.", "ADDRESS"),
    ),
    Limits,
)

MEDIA = Group(
    "media",
    "Files (those with * may be repeated)",
    MediaOptions,
    (
        Flag(
            "only",
            "--only",
            "Files of labelled units; of empty ones; of all, unlabelled rows too.",
            "labelled|empty|all",
            words="lower",
            default="all units of the export",
        ),
        Flag("data_types", "--data-type", "Data type, e.g. video. *", "TYPE", words="lower"),
        Flag("where", "--where", "Units that this CEL expression is true of.", "EXPRESSION"),
        Flag("only_splits", "--only-split", "Files of this one of the splits that --split names. *", "NAME"),
        *SPLIT_FLAGS,
        Flag("dry_run", "--dry-run", "Count files and bytes, and fetch nothing."),
        Flag("allow_private", "--allow-private", "Host of files that may have a private address. *", "HOST"),
        Flag(
            "frames",
            "--frames",
            "Pictures of frames of videos: with objects; all; one of N.",
            "labelled|all|every=N",
            words="lower",
        ),
        Flag("frame_format", "--frame-format", "Of these pictures.", "jpg|png", words="lower"),
        Flag("recheck", "--recheck", "Read again what is there, and fetch again what is damaged."),
        Flag("prune", "--prune", "Delete files of units that have left the export."),
    ),
    MediaOptions,
)

SCREEN = Group(
    "screen",
    "Screen",
    Screen,
    (
        Flag("json", "--json", "One line of JSON on standard output, for machines."),
        Flag("quiet", "--quiet", "Errors only."),
        Flag("log_level", "--log-level", "debug, info, warning or error.", "LEVEL", words="lower"),
        Flag("log_format", "--log-format", "text or json.", "FORMAT", words="lower"),
        Flag("debug", "--debug", "Show tracebacks."),
    ),
    Screen,
)


def only(group: Group, *fields: str, **helps: str) -> Group:
    """Return a group with those of its flags that set one of `fields`, or are in `helps`: with this help."""
    chosen = (flag for flag in group.flags if flag.field in fields or flag.field in helps)
    return group._replace(
        flags=tuple(flag._replace(help=helps.get(flag.field, flag.help)) for flag in chosen)
    )


# The argument of verbs on one project.
Project = Annotated[str, typer.Argument(metavar="PROJECT", help="Hash or exact title of a project.")]


def takes(*groups: Group) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a verb the flags of `groups`. Its parameter with the name of a group gets that group's struct."""

    def decorate(verb: Callable[..., None]) -> Callable[..., None]:
        def run(**given: Any) -> None:
            made = {group.name: group.make(**_settings(group, given)) for group in groups}
            verb(**given, **made)

        names = {group.name for group in groups}
        own = [p for p in inspect.signature(verb).parameters.values() if p.name not in names]
        keyword_only = inspect.Parameter.KEYWORD_ONLY
        parameters = [p.replace(kind=keyword_only) for p in own]
        for group in groups:
            fields = {field.name: field for field in msgspec.structs.fields(group.struct)}
            for flag in group.flags:
                annotation = _annotation(group, flag, fields[flag.field])
                parameters.append(
                    inspect.Parameter(flag.field, keyword_only, annotation=annotation, default=None)
                )
        run.__name__, run.__doc__ = verb.__name__, verb.__doc__
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return run

    return decorate


def _settings(group: Group, given: dict[str, Any]) -> dict[str, Any]:
    """Return the struct with the user's values, which are removed from `given`, and defaults."""
    taken = ((flag, given.pop(flag.field)) for flag in group.flags)
    return {flag.field: _value(flag, value) for flag, value in taken if value not in (None, (), [])}


def _value(flag: Flag, value: Any) -> Any:
    if flag.parse is not None:
        return flag.parse(value)
    if flag.words is not None:
        turn = str.upper if flag.words == "upper" else str.lower
        if isinstance(value, str):
            return turn(value)
        return tuple(turn(word.strip()) for item in value for word in item.split(","))
    return tuple(value) if isinstance(value, list) else value


def _annotation(group: Group, flag: Flag, field: msgspec.structs.FieldInfo) -> Any:
    """Return a flag's typer declaration, from the type and default of the field that it sets."""
    default = flag.default
    if (
        default is None
        and isinstance(field.default, str | int | float)
        and not isinstance(field.default, bool)
    ):
        default = str(field.default)
    option = typer.Option(
        flag.spelt,
        help=flag.help + (f" [{default}]" if default else ""),
        metavar=flag.metavar,
        show_default=False,
        rich_help_panel=group.title,
    )
    return Annotated[_type(flag, field.type), option]


def _type(flag: Flag, type_: Any) -> Any:
    scalars = [
        t for t in (get_args(type_) if isinstance(type_, UnionType) else (type_,)) if t is not type(None)
    ]
    if get_origin(scalars[0]) is tuple:
        return list[str] | None
    if flag.parse is not None or scalars[0] not in (bool, int, float, Path):
        return str | None
    return scalars[0] | None
