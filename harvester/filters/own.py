"""The user's own filters: `package.module:callable`, called with the record that would be written.

Label rows are read in several threads, so a filter is called from several threads at once, with the records
of different label rows in no order. It must not depend on what it was called with before.
"""

import importlib
from collections.abc import Callable
from functools import reduce
from typing import Any

from harvester.errors import BadInput
from harvester.events import one_line
from harvester.filters.naming import is_digest

# Gets a record, decoded; what it returns is true if the record is kept.
OwnFilter = Callable[[Any], object]


def load_filter(path: str) -> OwnFilter:
    """Import the function that `path` names.

    Raises:
        BadInput: `path` is not written ``package.module:callable``, does not import, or is no function.
    """
    if is_digest(path):
        raise BadInput(
            f"filter {path!r} is a function of a Python program that cannot be imported: "
            "run that program again, which gives the function itself"
        )
    module_name, colon, attribute = path.partition(":")
    if not colon or not module_name or not attribute:
        raise BadInput(f"filter {path!r}: write it package.module:callable")
    try:
        module = importlib.import_module(module_name)
    except Exception as exc:  # whatever the user's module does while it is imported
        raise BadInput(f"filter {path!r}: {module_name} does not import: {one_line(repr(exc))}") from exc
    try:
        function = reduce(getattr, attribute.split("."), module)
    except AttributeError as exc:
        raise BadInput(f"filter {path!r}: {module_name} has no {attribute}") from exc
    if not callable(function):
        raise BadInput(f"filter {path!r}: {attribute} is no function")
    return function
