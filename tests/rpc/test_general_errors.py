"""What any call may fail with, for every RPC that is on: a store that is away, damaged, or that nobody understands."""

from collections.abc import AsyncIterator, Mapping
from typing import Any, cast

import grpc
import pytest
from google.protobuf.json_format import ParseDict
from google.protobuf.message_factory import GetMessageClass

from runcast.provider.registry import Registry
from runcast.server.__main__ import SystemClock
from runcast.server.engine.engine import Engine
from runcast.server.executor.assembly import executors
from runcast.server.model.errors import DataLoss, Unavailable
from runcast.server.notifier.local import LocalNotifier
from runcast.server.repository.abc import Repository
from runcast.server.repository.memory import MemoryRepository
from runcast.server.rpc.server import Server
from tests.rpc.calls import refusal
from tests.rpc.door import METHODS, PATIENCE
from tests.rpc.provided import nothing

SECRET = "a detail that concerns nobody"
RUN: Mapping[str, Any] = {"runId": "stored"}
START: Mapping[str, Any] = {"provider": "nothing"}
REQUESTS: dict[str, Mapping[str, Any]] = {
    "RunService/StartRun": START,
    "RunService/ExecuteRun": {"start": START},
    "RunService/AttachRun": {"open": RUN},
    "RunService/ListRuns": {},
    "RunService/WatchRuns": {},
    "TaskService/CreateTask": {"task": START},
    "TaskService/GetTask": {"id": "stored"},
    "TaskService/ListTasks": {},
    "TaskService/UpdateTask": {"task": {"id": "stored", "displayName": "x"}},
    "TaskService/DeleteTask": {"id": "stored"},
}
"""A call that needs the store; others are about a run of it."""
WITHOUT_STORE: dict[str, Mapping[str, Any]] = {
    "ProviderService/GetProvider": {"name": "nothing"},
    "ProviderService/ListProviders": {},
    "ServerService/GetServerInfo": {},
    "RunService/BatchStartRuns": {"requests": [START]},
}
"""Calls that the store's trouble does not end: the last one tells it of each start."""
_VERBS = {"save", "get", "list", "events", "attempts", "checkpoint", "remove", "document", "documents"}


class BrokenRepository:
    """A store in which every verb fails with `error`, once there is one."""

    def __init__(self) -> None:
        self._inner = MemoryRepository()
        self.error: Exception | None = None

    def __getattr__(self, name: str) -> Any:
        if name in _VERBS and self.error is not None:
            raise self.error
        return getattr(self._inner, name)


class Door:
    """The server's address, and the store behind it."""

    def __init__(self, channel: grpc.aio.Channel, store: BrokenRepository) -> None:
        self._channel = channel
        self.store = store

    async def call(self, name: str, request: Mapping[str, Any]) -> list[Any]:
        """All answers."""
        method = METHODS[name]
        make: Any = {
            (False, False): self._channel.unary_unary,
            (False, True): self._channel.unary_stream,
            (True, True): self._channel.stream_stream,
        }[method.client_streaming, method.server_streaming]
        stub = make(
            f"/{method.containing_service.full_name}/{method.name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        message = ParseDict(dict(request), GetMessageClass(method.input_type)())
        answer = stub(iter([message]) if method.client_streaming else message, timeout=PATIENCE)
        return [each async for each in answer] if method.server_streaming else [await answer]


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    """A server in this process."""
    store, clock, registry = BrokenRepository(), SystemClock(), Registry()
    registry.add(nothing)
    kinds = executors(registry, [])
    engine = Engine(cast(Repository, store), LocalNotifier(), kinds, registry, clock)
    await engine.open()
    server = Server(engine, clock.now)
    port = await server.start("127.0.0.1:0")
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield Door(channel, store)
    store.error = None
    await server.stop()
    await engine.close()


async def on(door: Door) -> set[str]:
    """The RPCs that are on."""
    (info,) = await door.call("ServerService/GetServerInfo", {})
    return {name.removeprefix("runcast.v1.") for name in info.methods if name.startswith("runcast.v1.")}


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (Unavailable(SECRET), ("UNAVAILABLE", "STORAGE_UNAVAILABLE")),
        (DataLoss(SECRET), ("DATA_LOSS", "CHECKSUM_MISMATCH")),
        (ValueError(SECRET), ("INTERNAL", "INTERNAL")),
    ],
)
async def test_trouble_with_the_store_is_told_by_every_rpc_that_needs_it(
    door: Door, error: Exception, expected: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    rpcs = await on(door) - set(WITHOUT_STORE)
    door.store.error = error
    for rpc in sorted(rpcs):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await door.call(rpc, REQUESTS.get(rpc, RUN))
        code, reason, details = refusal(refused.value)
        assert (code.name, reason) == expected, rpc
        assert ("RetryInfo" in details) is (code is grpc.StatusCode.UNAVAILABLE)
        if expected[0] == "INTERNAL":
            assert SECRET not in str(refused.value), rpc
    caplog.clear()


async def test_what_does_not_need_the_store_works_without_it(door: Door) -> None:
    door.store.error = Unavailable(SECRET)
    for rpc, request in WITHOUT_STORE.items():
        (answer,) = await door.call(rpc, request)
        if rpc.endswith("BatchStartRuns"):
            assert answer.results[0].error.code == grpc.StatusCode.UNAVAILABLE.value[0]
    assert set(WITHOUT_STORE) <= await on(door)
