"""Every error that the contract's comments promise is provoked: a table RPC × error without an empty cell."""

import asyncio
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc

from runcast.server.model import lifecycle
from runcast.server.model.change import Group
from runcast.server.model.event import LogLine, Severity
from runcast.server.model.run import Definition, Execution, Initiator, Payload
from runcast.server.repository.sqlite import SQLiteRepository
from runcast.v1 import server_service_pb2
from tests.rpc.calls import refusal, stub_of
from tests.rpc.documented import promised
from tests.rpc.door import METHODS, Door
from tests.rpc.provocations import CELLS, Off
from tests.serving import ServerProcess

HERE = Path(__file__).parent
PROVIDERS = ["examples", str(HERE / "provided.py"), str(HERE / "erring.py")]
PROMISED = promised()
GENERAL = {
    ("INVALID_ARGUMENT", "INVALID_ARGUMENT"), ("UNAUTHENTICATED", "UNAUTHENTICATED"),
    ("PERMISSION_DENIED", "PERMISSION_DENIED"), ("RESOURCE_EXHAUSTED", "LIMIT_REACHED"),
    ("UNAVAILABLE", "DRAINING"), ("UNAVAILABLE", "STORAGE_UNAVAILABLE"), ("UNIMPLEMENTED", "FEATURE_OFF"),
    ("DATA_LOSS", "CHECKSUM_MISMATCH"), ("INTERNAL", "INTERNAL"),
}  # fmt: skip
"""What any call may fail with: `test_general_errors` has those that can happen yet."""
DETAILS = {
    "INVALID_ARGUMENT": {"BadRequest"},
    "NOT_FOUND": {"ResourceInfo"},
    "ALREADY_EXISTS": {"ResourceInfo"},
    "FAILED_PRECONDITION": {"PreconditionFailure"},
    "RESOURCE_EXHAUSTED": {"QuotaFailure", "RetryInfo"},
    "UNAVAILABLE": {"RetryInfo"},
}


async def prepare(store: Path) -> None:
    """Leave a final run of which the first events are gone: nothing trims by itself yet."""
    repository = SQLiteRepository(store)
    await repository.open()
    definition = Definition("nothing", input=Payload(json="{}"), execution=Execution.ASYNC)
    created = lifecycle.create("trimmed", definition, 1, None)
    more = lifecycle.next_version(created.run, 2, tuple(LogLine(Severity.INFO, str(n)) for n in range(9)))
    ended = lifecycle.cancel(more.run, 3, Initiator.CLIENT)
    assert ended is not None
    await repository.save([Group((change,)) for change in (created, more, ended)])
    run = await repository.get("trimmed")
    trimmed = lifecycle.next_version(run, 4, (), first_sequence=6)
    await repository.save([Group((trimmed,))])
    await repository.close()


class TwoServers:
    """The `World` of the provocations."""

    def __init__(self, well: ServerProcess, draining: ServerProcess) -> None:
        self._doors = [Door(grpc.insecure_channel(server.address)) for server in (well, draining)]
        self._lasting: list[str] = []

    def call(self, name: str, *requests: Mapping[str, Any] | bytes) -> list[Any]:
        return self._doors[0].call(name, *requests)

    def drained(self, name: str, *requests: Mapping[str, Any] | bytes) -> list[Any]:
        return self._doors[1].call(name, *requests)

    def lasting(self, provider: str) -> str:
        run = self.call("RunService/StartRun", {"provider": provider})[0].run
        self._lasting.append(run.id)
        return str(run.id)

    def end(self) -> None:
        """Cancel what lasts."""
        for run_id in self._lasting:
            self.call("RunService/CancelRun", {"runId": run_id})


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that knows a provider which is gone, and a run whose first events are."""
    store = tmp_path_factory.mktemp("store") / "runs.db"
    with ServerProcess(f"sqlite:///{store}", [*PROVIDERS, str(HERE / "gone.py")]) as server:
        door = Door(grpc.insecure_channel(server.address))
        door.call("TaskService/CreateTask", {"task": {"id": "orphan", "provider": "gone", "enabled": True}})
        door.call("RunService/StartRun", {"provider": "gone", "runId": "orphaned-run", "wait": "20s"})
        assert server.stop() == 0
    asyncio.run(prepare(store))
    return store


@pytest.fixture(scope="module")
def draining(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that drains until the tests are over."""
    end = tmp_path_factory.mktemp("draining") / "end"
    with ServerProcess("memory://", PROVIDERS) as server:
        channel = grpc.insecure_channel(server.address)
        door = Door(channel)
        door.call("RunService/StartRun", {"provider": "nothing", "runId": "ended", "wait": "20s"})
        lasting = {"provider": "until", "runId": "lasting", "input": {"json": f'{{"path": "{end}"}}'}}
        door.call("RunService/StartRun", lasting)
        server.process.send_signal(signal.SIGTERM)
        health = stub_of(health_pb2_grpc.HealthStub, channel)
        deadline = time.monotonic() + 10
        while (
            health.Check(health_pb2.HealthCheckRequest()).status != health_pb2.HealthCheckResponse.NOT_SERVING
        ):
            assert time.monotonic() < deadline
        yield server
        end.touch()
        assert server.process.wait(20) == 0, server.errors


@pytest.fixture(scope="module")
def world(store: Path, draining: ServerProcess) -> Iterator[TwoServers]:
    """Both servers."""
    with ServerProcess(f"sqlite:///{store}", PROVIDERS) as server:
        both = TwoServers(server, draining)
        yield both
        both.end()
        assert server.stop() == 0, server.errors


@pytest.fixture(scope="module")
def on(world: TwoServers) -> set[str]:
    """The RPCs that are on."""
    info = world.call("ServerService/GetServerInfo", {})[0]
    return {name.removeprefix("runcast.v1.") for name in info.methods}


def test_every_error_of_every_rpc_that_is_on_has_its_cell_and_no_cell_is_of_anything_else(
    on: set[str],
) -> None:
    table = {(rpc, reason) for rpc, errors in PROMISED.items() if rpc in on for _, reason in errors}
    assert table == set(CELLS)
    assert len(table) > 80


def test_every_service_promises_the_same_of_every_call() -> None:
    services = {name for name in PROMISED if "/" not in name}
    assert {name.partition("/")[0] for name in METHODS} == services
    assert all(PROMISED[name] == GENERAL for name in services)


@pytest.mark.parametrize(("rpc", "reason"), CELLS, ids=lambda value: str(value).replace("/", "."))
def test_an_error_that_is_promised_happens_so(world: TwoServers, on: set[str], rpc: str, reason: str) -> None:
    provoke = CELLS[rpc, reason]
    if isinstance(provoke, Off):
        _is_off(world, on, provoke)
        return
    with pytest.raises(grpc.RpcError) as error:
        provoke(world)
    code, found, details = refusal(error.value)
    assert (code.name, found) in PROMISED[rpc], error.value.details()
    assert found == reason
    assert DETAILS.get(code.name, set()) <= set(details)


def _is_off(world: TwoServers, on: set[str], switch: str) -> None:
    """What would lead to the error answers FEATURE_OFF."""
    assert switch not in on
    with pytest.raises(grpc.RpcError) as error:
        world.call(switch, {})
    code, reason, _ = refusal(error.value)
    assert (code.name, reason) == ("UNIMPLEMENTED", "FEATURE_OFF")


def test_what_cannot_be_read_is_refused_by_every_rpc_that_is_on(world: TwoServers, on: set[str]) -> None:
    for rpc in sorted(on & METHODS.keys()):
        with pytest.raises(grpc.RpcError) as error:
            world.call(rpc, b"\xff\xff\xff")
        code, reason, _ = refusal(error.value)
        assert (code.name, reason) == ("INVALID_ARGUMENT", "INVALID_ARGUMENT"), rpc


def test_there_is_nobody_to_be_kept_out_yet(world: TwoServers) -> None:
    info: Message = world.call("ServerService/GetServerInfo", {})[0]
    assert isinstance(info, server_service_pb2.GetServerInfoResponse)
    assert "authentication" not in info.features
