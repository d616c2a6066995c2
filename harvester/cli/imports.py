"""The import path of the functions of ``--filter package.module:callable``."""

import os
import sys


def find_users_filters() -> None:
    """Add the working directory to the end of the import path, so that it shadows nothing."""
    sys.path.append(os.getcwd())
