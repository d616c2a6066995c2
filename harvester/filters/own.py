"""The user's own filters: functions named `package.module:callable` that are called with each record.

Label rows are read in several threads, so a filter is called from several threads at once, with the records
of different label rows in no particular order. Its result must not depend on earlier calls.
"""

import importlib
from collections.abc import Callable
from functools import reduce
from typing import Any

from harvester.errors import BadInput
from harvester.events import one_line
from harvester.filters.naming import is_digest

# Called with a decoded record. The record is kept if the result is true.
OwnFilter = Callable[[Any], object]


def load_filter(path: str) -> OwnFilter:
    """Import the function that `path` names.

    Raises:
        BadInput: `path` does not have the form ``package.module:callable``, cannot be imported, or is not
            callable.
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
    except Exception as exc:  # importing runs the user's code, which may raise anything
        raise BadInput(f"filter {path!r}: {module_name} does not import: {one_line(repr(exc))}") from exc
    try:
        function = reduce(getattr, attribute.split("."), module)
    except AttributeError as exc:
        raise BadInput(f"filter {path!r}: {module_name} has no {attribute}") from exc
    if not callable(function):
        raise BadInput(f"filter {path!r}: {attribute} is no function")
    return function
