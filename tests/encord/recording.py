"""A server that records what it is asked and answers what it is told to, over TLS, on loopback."""

import base64
import gzip
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.patience import LONG

PROJECT = "5a1b6e9c-0000-4000-8000-000000000001"
ONTOLOGY = "5a1b6e9c-0000-4000-8000-000000000002"


@dataclass
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    port: int

    @property
    def query(self) -> dict[str, Any]:
        return json.loads(self.body)

    @property
    def uid(self) -> Any:
        return self.query["values"]["uid"]

    @property
    def payload(self) -> dict[str, Any]:
        return self.query["values"]["payload"]


@dataclass
class Reply:
    """An answer. `raw` is written as it stands instead; `pieces` are sent as the body, one by one."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    pieces: Iterable[bytes] | None = None
    raw: Iterable[bytes] | None = None


Answering = Callable[[Asked], Reply]


def envelope(response: Any, status: int = 200, **more: Any) -> Reply:
    return Reply(json.dumps({"status": status, "response": response, **more}).encode())


def error(code: str, **more: Any) -> Reply:
    return envelope([code], status=400, **more)


def gzipped(body: bytes) -> Reply:
    return Reply(gzip.compress(body), headers={"Content-Encoding": "gzip"})


class Recording:
    """The server, while it is entered. `answers` may be replaced at any time."""

    def __init__(self, answers: Answering, certificate: trustme.LeafCert | None) -> None:
        self.answers = answers
        self.asked: list[Asked] = []
        recording = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def _serve(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                asked = Asked(
                    self.command,
                    self.path,
                    dict(self.headers),
                    self.rfile.read(length),
                    self.client_address[1],
                )
                recording.asked.append(asked)
                try:
                    self._write(recording.answers(asked))
                except OSError:
                    self.close_connection = True

            def _write(self, reply: Reply) -> None:
                if reply.raw is not None:
                    self.close_connection = True
                    for piece in reply.raw:
                        self.wfile.write(piece)
                        self.wfile.flush()
                    return
                self.send_response_only(reply.status)
                for name, value in {"Date": self.date_time_string(), **reply.headers}.items():
                    self.send_header(name, value)
                if reply.pieces is None:
                    self.send_header("Content-Length", str(len(reply.body)))
                    self.end_headers()
                    self.wfile.write(reply.body)
                    return
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for piece in reply.pieces:
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                self.wfile.write(b"0\r\n\r\n")

        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            setattr(Handler, f"do_{method}", Handler._serve)

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                pass

        self._server = Quiet(("127.0.0.1", 0), Handler)
        scheme = "http"
        if certificate is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            certificate.configure_cert(context)
            # The handshake happens in the connection's own thread, so that a refused one ends no accept.
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
            scheme = "https"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self) -> "Recording":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class Tunnel:
    """An http proxy that opens tunnels, while it is entered.

    Args:
        wants: `user:password`, without which it answers 407.
        answers: its answer to every CONNECT instead of a tunnel, e.g. ``403 Forbidden``.
        port: 0 is any free one.
    """

    def __init__(self, *, wants: str | None = None, answers: str | None = None, port: int = 0) -> None:
        self.asked: list[str] = []
        self.opened: list[str] = []
        self.authorized: list[str] = []
        self._wants = "Basic " + base64.b64encode(wants.encode()).decode() if wants else None
        self._answers = answers
        self._near: set[socket.socket] = set()
        self._listening = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listening.getsockname()[1]
        self.host = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.host}"

    def __enter__(self) -> "Tunnel":
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.die()

    def die(self) -> None:
        """Refuses connections from now on, and breaks those that there are."""
        for opened in (self._listening, *self._near):
            with suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            self._near.add(near)
            threading.Thread(target=self._answer, args=(near,), daemon=True).start()

    def _answer(self, near: socket.socket) -> None:
        with near, near.makefile("rb") as head, suppress(OSError):
            target = head.readline().split()[1].decode()
            self.asked.append(target)
            authorization = None
            while line := head.readline().decode().strip():
                name, _, value = line.partition(": ")
                if name.lower() == "proxy-authorization":
                    authorization = value
                    self.authorized.append(value)
            if self._answers or (self._wants and authorization != self._wants):
                refusal = self._answers or "407 Proxy Authentication Required"
                near.sendall(f"HTTP/1.1 {refusal}\r\nContent-Length: 0\r\n\r\n".encode())
                return
            self.opened.append(target)
            host, _, port = target.rpartition(":")
            with socket.create_connection((host, int(port))) as far:
                near.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                back = threading.Thread(target=_relay, args=(far, near), daemon=True)
                back.start()
                _relay(near, far)
                back.join(LONG)


def _relay(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


def private_key_text(key: Ed25519PrivateKey | None = None) -> str:
    return (
        (key or Ed25519PrivateKey.generate())
        .private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.OpenSSH,
            serialization.NoEncryption(),
        )
        .decode()
    )


def key_file(directory: Path, text: str | None = None) -> Path:
    path = directory / "key"
    path.write_text(text or private_key_text())
    path.chmod(0o600)
    return path
