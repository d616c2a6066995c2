"""The command line: argv -> settings -> anyio.run -> exit code. The only place that prints or exits."""

import errno
import os
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any

import typer
import typer.main

from harvester.cli.again import to_go_on, to_try_again
from harvester.cli.failed import FilesFailed, RowsFailed
from harvester.cli.flags import Verb
from harvester.cli.interrupt import Interrupted, Terminated, hear_signals, leave
from harvester.cli.outputs import open_outputs
from harvester.errors import CannotFinishNow, Retry, Stop
from harvester.events import one_line, redact
from harvester.process import set_up
from harvester.settings import check_text, flag_from_environment

# Each verb and its module.
VERBS: Mapping[str, str] = {
    "demo": "demo",
    "projects": "look",
    "status": "look",
    "plan": "plan",
    "export": "export",
    "sync": "sync",
    "compact": "compact",
    "media": "media",
    "convert": "convert",
    "verify": "verify",
    "report": "report",
    "simulate": "simulate",
    "bench": "bench",
}

ABOUT = "Exports all the labels of an Encord project to newline-delimited JSON."
EPILOG = (
    "harvester help VERB, or harvester VERB -h, shows the flags of a verb. Every flag has an environment "
    "variable: --edited-after is HARVESTER_EDITED_AFTER; commas separate several values. A token goes into "
    "HARVESTER_BEARER_TOKEN, a key's passphrase into HARVESTER_SSH_KEY_PASSPHRASE."
)

# Errors of the operating system that are the user's to mend, and those that time or space may mend.
_WRONG_PATH = {errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.EROFS}
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO}
_COMPLETE = "_HARVESTER_COMPLETE"
_PIPE_CLOSED = 128 + 13  # as a shell reports SIGPIPE
_INTERRUPTED = 128 + 2


def command(called: str = "") -> Any:
    """Return the command tree. If the verb `called` is given, only its module is imported."""
    # Plain help: the rich one cuts long flags short on a narrow terminal.
    app = typer.Typer(
        name="harvester",
        help=ABOUT,
        epilog=EPILOG,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback()
    def harvester(
        version: bool = typer.Option(
            False, "--version", is_eager=True, callback=_show_version, help="Show version."
        ),
    ) -> None: ...

    for verb in [called] if called in VERBS else VERBS:
        module = import_module(f"harvester.cli.{VERBS[verb]}")
        app.command(cls=Verb, epilog=EPILOG)(getattr(module, verb))
    return typer.main.get_command(app)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code. Default for `argv`: the arguments of this process."""
    own = argv is None
    if own:
        hear_signals()
        open_outputs()
        set_up()
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _run(argv)
    except BaseException as error:
        code = _explain(error, argv)
    code = _flushed(code)
    if own:
        leave(code)
    return code


def _run(argv: list[str]) -> int:
    for argument in argv:
        check_text(f"the argument {os.fsencode(argument).decode(errors='backslashreplace')}", argument)
    if _COMPLETE in os.environ:  # the shell asks, through the script of --install-completion
        command().main(argv, prog_name="harvester", complete_var=_COMPLETE)
    if argv[:1] == ["help"]:
        argv = [*argv[1:], "--help"]
    tree = command(*argv[:1])
    try:
        with tree.make_context(
            "harvester", argv or ["--help"], default_map=_from_environment(tree)
        ) as context:
            tree.invoke(context)
    except typer.Exit as done:
        return done.exit_code
    return 0


def _from_environment(tree: Any) -> dict[str, dict[str, str | list[str]]]:
    """Return the environment variables of all flags as click's defaults. The command line outranks them."""
    found: dict[str, dict[str, str | list[str]]] = {}
    for verb, subcommand in tree.commands.items():
        for option in subcommand.params:
            if option.param_type_name == "option" and (value := flag_from_environment(option.opts[0])):
                check_text(f"the variable of {option.opts[0]}", value)
                parts = [part.strip() for part in value.split(",") if part.strip()]
                found.setdefault(verb, {})[option.name] = parts if option.multiple else value
    return found


def _explain(error: BaseException, argv: list[str]) -> int:
    """Print one line about the error that ended the run, and return the exit code. The only such place."""
    found = sorted(_leaves(error), key=_weight)[0]
    if _wants_tracebacks(argv) and not isinstance(found, SystemExit | BrokenPipeError):
        print(_trace(found), file=sys.stderr)
    match found:
        case SystemExit():
            return found.code if isinstance(found.code, int) else 1
        case KeyboardInterrupt() | Interrupted():
            code = 128 + found.signum if isinstance(found, Interrupted | Terminated) else _INTERRUPTED
            return _say(code, (getattr(found, "message", "") or "interrupted") + to_go_on(argv))
        case typer.Abort():
            return _say(_INTERRUPTED, "interrupted")
        case typer.TyperException():
            return _say(2, found.format_message())
        case CannotFinishNow() | Retry():
            return _say(CannotFinishNow.exit_code, found.message + to_go_on(argv))
        case RowsFailed():
            return _say(found.exit_code, found.message + to_try_again(argv, found))
        case FilesFailed():
            return _say(found.exit_code, found.message + to_go_on(argv, "to try again"))
        case Stop():
            return _say(found.exit_code, found.message)
        case BrokenPipeError():
            return _PIPE_CLOSED
        case MemoryError():
            return _say(
                CannotFinishNow.exit_code, "out of memory: try a smaller --max-memory" + to_go_on(argv)
            )
        case RuntimeError() if "can't start new thread" in str(found):
            return _say(CannotFinishNow.exit_code, "no thread can be started (ulimit -u)" + to_go_on(argv))
        case OSError() if found.errno in _NO_ROOM:
            return _say(CannotFinishNow.exit_code, _of_system(found) + to_go_on(argv))
        case OSError() if found.errno in _WRONG_PATH and found.filename is not None:
            return _say(2, _of_system(found))
    return _bug(error, argv)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """Return the errors inside the exception groups that task groups raise."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _weight(error: BaseException) -> int:
    """Return the error to report: a bug first, then what the user can act on, then a signal."""
    known = (
        Stop,
        typer.TyperException,
        OSError,
        MemoryError,
        Retry,
        RowsFailed,
        FilesFailed,
        Interrupted,
        KeyboardInterrupt,
        SystemExit,
    )
    return next((rank for rank, kind in enumerate(known, 1) if isinstance(error, kind)), 0)


def _say(code: int, message: str) -> int:
    try:
        print(f"harvester: {one_line(message)}", file=sys.stderr)
    except OSError:
        pass  # standard error is closed; the exit code says it
    return code


def _of_system(error: OSError) -> str:
    name = f"{error.filename}: " if error.filename is not None else ""
    return f"{name}{error.strerror or error}"


def _bug(error: BaseException, argv: list[str]) -> int:
    """Report a bug: a short line, and the traceback where it does not push the line off the screen."""
    where = "above"
    if not _wants_tracebacks(argv):
        try:
            descriptor, where = tempfile.mkstemp(prefix="harvester-bug-", suffix=".txt")
            with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
                file.write(_trace(error))
        except OSError:
            where = "shown with --debug"
    return _say(1, f"this is a bug in harvester: {type(error).__name__}: {error} (traceback: {where})")


def _wants_tracebacks(argv: list[str]) -> bool:
    return "--debug" in argv or flag_from_environment("--debug") is not None


def _trace(error: BaseException) -> str:
    """Return the traceback of an error and of its causes, without secrets."""
    return redact("".join(traceback.format_exception(error)))


def _flushed(code: int) -> int:
    """Flush the output of help and version now, so that a failed write can still be reported."""
    try:
        sys.stdout.flush()
    except OSError as error:
        # The interpreter flushes again when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if code:
            return code
        if isinstance(error, BrokenPipeError):
            return _PIPE_CLOSED
        return _say(CannotFinishNow.exit_code, f"standard output: {error.strerror or error}")
    return code


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"harvester {version('encord-harvester')}")
        raise typer.Exit()
