"""A simulated Encord API on loopback that the unmodified SDK talks to: for the demo, tests and benchmarks."""

from harvester.simulator.faults import Faults
from harvester.simulator.process import Simulator
from harvester.simulator.spec import WorldSpec

__all__ = ["Faults", "Simulator", "WorldSpec"]
