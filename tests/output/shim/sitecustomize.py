"""Python runs this first in a process that has this directory in PYTHONPATH: it breaks the disk there.

FAULTY_AT is the number of the operation that fails, counted from 1; FAULTY_ERRNO the name of the error
(default ENOSPC); with FAULTY_KILL set the process dies there instead.
"""

import os

if at := os.environ.get("FAULTY_AT"):
    from tests.output.faulty import install

    install(int(at), os.environ.get("FAULTY_ERRNO", "ENOSPC"), kill=bool(os.environ.get("FAULTY_KILL")))
