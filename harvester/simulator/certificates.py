"""The simulator's own certificate authority, user key and token, in a private directory."""

import ssl
from dataclasses import dataclass
from pathlib import Path
from secrets import token_urlsafe

import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Identity:
    """A user's credentials, and what the server verifies them with."""

    ssh_key_file: Path
    token_file: Path
    ca_file: Path | None
    public_key: str  # hex, as the SDK names a key
    token: str
    tls: ssl.SSLContext | None


def make_identity(directory: Path, *, tls: bool) -> Identity:
    """Write a new key, token and certificate authority to `directory`, with files of mode 0600."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    token = token_urlsafe(32)
    ca_file, context = _certificates(directory) if tls else (None, None)
    return Identity(
        ssh_key_file=_secret(directory / "id_ed25519", private),
        token_file=_secret(directory / "bearer-token", token.encode()),
        ca_file=ca_file,
        public_key=key.public_key().public_bytes_raw().hex(),
        token=token,
        tls=context,
    )


def _certificates(directory: Path) -> tuple[Path, ssl.SSLContext]:
    authority = trustme.CA(organization_name="harvester simulator")
    certificate = authority.issue_cert(HOST, "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    certificate.configure_cert(context)
    return _secret(directory / "ca.pem", authority.cert_pem.bytes()), context


def _secret(path: Path, content: bytes) -> Path:
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(content)
    return path
