"""What a process that harvests sets for itself: garbage collection, turns, memory; how it starts workers."""

import ctypes
import gc
import os
import signal
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager

MOST_PROCESSES = 256  # worker processes of one command; a guess, as each takes about 80 MB

# The garbage collector's thresholds. Imports and label rows make many objects and hardly a cycle: with
# Python's 700, 10, 10 they would be looked at again and again.
_COLLECTIONS = (20_000, 50, 100)

# Seconds until a thread that wants to run makes another give way; Python's own are 0.005. A change leaves a
# cold cache behind, and a bundle is read in less than this.
_TURN = 0.02

# Options of glibc's malloc.h. Each thread has an arena of its own by default, which keeps what is freed in
# it: label rows read by many threads at once left 70 MB more behind. And what is as large as an answer goes
# back to the system as soon as it is freed, to be had from there anew, a fault for each of its pages.
_MALLOC = {
    "M_ARENA_MAX": (-8, 2),
    "M_MMAP_THRESHOLD": (-3, 8 * 1024**2),
    "M_TRIM_THRESHOLD": (-1, 16 * 1024**2),
}


def set_up() -> None:
    """Call it once, first of all. Where malloc is not glibc's, it keeps its ways."""
    gc.set_threshold(*_COLLECTIONS)
    sys.setswitchinterval(_TURN)
    # The SDK imports numpy, whose OpenBLAS starts a thread for each core, and each spins before it sleeps.
    # Nothing here multiplies matrices. Worker processes inherit it.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Arrow's own allocator keeps 50 MB of what was freed, and takes no less time.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)):
        for option, value in _MALLOC.values():
            mallopt(option, value)


@contextmanager
def importing(module: str) -> Iterator[None]:
    """For a large import: what it makes is there to stay, and is not looked at for garbage while it grows.

    Afterwards it counts as old, and so does all else that was young: where `module` is there already,
    nothing is done. Where collection is off, or has been told what to leave out, that stays so.
    """
    if module in sys.modules or not gc.isenabled() or gc.get_freeze_count():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.unfreeze()  # out of the youngest generation, into the oldest, without a look at any
        gc.enable()


def worker_command(module: str) -> list[str]:
    """Return the command of a worker process that calls `main` of this module.

    It imports the same modules as this process, however that was started: with ``-m`` it would look into
    the working directory first. The standard library comes before all else, because this process may have
    imported it before somebody added a directory with a module of the same name, such as ``platform``.
    """
    standard = sysconfig.get_path("stdlib")
    first = (standard, os.path.join(standard, "lib-dynload"))
    path = sorted(sys.path, key=lambda entry: entry not in first)
    return [
        sys.executable or "",
        "-c",
        f"import sys; sys.path[:] = {path!r}; from {module} import main; main()",
    ]


def not_started(error: OSError) -> str:
    """Return why a worker process cannot be started, as a sentence for the user.

    There are too many processes, for example, or an update has removed this Python.
    """
    return f"a worker process cannot be started: {error.strerror}: {sys.executable or 'Python'}"


def how_it_ended(returncode: int) -> str:
    """Return the end of a worker process that should still be there, as a sentence for the user."""
    if returncode < 0:
        short = ": is there too little memory?" if returncode == -signal.SIGKILL else ""
        return f"a worker process was killed by signal {-returncode} ({signal.strsignal(-returncode)}){short}"
    return f"a worker process ended unexpectedly, with exit code {returncode}"
