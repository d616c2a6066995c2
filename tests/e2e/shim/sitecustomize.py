"""Python runs this first in a process that has this directory in PYTHONPATH: open parts get a short grace."""

import harvester.run

harvester.run.GRACE = min(harvester.run.GRACE, 1.0)
