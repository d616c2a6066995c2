"""Open a session. The SDK is imported here, and not earlier.

Its import takes about half a second. It is not needed to report a mistake, such as an unusable key, nor
on the scheduler of a cluster.
"""

from typing import TYPE_CHECKING

from harvester.encord.sdk_version import unusable_sdk
from harvester.process import importing
from harvester.settings import Connection

if TYPE_CHECKING:
    from harvester.encord.session import Session


def open_session(connection: Connection) -> "Session":
    """Return a session with checked credentials. Sends nothing to the server yet. Blocking.

    Raises:
        CredentialsRefused, BadInput: as `Session.open`.
    """
    from harvester.encord.credentials import load_credentials

    credentials = load_credentials(connection)
    try:
        with importing("encord"):
            from harvester.encord.session import Session
    except (ImportError, AttributeError) as error:
        raise unusable_sdk(error) from error
    return Session.open(connection, credentials)
