"""A client that signs as the SDK does and looks at raw answers."""

import base64
import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import urllib3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from harvester.simulator import Simulator


@dataclass(frozen=True)
class Got:
    """One answer: status, headers, the body as text and as JSON if it is any."""

    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Speaks to one simulator; `key` is the user's own unless another is given."""

    def __init__(
        self, simulator: Simulator, key: Ed25519PrivateKey | None = None, timeout: float = 60
    ) -> None:
        self._simulator = simulator
        self._key = key or private_key(simulator.ssh_key_file)
        self._public = self._key.public_key().public_bytes_raw().hex()
        ca = simulator.ca_file
        self._http = urllib3.PoolManager(
            ca_certs=str(ca) if ca else None, retries=False, timeout=timeout, maxsize=16
        )

    def close(self) -> None:
        self._http.clear()

    def v1(
        self, kind: str, uid: Any = None, payload: Any = None, *, path: str = "/public", **headers: str
    ) -> Got:
        """`kind` as in ``labelrow/GET``."""
        query_type, method = kind.split("/")
        values = {"uid": uid, "payload": payload}
        body = json.dumps({"query_type": query_type, "query_method": method, "values": values}).encode()
        signature = self._key.sign(hashlib.sha256(body).digest()).hex()
        project = path == "/public"
        sent = {
            "Accept": "application/json",
            "Content-Type": "application/json",
            "Accept-Encoding": "gzip",
            "ResourceType": "project" if project else "",
            "ResourceID": self._simulator.project_hash if project else "",
            "Authorization": f"{self._public}:{signature}",
        }
        return self.send("POST", path, body, sent | {k.replace("_", "-"): v for k, v in headers.items()})

    def rows(self, *hashes: str, **headers: str) -> Got:
        """The list form of labelrow/GET."""
        return self.v1("labelrow/GET", list(hashes), {"multi_request": True}, **headers)

    def v2(self, method: str, target: str, body: bytes = b"", **headers: str) -> Got:
        digest = f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"
        created = int(datetime.now(UTC).timestamp())
        parameters = (
            '("@method" "@request-target" "content-digest")'
            f';created={created};keyid="{self._public}";alg="ed25519"'
        )
        lines = (
            f'"@method": {method}',
            f'"@request-target": /v2/public/{target}',
            f'"content-digest": {digest}',
            f'"@signature-params": {parameters}',
        )
        signature = base64.b64encode(self._key.sign("\n".join(lines).encode())).decode()
        sent = {
            "Content-Digest": digest,
            "Signature-Input": f"encord-sig={parameters}",
            "Signature": f"encord-sig=:{signature}:",
        }
        return self.send(method, f"/v2/public/{target}", body, sent | headers)

    def send(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Got:
        answer = self._http.request(
            method, self._simulator.url + path, body=body, headers=headers, redirect=False
        )
        return Got(answer.status, answer.headers, answer.data)


def private_key(file: Path) -> Ed25519PrivateKey:
    key = load_ssh_private_key(file.read_bytes(), None)
    assert isinstance(key, Ed25519PrivateKey)
    return key
