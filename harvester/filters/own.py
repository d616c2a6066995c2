"""The user's own filters: `package.module:callable`, called with the record that would be written."""

import importlib
from collections.abc import Callable
from functools import reduce
from typing import Any

from harvester.errors import BadInput
from harvester.events import one_line

OwnFilter = Callable[[dict[str, Any]], object]


def load_filter(path: str) -> OwnFilter:
    """The function that `path` names.

    Raises:
        BadInput: `path` is not written ``package.module:callable``, does not import, or is no function.
    """
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
