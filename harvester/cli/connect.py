"""Open a session from a `Connection`."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from getpass import getpass
from typing import TYPE_CHECKING

import msgspec

from harvester.encord.opening import open_session
from harvester.errors import KeyLocked
from harvester.settings import Connection

if TYPE_CHECKING:
    from harvester.encord.session import Session


@contextmanager
def connected(connection: Connection) -> Iterator["Session"]:
    """Yield an open session, and close it at the end.

    Raises:
        CredentialsRefused: there is no key, or it cannot be used.
    """
    session = open_session(unlocked(connection))
    try:
        yield session
    finally:
        session.close()


def unlocked(connection: Connection) -> Connection:
    """Return the connection, with the passphrase of its key if that needs one and a user can be asked.

    Raises:
        CredentialsRefused: there is no key, or it cannot be used.
    """
    if connection.ssh_key_passphrase is not None or not _is_attended():
        return connection
    from harvester.encord.credentials import load_credentials

    try:
        load_credentials(connection)
    except KeyLocked as locked:
        try:
            passphrase = getpass("Passphrase of the key: ", sys.stderr)
        except (EOFError, KeyboardInterrupt) as end:
            sys.stderr.write("\n")  # the line of the prompt is still open
            raise (locked if isinstance(end, EOFError) else end) from None
        return msgspec.structs.replace(connection, ssh_key_passphrase=passphrase)
    return connection


def _is_attended() -> bool:
    """Return whether there is a terminal to ask a question on."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()
