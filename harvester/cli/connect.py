"""From `Connection` to an open session."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from harvester.encord.opening import open_session
from harvester.settings import Connection

if TYPE_CHECKING:
    from harvester.encord.session import Session


@contextmanager
def connected(connection: Connection) -> Iterator["Session"]:
    """An open session, closed at the end.

    Raises:
        CredentialsRefused: there is no key, or it cannot be used.
    """
    session = open_session(connection)
    try:
        yield session
    finally:
        session.close()
