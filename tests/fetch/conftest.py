"""What tests with real threads share."""

import threading
from collections.abc import Iterator

import pytest


@pytest.fixture
def let_go() -> Iterator[threading.Event]:
    """Calls that hang do so until the test is over."""
    event = threading.Event()
    yield event
    event.set()
