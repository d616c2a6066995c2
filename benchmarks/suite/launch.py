"""Runs a command and notes what it took: ``python launch.py NOTE COMMAND...``. NOTE is a file.

Linux counts the memory of a process that starts a command as memory of the command. So none starts one but
this script, which imports next to nothing.
"""

import os
import sys

if __name__ == "__main__":
    child = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
    _, status, usage = os.wait4(child, 0)
    with open(sys.argv[1], "w", encoding="ascii") as note:
        note.write(f"{usage.ru_utime + usage.ru_stime} {usage.ru_maxrss}")
    sys.exit(os.waitstatus_to_exitcode(status) % 256)
