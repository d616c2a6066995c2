"""Where the functions of ``--filter package.module:callable`` are found."""

import os
import sys


def find_users_filters() -> None:
    """Makes the working directory a place to import from: the last one, so that it shadows nothing."""
    sys.path.append(os.getcwd())
