"""The charts of the report, as SVG that is embedded in the page and uses its colours and font."""

import io
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from harvester.report.numbers import GRID, SMALLEST, Boxes, Frames

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Placeholder colours -> CSS variables of the page, which follow the reader's light or dark scheme.
_COLOURS = {"#0a0b01": "--ink", "#0a0b02": "--faint", "#0a0b03": "--line", "#0a0b04": "--accent"}
_INK, _FAINT, _LINE, _ACCENT = _COLOURS
_STYLE: Any = {
    "svg.fonttype": "none",  # keep text as text, so that it can be searched, selected and read aloud
    "svg.hashsalt": "harvester",  # fixed, so that equal numbers give equal bytes
    "font.size": 11,
    "text.color": _INK,
    "axes.edgecolor": _LINE,
    "axes.labelcolor": _FAINT,
    "axes.labelsize": 11,
    "xtick.color": _FAINT,
    "ytick.color": _FAINT,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "xtick.major.pad": 6,
    "ytick.major.pad": 6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
}


class Shape(NamedTuple):
    """The shape of a chart of the full page width. At `size`, its text is as large as that of the page."""

    name: str
    size: tuple[float, float]  # inches
    ticks: int  # the most labels on the horizontal axis


SHAPES = (Shape("broad", (11, 3.2), 12), Shape("narrow", (4.6, 3.0), 6))


def positions(boxes: Boxes) -> str:
    """Draw a heat map of the positions of box centres on the image."""

    def draw(axes: "Axes") -> None:
        _cells(axes, boxes.positions)
        axes.invert_yaxis()
        axes.xaxis.tick_top()
        axes.set_xticks([0, GRID / 2, GRID], ["0", "½", "1"])
        axes.set_yticks([0, GRID / 2, GRID], ["0", "½", "1"])

    return _svg("positions", draw, (5.4, 3.9), "Heat map of the positions of box centres on the image")


def sizes(boxes: Boxes) -> str:
    """Draw a heat map of the widths and heights of boxes, with logarithmic axes."""

    def draw(axes: "Axes") -> None:
        _cells(axes, boxes.sizes)
        decades = 3
        ticks = [GRID * i / decades for i in range(decades + 1)]
        labels = [f"{SMALLEST * 10**i * 100:g} %" for i in range(decades + 1)]
        axes.set_xticks(ticks, labels)
        axes.set_yticks(ticks, ["", *labels[1:]])  # the label of the corner is on the other axis
        axes.set_xlabel("width, of the image's")
        axes.set_ylabel("height, of the image's")

    return _svg("sizes", draw, (5.4, 3.9), "Heat map of the widths and heights of boxes")


def objects_a_frame(frames: Frames, shape: Shape) -> str:
    """Draw a histogram of the number of objects on a frame."""

    def draw(axes: "Axes") -> None:
        bins = frames.histogram
        axes.bar(range(len(bins)), [one.frames for one in bins], width=0.86, color=_ACCENT)
        step = max(1, -(-len(bins) // shape.ticks))
        shown = range(0, len(bins), step)
        axes.set_xticks(list(shown), [_range(bins[i].low, bins[i].high) for i in shown])
        axes.set_xlabel("objects on a frame")
        axes.set_ylabel("frames")
        _thousands(axes)

    return _svg(f"frames-{shape.name}", draw, shape.size, "Histogram of the number of objects on a frame")


def pace(points: list[tuple[float, int]], shape: Shape) -> str:
    """Draw the number of harvested rows over time. `points`: pairs of seconds since the start and rows."""

    def draw(axes: "Axes") -> None:
        seconds, rows = zip((0.0, 0), *points, strict=True)
        unit, label = (60.0, "minutes") if seconds[-1] > 300 else (1.0, "seconds")
        times = [second / unit for second in seconds]
        axes.fill_between(times, rows, color=_ACCENT, alpha=0.14, linewidth=0)
        axes.plot(times, rows, color=_ACCENT, linewidth=1.8)
        axes.set_xlim(0, times[-1] or 1)
        axes.set_ylim(0)
        axes.set_xlabel(f"{label} since the start")
        axes.set_ylabel("rows harvested")
        _thousands(axes)

    return _svg(f"pace-{shape.name}", draw, shape.size, "Rows harvested over the time of the export")


def _range(low: int, high: int) -> str:
    return f"{low:,}" if low == high else f"{low:,}–{high:,}"


def _thousands(axes: "Axes") -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.grid(axis="y", color=_LINE, linewidth=0.8)
    axes.spines["left"].set_visible(False)


def _cells(axes: "Axes", counts: list[list[int]]) -> None:
    """Draw a heat map in one colour whose opacity grows with the count, for light and dark backgrounds."""
    from matplotlib.collections import PatchCollection
    from matplotlib.colors import to_rgba
    from matplotlib.patches import Rectangle

    most = max(max(row) for row in counts) or 1
    filled = [(x, y, count) for y, row in enumerate(counts) for x, count in enumerate(row) if count]
    patches = [Rectangle((x + 0.04, y + 0.04), 0.92, 0.92) for x, y, _ in filled]
    # The square root makes rare cells visible beside frequent ones.
    colours = [to_rgba(_ACCENT, 0.06 + 0.94 * (count / most) ** 0.5) for *_, count in filled]
    axes.add_collection(PatchCollection(patches, facecolors=colours, linewidths=0))
    axes.set_xlim(0, GRID)
    axes.set_ylim(0, GRID)
    for spine in axes.spines.values():
        spine.set_visible(True)


def _svg(name: str, draw: Callable[["Axes"], None], size: tuple[float, float], said: str) -> str:
    """Return a chart as an SVG element. `size` is in inches, and `said` describes it for screen readers."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure.subplots())
        drawn = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(drawn, format="svg", transparent=True, metadata=nothing)
    return _inlined(drawn.getvalue(), name, said)


def _inlined(svg: str, name: str, said: str) -> str:
    svg = svg[svg.index("<svg") :]
    # Several charts are on one page, so prefix the ids to keep them unique.
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\1{name}-", svg)
    for colour, variable in _COLOURS.items():
        svg = svg.replace(colour, f"var({variable})")
    svg = re.sub(
        r'<svg [^>]*?viewBox="([^"]*)"[^>]*>',
        rf'<svg viewBox="\1" role="img" aria-label="{said}">',
        svg,
        count=1,
    )
    svg = re.sub(r"font-family: [^;\"]*;? ?", "", svg)  # use the font of the page
    return svg.replace("xlink:href", "href")
