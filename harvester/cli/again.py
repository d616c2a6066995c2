"""The command that resumes an unfinished run, or that fetches its failed rows again."""

import shlex
from typing import TYPE_CHECKING

from harvester.events import redact

if TYPE_CHECKING:
    from harvester.cli.failed import RowsFailed


def to_go_on(argv: list[str], aim: str = "to go on", in_words: str = "run the same command again") -> str:
    """Return the command that resumes a run: `in_words` if it holds a secret, None if there is none."""
    if argv[:1] not in (["export"], ["sync"], ["compact"], ["media"]) or _to_stdout(argv):
        return ""
    again = shlex.join(["harvester", *argv])
    return f"; {aim}: {again}" if redact(again) == again else f"; {in_words} {aim}"


def to_try_again(argv: list[str], failed: "RowsFailed") -> str:
    """Return the command that fetches failed rows again."""
    verb, *given = argv
    aim, flag = "to try again", "--retry-failed"
    if verb == "export" and failed.synced:
        return to_go_on(_as_sync(given, failed.target), aim, "run harvester sync on it")
    if verb == "export" and flag not in given:
        return to_go_on([verb, flag, *given], aim, f"run the same command again with {flag}")
    return to_go_on(argv, aim)


def _as_sync(given: list[str], target: str) -> list[str]:
    """Return the sync of an export, with those arguments of the export that a sync takes, too."""
    from harvester.cli import command  # here, because it imports this module

    export, sync = (command(verb).commands[verb] for verb in ("export", "sync"))
    options = {param.name: param for param in sync.params if param.param_type_name == "option"}
    values, _, order = export.make_parser(export.context_class(export)).parse_args(list(given))
    kept = []
    for name in dict.fromkeys(param.name for param in order):
        if option := options.get(name):
            flag, value = option.opts[0], values[name]
            for each in value if option.multiple else [value]:
                kept += [flag] if option.is_flag else [flag, each]
    return ["sync", target, *kept]


def _to_stdout(argv: list[str]) -> bool:
    pairs = zip(argv, [*argv[1:], ""], strict=True)
    return any(
        (flag in ("-o", "--output") and value == "-") or flag in ("-o-", "--output=-")
        for flag, value in pairs
    )
