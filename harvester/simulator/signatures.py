"""Authentication: v1 signatures, v2 HTTP message signatures, bearer tokens.

v1 signs the SHA-256 digest of the body and nothing else; v2 signs method, request target and digest
(draft-ietf-httpbis-message-signatures, without ``@authority``). Neither is checked for its age, unless faults
set the server's clock: the SDK sends the same headers again when it retries, whenever that is.
"""

import base64
import binascii
import hashlib
import re
from datetime import UTC, datetime, timedelta

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from harvester.simulator.certificates import Identity
from harvester.simulator.messages import Request

_PARAMETERS = re.compile(
    r'\("@method" "@request-target" "content-digest"\);created=(\d+);keyid="([0-9a-f]{64})";alg="ed25519"'
)
_LABEL = "encord-sig="
_TOLERANCE = timedelta(minutes=5)


class Authenticator:
    """Verifies requests by the users' keys and tokens."""

    def __init__(self, identity: Identity) -> None:
        self._keys = {
            identity.public_key: Ed25519PublicKey.from_public_bytes(bytes.fromhex(identity.public_key))
        }
        self._bearer = f"Bearer {identity.token}"

    def knows_v1(self, request: Request) -> bool:
        """Return whether a v1 request comes from a known user and its signature is valid."""
        authorization = request.header("authorization")
        if authorization.startswith("Bearer "):
            return authorization == self._bearer
        key, _, signature = authorization.partition(":")
        try:
            return self._verify(key, bytes.fromhex(signature), hashlib.sha256(request.body).digest())
        except ValueError:
            return False

    def knows_v2(self, request: Request) -> bool:
        """Return whether a v2 request comes from a known user, and its digest and signature are valid."""
        authorization = request.header("authorization")
        if authorization:
            return authorization == self._bearer
        digest = f"sha-256=:{base64.b64encode(hashlib.sha256(request.body).digest()).decode()}:"
        parameters = request.header("signature-input").removeprefix(_LABEL)
        named = _PARAMETERS.fullmatch(parameters)
        signature = request.header("signature")
        if named is None or request.header("content-digest") != digest:
            return False
        lines = (
            f'"@method": {request.method}',
            f'"@request-target": {request.target}',
            f'"content-digest": {digest}',
            f'"@signature-params": {parameters}',
        )
        try:
            raw = base64.b64decode(signature.removeprefix(_LABEL + ":").removesuffix(":"), validate=True)
        except binascii.Error:
            return False
        return self._verify(named[2], raw, "\n".join(lines).encode())

    def is_in_time(self, request: Request, now: datetime) -> bool:
        """Return whether a v2 request was signed within minutes of `now`; True if it has no date."""
        named = _PARAMETERS.fullmatch(request.header("signature-input").removeprefix(_LABEL))
        return named is None or abs(datetime.fromtimestamp(int(named[1]), UTC) - now) <= _TOLERANCE

    def _verify(self, key: str, signature: bytes, message: bytes) -> bool:
        known = self._keys.get(key)
        if known is None:
            return False
        try:
            known.verify(signature, message)
        except InvalidSignature:
            return False
        return True
