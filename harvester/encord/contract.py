"""Check that the SDK has the functions that both transports call, and accepts our arguments.

Otherwise every row would fail with the same TypeError. This reports it once, before the run begins.
"""

import inspect
from collections.abc import Callable, Iterator
from typing import Any

from encord.client import EncordClientProject
from encord.configs import BearerConfig, SshConfig
from encord.http.constants import RequestsSettings
from encord.http.querier import Querier
from encord.http.v2.api_client import ApiClient

from harvester.encord.label_rows import BUNDLED_ONLY
from harvester.encord.sdk import list_options
from harvester.encord.sdk_version import unusable_sdk
from harvester.filters import ServerSide
from harvester.settings import Selection

_TIMEOUTS = ("connect_timeout", "read_timeout", "write_timeout")


def check_calls() -> None:
    """Raise BadInput if the SDK does not accept the calls that both transports make."""
    try:
        calls = list(_calls())
    except AttributeError as error:
        raise unusable_sdk(error) from error
    for call, given, named in calls:
        try:
            inspect.signature(call).bind(*range(given), **dict.fromkeys(named))
        except TypeError as error:
            raise unusable_sdk(f"{call.__qualname__}: {error}") from error


def _calls() -> Iterator[tuple[Callable[..., Any], int, tuple[str, ...]]]:
    """Yield each function, the number of positional arguments, and the names of keyword arguments."""
    bundled = ServerSide.__struct_fields__
    single = tuple(name for name in bundled if name not in BUNDLED_ONLY)
    yield RequestsSettings, 0, ("max_retries", "connection_retries", *_TIMEOUTS)
    for config in (SshConfig, BearerConfig):
        yield config, 1, ("domain", "requests_settings")
    yield Querier, 3, ()
    yield ApiClient, 1, ()
    yield ApiClient.get, 4, ()
    yield ApiClient.post, 2, ("params", "payload", "result_type")
    yield EncordClientProject, 0, ("querier", "config", "api_client")
    yield EncordClientProject.get_label_row, 2, single
    yield EncordClientProject.get_label_rows, 2, bundled
    yield EncordClientProject.list_label_rows, 1, tuple(list_options(Selection(), with_metadata=False))
