"""One real server for a module of tests, under pytest-grpc's channel and stub fixtures."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from runcast.v1 import run_service_pb2_grpc
from tests.rpc.calls import Runs
from tests.rpc.tasks import Tasks
from tests.serving import ServerProcess

PROVIDERS = str(Path(__file__).with_name("provided.py"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server on a SQLite file."""
    store = tmp_path_factory.mktemp("store") / "runs.db"
    with ServerProcess(f"sqlite:///{store}", ["examples", PROVIDERS]) as process:
        yield process
        assert process.stop() == 0, process.errors
        assert not [line for line in process.errors if "Traceback" in line], process.errors


@pytest.fixture(scope="module")
def grpc_addr(server: ServerProcess) -> str:
    """Where pytest-grpc's channel connects to."""
    return server.address


@pytest.fixture(scope="module")
def grpc_server(server: ServerProcess) -> ServerProcess:
    """The real server takes the place of pytest-grpc's own."""
    return server


@pytest.fixture(scope="module")
def grpc_stub_cls() -> type:
    """What pytest-grpc's `grpc_stub` is made of."""
    return run_service_pb2_grpc.RunServiceStub


@pytest.fixture
def runs(grpc_stub: run_service_pb2_grpc.RunServiceStub, grpc_channel: grpc.Channel) -> Runs:
    """RunService, with less to write."""
    return Runs(grpc_stub)


@pytest.fixture
def tasks(grpc_channel: grpc.Channel) -> Tasks:
    """TaskService, with less to write."""
    return Tasks(grpc_channel)
