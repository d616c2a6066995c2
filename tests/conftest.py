"""Held by all tests: none depends on how fast the machine is at the moment, simulators are forked, and
temporary files lie in memory where there is room.
"""

import os
import shutil
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

# The package syncs each file that it writes. On a disk, tests would wait for that half of the time.
IN_MEMORY, ENOUGH = Path("/dev/shm"), 4 * 1024**3  # a run has less than 1 GB there at any time
if "TMPDIR" not in os.environ and IN_MEMORY.is_dir() and shutil.disk_usage(IN_MEMORY).free >= ENOUGH:
    os.environ["TMPDIR"] = str(IN_MEMORY)

# The rooms whose files take longest. They begin first, so that none is left for the end alone.
LONGEST = ("bench", "crash", "docs", "e2e", "security", "sync")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.parent.name not in LONGEST)


def pytest_collection_finish() -> None:
    """Where tests use simulators, they are forked."""
    if process := sys.modules.get("harvester.simulator.process"):
        from tests.forked import start_simulator

        process.Simulator.start_process = staticmethod(start_simulator)
