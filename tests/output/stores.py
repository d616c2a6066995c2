"""An S3 server on loopback, over HTTP, and stores that fail in ways of their own."""

import logging
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from threading import Thread
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto.core import DEFAULT_ACCOUNT_ID
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.s3.models import s3_backends
from werkzeug.serving import WSGIRequestHandler, make_server

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

BUCKET = "labels"
_SERVERS = count(1)
_NAME_BUCKET = {"PATH_INFO", "RAW_URI", "REQUEST_URI", "HTTP_X_AMZ_COPY_SOURCE"}  # of a request
_REACHED_BY = {
    "AWS_ACCESS_KEY_ID": "AKIATESTTESTTEST",
    "AWS_SECRET_ACCESS_KEY": "hunter2hunter2",
    "AWS_REGION": "us-east-1",
}


class S3:
    """moto's server with one empty bucket, of its own. `environment` is what a client needs to reach it.

    While it `is_slow` it answers SlowDown to all but `client`. It gets so with the first request whose path
    has `slow_from` in it.
    """

    def __init__(self, url: str, app: "WSGIApplication", bucket: str) -> None:
        self.app = app
        self._bucket = bucket  # as moto has it
        self.is_slow = False
        self.slow_from: str | None = None
        self.environment = {**_REACHED_BY, "AWS_ENDPOINT_URL": url}
        self.client: Any = boto3.client(
            "s3",
            endpoint_url=url,
            aws_access_key_id="test",
            aws_secret_access_key="test",
            region_name="us-east-1",
        )
        self.client.create_bucket(Bucket=BUCKET)
        # What tests look at and put there directly: they do it often, and each request takes 5 ms of CPU.
        self._backend = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]

    def contents(self, prefix: str) -> dict[str, bytes]:
        """Every object below a prefix, by its name below it."""
        objects = self._backend.buckets[self._bucket].keys
        names = [name for name in list(objects) if name.startswith(f"{prefix}/")]
        found = {name.removeprefix(f"{prefix}/"): objects.get(name) for name in sorted(names)}
        return {name: each.value for name, each in found.items() if each is not None}

    def has(self, name: str) -> bool:
        """Whether there is an object of this name, or one below it."""
        return any(
            key == name or key.startswith(f"{name}/")
            for key in list(self._backend.buckets[self._bucket].keys)
        )

    def uploads(self) -> list[str]:
        """The names of the uploads that are under way, or were left behind."""
        return [each["Key"] for each in self.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])]

    def put(self, name: str, data: bytes) -> None:
        self._backend.put_object(self._bucket, name, data)


@contextmanager
def s3_server() -> Iterator[S3]:
    """A server on any free port. moto has the buckets of all servers of a process: each gets its own name."""
    bucket = f"{BUCKET}-{next(_SERVERS)}"
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    app = DomainDispatcherApplication(create_backend_app)

    def gate(environ: Any, start: Any) -> Iterable[bytes]:
        for name in _NAME_BUCKET & environ.keys():
            environ[name] = re.sub(rf"^/?{BUCKET}(?![^/?])", f"/{bucket}", environ[name])
        if "Boto3" in environ.get("HTTP_USER_AGENT", ""):
            return app(environ, start)  # type: ignore[no-any-return]
        if running.slow_from and running.slow_from in environ["PATH_INFO"]:
            running.is_slow, running.slow_from = True, None
        if not running.is_slow:
            return app(environ, start)  # type: ignore[no-any-return]
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        start("503 Slow Down", [("Content-Type", "application/xml")])
        return [b"<Error><Code>SlowDown</Code></Error>"]

    with serving(gate) as url:
        running = S3(url, gate, bucket)
        try:
            yield running
        finally:
            running.client.close()


class _OneRequest(WSGIRequestHandler):
    protocol_version = "HTTP/1.0"


@contextmanager
def serving(app: "WSGIApplication", port: int = 0) -> Iterator[str]:
    """A server of `app` on a port, any free one if it is 0; its address. It keeps no connection open."""
    server = make_server("127.0.0.1", port, app, threaded=True, request_handler=_OneRequest)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def reach(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process's environment, as a user of the store has it."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    """A server that has one answer for everything."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("content-length") or 0))
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
