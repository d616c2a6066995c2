"""A certificate authority, a key, and sessions with a recording server."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import trustme

from harvester.encord.session import Session
from harvester.settings import Connection
from tests.encord.recording import Answering, Recording, envelope, private_key_text

KEY = private_key_text()


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No credentials, bundles or proxies of the machine reach a test."""
    for name in ("ENCORD_SSH_KEY", "ENCORD_SSH_KEY_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def server(authority: trustme.CA) -> Iterator[Recording]:
    """Over TLS; answers every request with an empty list until told otherwise."""
    with Recording(lambda asked: envelope([]), authority.issue_cert("127.0.0.1", "localhost")) as running:
        yield running


@pytest.fixture
def serving(authority: trustme.CA) -> Iterator[Callable[..., Recording]]:
    """Starts further servers, plain or over TLS."""
    with ExitStack() as stack:

        def serve(answers: Answering, *, tls: bool = True) -> Recording:
            certificate = authority.issue_cert("127.0.0.1", "localhost") if tls else None
            return stack.enter_context(Recording(answers, certificate))

        yield serve


@pytest.fixture
def connect(
    server: Recording, ca_file: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Session]]:
    """Opens sessions with the recording server, closed at the end."""
    with ExitStack() as stack:

        def open_session(**options: Any) -> Session:
            if options.get("transport") == "sdk":
                monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(ca_file))
            session = Session.open(
                Connection(**{"domain": server.url, "ssh_key": KEY, "ca_bundle": ca_file, **options})
            )
            stack.callback(session.close)
            return session

        yield open_session
