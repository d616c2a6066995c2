"""Held by all tests: none depends on how fast the machine is at the moment, and simulators are forked."""

import sys

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

# The rooms whose files take longest. They begin first, so that none is left for the end alone.
LONGEST = ("bench", "crash", "docs", "e2e", "security", "sync")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.parent.name not in LONGEST)


def pytest_collection_finish() -> None:
    """Where tests use simulators, they are forked."""
    if process := sys.modules.get("harvester.simulator.process"):
        from tests.forked import start_simulator

        process.Simulator.start_process = staticmethod(start_simulator)
