"""Load and check the private key before the SDK gets it.

If a key is not Ed25519, the SDK puts the whole private key into its error message. So the SDK only ever gets
keys that were checked here. No message of this module contains any part of a key.
"""

import os
import stat
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_private_key

from harvester.errors import CredentialsRefused, KeyLocked
from harvester.settings import Connection

_LARGEST_KEY = 64 * 1024  # bytes. An Ed25519 key has about 400: a larger file is something else
_READABLE_BY_OTHERS = 0o077


class BearerToken(str):
    """A bearer token. A type of its own, so that it cannot be confused with the text of a key."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "BearerToken(...)"


Credentials = Ed25519PrivateKey | BearerToken


def load_credentials(connection: Connection) -> Credentials:
    """Return the first that is given of: the key file, the text of the key, the bearer token.

    Raises:
        KeyLocked: the key needs a passphrase.
        CredentialsRefused: there are no credentials, or they cannot be used. The message says why, and what
            to do.
    """
    if connection.ssh_key_file is not None:
        path = _expanded(connection.ssh_key_file)
        return _private_key(_read_key_file(path), connection.ssh_key_passphrase, f"the key file {path}")
    if connection.ssh_key:
        return _private_key(connection.ssh_key.encode(), connection.ssh_key_passphrase, "the key")
    if connection.bearer_token:
        if not (connection.bearer_token.isascii() and connection.bearer_token.isprintable()):
            raise CredentialsRefused("the bearer token holds characters that no header can carry")
        return BearerToken(connection.bearer_token)
    raise CredentialsRefused(
        "no credentials: give --ssh-key-file PATH, or set ENCORD_SSH_KEY_FILE to a path or ENCORD_SSH_KEY to"
        " the private key's text"
    )


def _expanded(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise CredentialsRefused(
            f"the key file {path} cannot be found: {path.parts[0]} stands for no home directory; set HOME, or"
            " give the whole path"
        ) from error


def _read_key_file(path: Path) -> bytes:
    try:
        # Check the opened file instead of the path, which could be replaced in between. (A directory can be
        # opened, too.)
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    except OSError as error:
        reason = (
            "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
        )
        raise CredentialsRefused(f"the key file {path} {reason}") from error
    try:
        found = os.fstat(descriptor)
        if stat.S_ISDIR(found.st_mode):
            raise CredentialsRefused(f"the key file {path} is a directory: name the private key in it")
        if os.name == "posix" and stat.S_IMODE(found.st_mode) & _READABLE_BY_OTHERS:
            raise CredentialsRefused(f"others can read the key file {path}: run `chmod 600 {path}` first")
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(_LARGEST_KEY + 1)
    except OSError as error:
        raise CredentialsRefused(f"the key file {path} cannot be read: {error.strerror}") from error
    finally:
        os.close(descriptor)


def _private_key(text: bytes, passphrase: str | None, name: str) -> Ed25519PrivateKey:
    """Parse `text` as an Ed25519 private key. `name` is what error messages call it."""
    _check_kind(text, name)
    load = load_ssh_private_key if b"BEGIN OPENSSH PRIVATE KEY" in text else load_pem_private_key
    password = passphrase.encode() if passphrase else None
    try:
        key = load(text, password=password)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        # Neither quote nor chain the library's error: both may contain parts of the key.
        raise _refusal(error, password, name) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise CredentialsRefused(f"{name} is not an Ed25519 key: make one with `ssh-keygen -t ed25519`")
    return key


def _check_kind(text: bytes, name: str) -> None:
    start = text.lstrip()
    if start.startswith((b"ssh-", b"ecdsa-", b"-----BEGIN PUBLIC", b"---- BEGIN SSH2 PUBLIC")):
        raise CredentialsRefused(f"{name} is a public key: the private one has the same name without .pub")
    if start.startswith(b"PuTTY-User-Key-File"):
        raise CredentialsRefused(f"{name} is in PuTTY's format: export it from PuTTYgen as an OpenSSH key")
    if len(text) > _LARGEST_KEY or not (start.startswith(b"-----BEGIN ") and b"PRIVATE KEY-----" in text):
        raise CredentialsRefused(f"{name} is no private key in OpenSSH or PEM format")


def _refusal(error: Exception, password: bytes | None, name: str) -> CredentialsRefused:
    words = str(error).lower()
    if password is None and "password" in words and "not encrypted" not in words:
        return KeyLocked(
            f"{name} is locked with a passphrase, and none was given: set HARVESTER_SSH_KEY_PASSPHRASE to it"
        )
    return CredentialsRefused(_why_not(error, words, password, name))


def _why_not(error: Exception, words: str, password: bytes | None, name: str) -> str:
    if isinstance(error, UnsupportedAlgorithm) and "bcrypt" in words:
        return f"{name} is locked with a passphrase, and opening it needs the Python package bcrypt"
    if isinstance(error, UnsupportedAlgorithm):
        return f"{name} is of a kind that cannot be read here: make one with `ssh-keygen -t ed25519`"
    if "not encrypted" in words:
        return f"{name} has no passphrase, but one was given"
    if password is not None and any(word in words for word in ("password", "checksum", "decrypt", "padding")):
        return f"the passphrase does not open {name}"
    if password is not None:  # about 1 in 256 wrong passphrases seems to decrypt, but yields no valid key
        return f"the passphrase does not open {name}, or {name} is damaged"
    return f"{name} is damaged: it cannot be read as a private key"
