"""The import path of the functions of ``--filter package.module:callable``."""

import os
import sys
from contextlib import suppress


def find_users_filters() -> None:
    """Add the working directory to the end of the import path, so that it shadows nothing."""
    with suppress(FileNotFoundError):  # it was deleted, so there is nothing in it
        sys.path.append(os.getcwd())
