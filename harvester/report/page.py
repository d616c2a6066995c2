"""Renders the report as one self-contained HTML page: no script, no font, no network."""

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from importlib.resources import files
from typing import Any

from harvester.errors import BadInput, how_to_install
from harvester.events import printable
from harvester.report.numbers import Numbers, Ranking
from harvester.schema import Failure

_LONGEST = 160  # the most characters of a name
_SHOWN = 15  # values of a ranking that are visible at once; the others appear after a click
_LEAST_POINTS = 3  # the fewest points of the run's pace for which its chart is drawn


def write_page(numbers: Numbers) -> str:
    """Return the HTML of the page. Raises BadInput if a library that it needs is not installed."""
    try:
        from jinja2 import Environment, StrictUndefined
        from markupsafe import Markup

        from harvester.report import charts

        drawn = {name: Markup(chart) for name, chart in _charts(charts, numbers).items()}
    except ModuleNotFoundError as error:
        raise BadInput(f"{error.name} is missing: {how_to_install('charts')}") from error
    # All values are escaped, except the charts, which only contain numbers.
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, auto_reload=False
    )
    filters = {"n": _number, "pct": _percent, "width": _width, "shown": _shown, "took": _took, "date": _date}
    # Allow line breaks in long names after these characters. Markup.join escapes the parts.
    breakable = partial(re.split, r"(?<=[_@/.-])")
    environment.filters |= filters | {"breakable": lambda name: Markup("<wbr>").join(breakable(name))}
    template = environment.from_string(files(__package__).joinpath("page.html.j2").read_text("utf-8"))
    return template.render(
        numbers=numbers,
        charts=drawn,
        kinds=_kinds(numbers),
        sections=_sections(numbers, drawn),
        codes=FAILURE_MEANS,
        cut=_cut,
        fields=_FIELDS,
        dropped=_dropped(numbers),
        run=_run(numbers.run),
    )


# Code of a failed row -> its meaning, for the page.
FAILURE_MEANS: Mapping[Failure, str] = {
    "forbidden": "The key may not read it.",
    "gone": "It was there when the project was listed.",
    "unreadable": "It is no JSON, or of a form that no label row has.",
    "too_large": "The server does not send it: it is too large.",
    "left_out": "The server leaves it out of its answers.",
    "unavailable": "The server failed again and again.",
}

_FIELDS = {
    "task_status": "Task status",
    "label_status": "Label status",
    "stage": "Workflow stage",
    "data_type": "Data type",
    "dataset": "Dataset",
}


def _charts(charts: Any, numbers: Numbers) -> dict[str, str]:
    """Draw the charts that have data. Charts of the page's full width are drawn in each shape."""
    drawn = dict[str, str]()
    if (objects := numbers.objects) is not None:
        if objects.boxes is not None and objects.boxes.boxes:
            drawn |= {"positions": charts.positions(objects.boxes), "sizes": charts.sizes(objects.boxes)}
        if objects.per_frame is not None and objects.per_frame.frames:
            drawn["frames"] = _in_each_shape(charts, partial(charts.objects_a_frame, objects.per_frame))
    pace = numbers.run.get("pace") or []
    if len(pace) >= _LEAST_POINTS:
        drawn["pace"] = _in_each_shape(charts, partial(charts.pace, pace))
    return drawn


def _in_each_shape(charts: Any, draw: Callable[[Any], str]) -> str:
    """Draw a chart in each shape. The page shows the one that fits its width."""
    return "".join(f'<div class="{shape.name}">{draw(shape)}</div>' for shape in charts.SHAPES)


def _sections(numbers: Numbers, charts: Mapping[str, Any]) -> dict[str, str]:
    """Return the names and titles of the sections that are not empty."""
    kinds = _kinds(numbers)
    labels = [labels for _, labels in kinds]
    said: list[tuple[str, str, object]] = [("rows", "Label rows", True)]
    for kind, _ in kinds:
        said.append((kind, kind.capitalize(), numbers.rows["listed"]))
        if kind == "objects":
            said += [("boxes", "Boxes", "positions" in charts)]
            said += [("frames", "Objects a frame", "frames" in charts)]
    said += [
        ("reviews", "Reviews", any(one.distinct for one in labels)),
        ("answers", "Missing answers", any(one.missing.asked for one in labels)),
        ("filters", "Filters", numbers.rows["listed"] or numbers.selection),
        ("failed", "Failed rows", numbers.rows["listed"]),
        ("export", "The export", numbers.rows["listed"] or numbers.syncs),
    ]
    return {name: title for name, title, any_of_it in said if any_of_it}


def _kinds(numbers: Numbers) -> list[tuple[str, Any]]:
    kinds = (("objects", numbers.objects), ("classifications", numbers.classifications))
    return [(kind, labels) for kind, labels in kinds if labels is not None]


def _dropped(numbers: Numbers) -> list[tuple[str, str, int, int]]:
    """Return (kind, filter, records dropped, records seen) for each filter."""
    return [
        (kind, name, dropped, counts.seen)
        for kind, counts in numbers.records.items()
        for name, dropped in counts.dropped.items()
    ]


def _run(run: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return the facts about a run. Manifests of other versions may have fewer."""
    facts = []
    if seconds := run.get("seconds"):
        facts.append(("taken", _took(seconds), ""))
        if "harvested" in run:
            facts.append(("rows a second", f"{run['harvested'] / seconds:,.0f}", ""))
    for name, shown in (("requests", "requests"), ("refused", "refused"), ("retries", "retried")):
        if name in run:
            facts.append((shown, _number(run[name]), ""))
    if "wire_bytes" in run:
        facts.append(("MB received", f"{run['wire_bytes'] / 1e6:,.1f}", ""))
    return facts


def _cut(ranking: Ranking) -> dict[str, Any]:
    """Split a ranking into the values that are visible at once and those that appear after a click.

    `total` is the number of records over all values, at least 1.
    """
    first = ranking.top[:_SHOWN]
    return {
        "first": first,
        "further": ranking.top[_SHOWN:],
        "total": sum(share.records for share in ranking.top) + ranking.other_records or 1,
    }


def _number(value: float) -> str:
    return f"{value:,}"


def _percent(part: float, whole: float) -> str:
    if not whole:
        return "–"
    share = part / whole * 100
    if 0 < share < 0.1:
        return "<0.1 %"
    if 99.9 < share < 100:
        return ">99.9 %"
    return f"{share:.0f} %" if share in (0, 100) else f"{share:.1f} %"


def _width(part: float, whole: float) -> str:
    """Return the width of a bar as a CSS percentage of its track."""
    return f"{part / whole * 100:.2f}%" if whole else "0"


def _date(moment: str) -> str:
    """Return an ISO time in UTC as ``2024-06-01 12:30 UTC``."""
    return _shown(f"{moment[:10]} {moment[11:16]} UTC")


def _shown(text: str) -> str:
    """Return a name from the server on one line, shortened, and without bidirectional marks."""
    line = printable(text).strip()
    return (line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…") or "(blank)"


def _took(seconds: float) -> str:
    """Return a duration in seconds as ``6.2 s`` or ``2:14:05``."""
    return f"{seconds:.1f} s" if seconds < 60 else str(timedelta(seconds=round(seconds)))
