"""Standard streams that a test has to itself."""

import io
import sys
from collections.abc import Iterator

import pytest

from runcast.provider import capture


@pytest.fixture
def out() -> io.StringIO:
    """Where the process prints to while the test runs, with capture installed."""
    return io.StringIO()


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Iterator[None]:
    """Around the call alone: pytest puts its own streams in place between a fixture and its test."""
    stream = pyfuncitem.funcargs.get("out")
    if not isinstance(stream, io.StringIO):
        return (yield)
    before = sys.stdout, sys.stderr
    sys.stdout = sys.stderr = stream
    capture.install()
    try:
        return (yield)
    finally:
        capture.uninstall()
        sys.stdout, sys.stderr = before
