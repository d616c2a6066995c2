"""Python runs this first in a process that has this directory in PYTHONPATH: open parts get a short grace."""

import signal

import harvester.cli.interrupt
import harvester.run

harvester.run.GRACE = min(harvester.run.GRACE, 1.0)
harvester.cli.interrupt.PATIENCE[signal.SIGTERM] = (1.0, 30.0)
