"""Keys and tokens: what can be used, and one clear line for what cannot."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from harvester.encord.credentials import BearerToken, load_credentials
from harvester.errors import CredentialsRefused
from harvester.settings import Connection
from tests.encord.recording import key_file, private_key_text

PRIVATE = serialization.PrivateFormat
PEM = serialization.Encoding.PEM
PLAIN = serialization.NoEncryption()
LOCKED = serialization.BestAvailableEncryption(b"open sesame")
# Made for this test with `ssh-keygen -t ed25519 -N "open sesame"`; it opens nothing.
LOCKED_OPENSSH = """\
-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ni1jdHIAAAAGYmNyeXB0AAAAGAAAABCkADtmzA
0BfJWfgNROaNgkAAAAEAAAAAEAAAAzAAAAC3NzaC1lZDI1NTE5AAAAIGbzZGH8hv0yz0hq
QNLToBXfcULdZyIwZfLCCwBULq/9AAAAkKqbm/qGHQIn/Rq5Wv9hV7xEkOTqxm1gYjy2xS
4WkDaNPW0c1me5zHRsib586CGIcc6wFGI+oqcB/CGF+kSiCdM+cUhIMS3wSUNOiWGDZGF4
Kbl3bEhdPTL0+cjc7qgu8D8IDYyq7EliNz7Ojf7AK46gYexA+Ygnozk/R7sH/i0FVhZwa8
Wws8jz9gQTxKLJ3g==
-----END OPENSSH PRIVATE KEY-----
"""

LOCKED_PEM = """-----BEGIN ENCRYPTED PRIVATE KEY-----
MIGjMF8GCSqGSIb3DQEFDTBSMDEGCSqGSIb3DQEFDDAkBBC29br+UT4IGTM8Tci+
WdjuAgIIADAMBggqhkiG9w0CCQUAMB0GCWCGSAFlAwQBKgQQRDQ+znDee6L0FuIm
MlbKhARA4APB+6NORPdI7pTdAlBw0sJuWie3Mx7f7HXlgORnWNQL15zvIj7wuXW2
cgHl3h670QjlMVHsWFp3MMAgeMIPVA==
-----END ENCRYPTED PRIVATE KEY-----
"""
# One passphrase in 256 is wrong, and yet gives bytes whose padding is right.
SEEMS_RIGHT = "wrong 229"


def public_half(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


@pytest.mark.parametrize(
    ("form", "passphrase"),
    [(PRIVATE.OpenSSH, None), (PRIVATE.PKCS8, None), (PRIVATE.PKCS8, "open sesame")],
)
def test_an_ed25519_key_is_loaded_in_every_form(
    form: serialization.PrivateFormat, passphrase: str | None
) -> None:
    """OpenSSH and PEM keys load, with and without a passphrase."""
    key = Ed25519PrivateKey.generate()
    text = key.private_bytes(PEM, form, LOCKED if passphrase else PLAIN).decode()
    loaded = load_credentials(Connection(ssh_key=text, ssh_key_passphrase=passphrase))
    assert isinstance(loaded, Ed25519PrivateKey)
    assert public_half(loaded) == public_half(key)


def test_a_key_that_ssh_keygen_locked_opens_with_its_passphrase() -> None:
    """The usual form of a key with a passphrase, from a file's text."""
    connection = Connection(ssh_key=LOCKED_OPENSSH, ssh_key_passphrase="open sesame")
    key = load_credentials(connection)
    assert isinstance(key, Ed25519PrivateKey)
    assert public_half(key).hex() == "66f36461fc86fd32cf486a40d2d3a015df7142dd67223065f2c20b00542eaffd"


def test_a_key_file_goes_before_a_key_text_and_a_token(tmp_path: Path) -> None:
    """The most explicit credential wins."""
    key = Ed25519PrivateKey.generate()
    path = key_file(tmp_path, private_key_text(key))
    connection = Connection(ssh_key_file=path, ssh_key=private_key_text(), bearer_token="t")
    assert public_half(load_credentials(connection)) == public_half(key)


def test_a_token_is_kept_from_sight() -> None:
    """A bearer token is its text, and its repr is not."""
    token = load_credentials(Connection(bearer_token="s3cret"))
    assert token == "s3cret"
    assert isinstance(token, BearerToken)
    assert "s3cret" not in repr(token)


def rsa_text() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(PEM, PRIVATE.OpenSSH, PLAIN).decode()


def cut_text() -> str:
    lines = private_key_text().splitlines()
    return "\n".join([*lines[:3], *lines[4:]])


REFUSED = {
    "nothing at all": (lambda: "", None, "no credentials"),
    "not a key": (lambda: "hello", None, "no private key"),
    "a public key": (lambda: "ssh-ed25519 AAAAC3Nz", None, "is a public key"),
    "a PuTTY key": (lambda: "PuTTY-User-Key-File-3: ssh-ed25519", None, "PuTTY"),
    "an RSA key": (rsa_text, None, "not an Ed25519 key"),
    "an ECDSA key": (
        lambda: ec.generate_private_key(ec.SECP256R1()).private_bytes(PEM, PRIVATE.PKCS8, PLAIN).decode(),
        None,
        "not an Ed25519 key",
    ),
    "locked, no passphrase": (lambda: LOCKED_OPENSSH, None, "locked with a passphrase, and none was given"),
    "locked PEM, no passphrase": (lambda: LOCKED_PEM, None, "locked with a passphrase, and none was given"),
    "locked, wrong passphrase": (lambda: LOCKED_OPENSSH, "wrong", "passphrase does not open"),
    "locked PEM, wrong passphrase": (lambda: LOCKED_PEM, "wrong", "passphrase does not open"),
    "locked PEM, a passphrase that seems right": (
        lambda: LOCKED_PEM,
        SEEMS_RIGHT,
        "does not open .* or .* damaged",
    ),
    "open, a passphrase": (private_key_text, "idle", "has no passphrase"),
    "damaged": (cut_text, None, "damaged"),
    "far too long": (lambda: private_key_text() + "x" * 70_000, None, "no private key"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_key_that_cannot_be_used_is_named_in_one_line_without_its_text(case: str) -> None:
    """Each bad key is refused with its reason and exit code 4, and shows none of its text."""
    make, passphrase, reason = REFUSED[case]
    text = make()
    with pytest.raises(CredentialsRefused, match=reason) as refused:
        load_credentials(Connection(ssh_key=text, ssh_key_passphrase=passphrase))
    assert refused.value.exit_code == 4
    assert "\n" not in refused.value.message
    assert refused.value.__cause__ is None
    secrets = [line for line in text.splitlines() if len(line) > 20 and "-----" not in line]
    assert not any(line in refused.value.message for line in secrets)


def test_a_key_file_that_others_can_read_is_refused_with_the_remedy(tmp_path: Path) -> None:
    """A group- or world-readable key is refused, and the message says how to mend it."""
    path = key_file(tmp_path)
    path.chmod(0o640)
    with pytest.raises(CredentialsRefused, match="chmod 600"):
        load_credentials(Connection(ssh_key_file=path))


def test_a_key_file_that_is_not_there_or_a_directory_is_refused(tmp_path: Path) -> None:
    """The path is in the message, with what is the matter."""
    with pytest.raises(CredentialsRefused, match="absent does not exist"):
        load_credentials(Connection(ssh_key_file=tmp_path / "absent"))
    with pytest.raises(CredentialsRefused, match="is a directory"):
        load_credentials(Connection(ssh_key_file=tmp_path))


def test_a_token_that_no_header_can_carry_is_refused() -> None:
    """A token with a line break would end the header, and begin another."""
    with pytest.raises(CredentialsRefused, match="no header can carry"):
        load_credentials(Connection(bearer_token="a\nb"))
