"""Which machine and which versions the figures are of."""

import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

_LIBRARIES = ("encord", "anyio", "msgspec", "orjson", "deflate", "isal", "urllib3")


def machine() -> dict[str, Any]:
    """CPU, cores that this process may use, memory in bytes, operating system, versions."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {
        "cpu": _cpu(),
        "cores": usable,
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "versions": {"harvester": version("encord-harvester")} | {name: version(name) for name in _LIBRARIES},
        "load": os.getloadavg()[0],
    }


def _cpu() -> str:
    """The CPU's own name, where the system tells."""
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
