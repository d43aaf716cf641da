"""A coroutine that asks the process to end, or cancels all that runs, ends its own run and nothing else."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from runcast.v1 import run_pb2
from runcast.v1.run_service_pb2_grpc import RunServiceStub
from tests.rpc.calls import Runs, stub_of
from tests.serving import ServerProcess

ROUGH = str(Path(__file__).with_name("rough.py"))


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Runs]:
    """A server with these guests, which is well at the end."""
    with (
        ServerProcess(f"sqlite:///{tmp_path / 'runs.db'}", [ROUGH]) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        yield Runs(stub_of(RunServiceStub, channel))
        assert server.process.poll() is None, server.errors
        assert server.stop() == 0


@pytest.mark.parametrize(
    ("provider", "state"),
    [
        ("exits_in_a_task", run_pb2.Run.STATE_FAILED),
        ("interrupts_in_a_group", run_pb2.Run.STATE_FAILED),
        ("exits_unheard", run_pb2.Run.STATE_SUCCEEDED),
        ("cancels_all", run_pb2.Run.STATE_FAILED),
    ],
)
def test_a_rough_guest_ends_its_own_run_only(runs: Runs, tmp_path: Path, provider: str, state: int) -> None:
    gate = tmp_path / "gate"
    other = runs.start("waits", f'{{"path": "{gate}"}}')
    rough = runs.wait(runs.start(provider).id)
    assert rough.state == state
    gate.touch()
    after = runs.wait(other.id)
    assert (after.state, after.output.json) == (run_pb2.Run.STATE_SUCCEEDED, '"done"')
    assert after.attempt == 1
    again = runs.wait(runs.start("waits", f'{{"path": "{gate}"}}').id)
    assert again.state == run_pb2.Run.STATE_SUCCEEDED
