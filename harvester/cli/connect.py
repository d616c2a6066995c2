"""From `Connection` to an open session. The SDK is imported here and not before: it takes a second."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from harvester.settings import Connection

if TYPE_CHECKING:
    from harvester.encord.session import Session


@contextmanager
def connected(connection: Connection) -> Iterator["Session"]:
    """An open session, closed at the end.

    Raises:
        CredentialsRefused: there is no key, or it cannot be used.
    """
    from harvester.encord.session import Session

    session = Session.open(connection)
    try:
        yield session
    finally:
        session.close()
