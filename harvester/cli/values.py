"""Sizes, durations and counts in the form that people write and read. Pure."""

import os
import re

from harvester.errors import BadInput
from harvester.process import MOST_PROCESSES

_SIZES = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400}


def size(text: str) -> int:
    """Return the bytes of ``512MB``, ``2GiB`` or ``1000000``. BadInput for anything else."""
    match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,9})?) ?([A-Za-z]*)", text.strip(), re.A)
    if not match or match[2].upper() not in _SIZES:
        raise BadInput(f"{text!r} is no size: write 512MB or 2GiB")
    return int(float(match[1]) * _SIZES[match[2].upper()])


def duration(text: str) -> float:
    """Return the seconds of ``400ms``, ``90s``, ``10m``, ``2h``, ``1h30m`` or ``45``. Raises BadInput."""
    text = text.strip().lower()
    if re.fullmatch(r"\d{1,12}(\.\d{1,9})?", text, re.A):
        return float(text)
    if not re.fullmatch(r"(\d{1,12}(\.\d{1,9})?(ms|[smhd]))+", text, re.A):
        raise BadInput(f"{text!r} is no duration: write 400ms, 90s, 10m, 2h or 1h30m")
    return sum(float(number) * _SECONDS[unit] for number, unit in re.findall(r"([\d.]+)(ms|[smhd])", text))


def processes(text: str) -> int:
    """Return a number of processes; ``auto`` is one for each core that this process may use."""
    if text.strip().lower() == "auto":
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return min(cores, MOST_PROCESSES)
    if not re.fullmatch(r"\d{1,4}", text.strip(), re.A):
        raise BadInput(f"{text!r} is no number of processes: write a number, or auto")
    return int(text)


def show_bytes(count: float) -> str:
    """``14.2 MB``, in powers of ten."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 99.5 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"


def show_duration(seconds: float) -> str:
    """``6.2 s``, ``3 min 05 s``, ``2 h 14 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


def show_count(number: int, one: str, many: str | None = None) -> str:
    """``1 row``, ``2,000 rows``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
