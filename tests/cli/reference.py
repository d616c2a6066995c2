"""The tables of docs/flags.md, made from the command line itself.

``python -m tests.cli.reference`` writes them into the page.
"""

from pathlib import Path
from typing import Any

from harvester.cli import command

PAGE = Path(__file__).parents[2] / "docs" / "flags.md"
_BEGIN, _END = "<!-- flags -->\n", "\n<!-- /flags -->"


def reference() -> str:
    """Every verb and its arguments, then every flag by the heading of the help it stands under."""
    verbs = command().commands
    lines = ["| verb | |", "|---|---|"]
    lines += [
        f"| `{' '.join(['harvester', name, *_arguments(verb)])}` | {_first(verb.help)} |"
        for name, verb in verbs.items()
    ]
    for heading, flags in _flags(verbs).items():
        lines += ["", f"| {heading} | | verbs |", "|---|---|---|"]
        lines += [f"| `{flag}` | {text} | {', '.join(users)} |" for (flag, text), users in flags.items()]
    return "\n".join(lines)


def _arguments(verb: Any) -> list[str]:
    return [p.metavar or p.name.upper() for p in verb.params if p.param_type_name == "argument"]


def _flags(verbs: Any) -> dict[str, dict[tuple[str, str], list[str]]]:
    found: dict[str, dict[tuple[str, str], list[str]]] = {}
    for name, verb in verbs.items():
        for param in verb.params:
            if param.param_type_name != "option":
                continue
            heading = getattr(param, "rich_help_panel", None) or "Of one verb"
            spelt = ", ".join(reversed(param.opts)) + "".join(f"/{other}" for other in param.secondary_opts)
            spelt += f" {param.metavar}" if param.metavar else ""
            entry = (spelt.replace("|", r"\|"), param.help.replace("*", r"\*").replace("|", r"\|"))
            found.setdefault(heading.replace("*", r"\*"), {}).setdefault(entry, []).append(name)
    return found


def _first(text: str | None) -> str:
    return " ".join((text or "").split())


def page(present: str) -> str:
    """Return the page with its tables as the command line makes them now."""
    before, rest = present.split(_BEGIN)
    _, after = rest.split(_END)
    return before + _BEGIN + reference() + _END + after


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
