"""Tests that look at a page need a browser: the only tests that may be skipped."""

import os

import pytest

from tests.report.browser import NO_BROWSER, browser


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test that needs a browser where there is none. CI is to have one: there the test fails."""
    if item.get_closest_marker("browser") and not browser() and not os.environ.get("CI"):
        pytest.skip(NO_BROWSER)
