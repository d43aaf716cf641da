"""A coroutine that asks the process to end, or cancels all that runs, ends its own run and nothing else."""

import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from runcast.v1 import run_pb2
from runcast.v1 import run_service_pb2 as pb
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


@pytest.mark.parametrize("signals", [1, 2])
def test_a_server_leaves_in_time_although_a_coroutine_blocks_its_loop(tmp_path: Path, signals: int) -> None:
    (tmp_path / "runcast.toml").write_text("drain_seconds = 0\n")
    with (
        ServerProcess("sqlite:///runs.db", [ROUGH], cwd=tmp_path) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        gate = tmp_path / "gate"
        request = pb.StartRunRequest(provider="spins")
        request.input.json = f'{{"path": "{gate}"}}'
        call = RunServiceStub(channel).StartRun.future(request)  # type: ignore[arg-type, attr-defined]  # not waited for
        end = time.monotonic() + 10
        while not gate.exists():
            assert time.monotonic() < end
            time.sleep(0.01)
        begun = time.monotonic()
        for number in range(signals):
            server.process.terminate()
            if number + 1 < signals:
                time.sleep(0.3)
        assert server.process.wait(10) == 1
        took = time.monotonic() - begun
        call.cancel()
        assert took < (4.5 if signals == 1 else 1.5), took
