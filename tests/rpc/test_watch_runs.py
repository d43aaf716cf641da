"""WatchRuns over the wire: tables that converge to ListRuns, for anybody, also after cuts and restarts."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import pytest

from runcast.server.repository.memory import MemoryRepository
from runcast.server.rpc.boards import BoardServicer
from runcast.v1 import run_pb2
from runcast.v1.run_service_pb2_grpc import RunServiceStub
from tests.client.proxy import Proxy
from tests.engine.clock import HandClock
from tests.engine.server import Server
from tests.rpc.calls import PATIENCE, Runs, pb, refusal, stub_of
from tests.rpc.conftest import PROVIDERS
from tests.serving import ServerProcess

FULL = run_pb2.RUN_VIEW_FULL
ACTIVE = run_pb2.RunFilter(labels={"team": "a"}, states=[2, 3, 8])  # type: ignore[list-item]


def kinds(messages: Iterator[Any], until: str) -> list[str]:
    """What comes up to the first message of a kind."""
    found: list[str] = []
    for message in messages:
        assert message.resume_token
        found.append(message.WhichOneof("message"))
        if found[-1] == until:
            break
    return found


class Table:
    """A client that keeps a table by the contract, and comes back by its token whenever it is cut."""

    def __init__(self, port: int, **fields: Any) -> None:
        self.port = port
        self.fields = fields
        self.rows: dict[str, run_pb2.Run] = {}
        self.complete = asyncio.Event()
        self.came = 0
        self.reasons: list[str] = []
        self.connections = 0
        self._token = ""

    async def follow(self) -> None:
        """Until cancelled."""
        while True:
            with suppress(grpc.aio.AioRpcError):
                async with grpc.aio.insecure_channel(f"127.0.0.1:{self.port}") as channel:
                    self.connections += 1
                    stub: Any = RunServiceStub(channel)  # type: ignore[no-untyped-call,unused-ignore]
                    request = pb.WatchRunsRequest(resume_token=self._token, **self.fields)
                    async for message in stub.WatchRuns(request, wait_for_ready=True):
                        self._handle(message)
                        self._token = message.resume_token
            await asyncio.sleep(0.05)

    def _handle(self, message: Any) -> None:
        self.came += 1
        kind = message.WhichOneof("message")
        if kind == "resync":
            self.reasons.append(message.resync.reason)
            self.rows.clear()
            self.complete.clear()
        elif kind == "changes":
            for run in message.changes.runs:
                self.rows[run.id] = run
            for run_id in message.changes.removed:
                self.rows.pop(run_id, None)
        elif kind == "caught_up":
            self.complete.set()

    async def listed(self, stub: Any) -> dict[str, run_pb2.Run]:
        """What ListRuns has of the same filter and view."""
        fields = {name: self.fields[name] for name in ("filter", "view") if name in self.fields}
        found: dict[str, run_pb2.Run] = {}
        token = ""
        while True:
            page = await stub.ListRuns(pb.ListRunsRequest(page_size=1_000, page_token=token, **fields))
            found |= {run.id: run for run in page.runs}
            token = page.next_page_token
            if not token:
                return found

    async def converges(self, stub: Any) -> None:
        """Return once the table is the list."""
        async with asyncio.timeout(PATIENCE):
            while not (self.complete.is_set() and self.rows == await self.listed(stub)):
                await asyncio.sleep(0.05)


async def storm(stub: Any, gate: Path) -> None:
    """Hundreds of runs that succeed, fail, and are cancelled, some of them labelled."""
    cancelled: list[str] = []
    for number in range(12):
        requests = [
            pb.StartRunRequest(provider=provider, input={"json": json}, labels=labels)
            for provider, json, labels in [
                ("nothing", "{}", {}), ("echo", f'{{"value": {number}}}', {"team": "a"}),
                ("fail", "{}", {"team": "b"}), ("until", f'{{"path": "{gate}"}}', {"team": "a"}),
            ]
        ]  # fmt: skip
        response = await stub.BatchStartRuns(pb.BatchStartRunsRequest(requests=requests * 7))
        waiting = [one.started.run.id for one in response.results if one.started.run.provider == "until"]
        cancelled += waiting[:3]
    await asyncio.gather(*(stub.CancelRun(pb.CancelRunRequest(run_id=run_id)) for run_id in cancelled))


def free_port() -> int:
    """A port that a server can be started on twice."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@asynccontextmanager
async def following(*tables: Table) -> AsyncIterator[None]:
    """The tables' clients do so meanwhile, from complete tables on."""
    tasks = [asyncio.create_task(table.follow()) for table in tables]
    for table in tables:
        await asyncio.wait_for(table.complete.wait(), PATIENCE)
    yield
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def until(true: Callable[[], object]) -> None:
    """Return once this holds."""
    async with asyncio.timeout(PATIENCE):
        while not true():
            await asyncio.sleep(0.01)


async def test_two_clients_converge_to_the_list_after_a_storm_and_a_cut_connection(
    server: ServerProcess, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    port = int(server.address.rpartition(":")[2])
    async with Proxy(port) as proxy, grpc.aio.insecure_channel(server.address) as channel:
        stub = stub_of(RunServiceStub, channel)  # type: ignore[arg-type]
        everything = Table(proxy.port, view=FULL)
        active = Table(port, filter=ACTIVE)
        async with following(everything, active):
            raging = asyncio.create_task(storm(stub, gate))
            came = everything.came
            await until(lambda: everything.came > came + 1)
            proxy.cut()
            await raging
            for table in (everything, active):
                await table.converges(stub)
            assert len(everything.rows) >= 12 * 28
            assert active.rows
            gate.touch()
            await until(lambda: not active.rows)
            for table in (everything, active):
                await table.converges(stub)
        assert (everything.connections, everything.reasons) == (2, [""])
        assert (active.connections, active.reasons) == (1, [""])


async def test_a_client_that_is_cut_by_a_restart_begins_anew(tmp_path: Path) -> None:
    listen, storage = f"127.0.0.1:{free_port()}", f"sqlite:///{tmp_path / 'runs.db'}"
    gate = tmp_path / "gate"
    waiting = pb.StartRunRequest(
        provider="until", input={"json": f'{{"path": "{gate}"}}'}, labels={"team": "a"}
    )
    table = Table(int(listen.rpartition(":")[2]), filter=ACTIVE)
    async with grpc.aio.insecure_channel(listen) as channel:
        stub = stub_of(RunServiceStub, channel)  # type: ignore[arg-type]
        with ServerProcess(storage, [PROVIDERS], listen=listen) as server:
            async with following(table):
                lost = (await stub.StartRun(waiting)).run
                await table.converges(stub)
                assert [*table.rows] == [lost.id]
                server.kill()
                with ServerProcess(storage, [PROVIDERS], listen=listen):
                    new = (await stub.StartRun(waiting, wait_for_ready=True)).run
                    await until(lambda: len(table.reasons) == 2)
                    await table.converges(stub)
                    assert [*table.rows] == [new.id]
                    gate.touch()
                    await until(lambda: not table.rows)
    assert table.reasons == ["", "the server was restarted, or is another one"]


def test_the_stream_begins_with_resync_and_is_caught_up(runs: Runs) -> None:
    run = runs.finished("nothing")
    call = runs.WatchRuns(pb.WatchRunsRequest())
    assert kinds(call, "caught_up")[0] == "resync"
    call.cancel()
    only = {"parent_run": run.id}
    call = runs.WatchRuns(pb.WatchRunsRequest(filter=only))
    assert kinds(call, "caught_up") == ["resync", "caught_up"]
    call.cancel()


def test_a_view_shows_as_much_as_in_a_list(runs: Runs) -> None:
    run = runs.finished("echo", '{"value": 1}', labels={"view": "both"})
    only = {"labels": {"view": "both"}}
    listed = run_pb2.Run()
    for view in (run_pb2.RUN_VIEW_UNSPECIFIED, run_pb2.RUN_VIEW_BASIC, FULL):
        (listed,) = runs.ListRuns(pb.ListRunsRequest(filter=only, view=view)).runs
        call = runs.WatchRuns(pb.WatchRunsRequest(filter=only, view=view))
        (shown,) = [one for message in (next(call), next(call)) for one in message.changes.runs]
        assert shown == listed
        assert shown.HasField("output") == (view == FULL)
        call.cancel()
    assert listed == runs.GetRun(pb.GetRunRequest(run_id=run.id)).run


def test_large_runs_come_in_messages_that_any_client_takes(runs: Runs) -> None:
    for _ in range(4):
        runs.finished("big", labels={"size": "big"})
    call = runs.WatchRuns(pb.WatchRunsRequest(filter={"labels": {"size": "big"}}, view=FULL))
    shown = []
    for message in call:
        assert message.ByteSize() < 3 << 20
        shown += message.changes.runs
        if message.HasField("caught_up"):
            break
    call.cancel()
    assert len(shown) == 4
    assert all(len(run.output.json) > 1_500_000 for run in shown)


def token_of(runs: Runs, **fields: Any) -> str:
    """A token of a complete table."""
    call = runs.WatchRuns(pb.WatchRunsRequest(**fields))
    token = ""
    for message in call:
        token = message.resume_token
        if message.HasField("caught_up"):
            break
    call.cancel()
    return token


def test_a_token_goes_on_whatever_the_view(runs: Runs) -> None:
    token = token_of(runs, filter={"provider": "echo"}, view=FULL)
    run = runs.finished("echo", '{"value": 2}')
    runs.finished("nothing")
    call = runs.WatchRuns(pb.WatchRunsRequest(resume_token=token, filter={"provider": "echo"}))
    messages = [next(call), next(call)]
    call.cancel()
    assert [message.WhichOneof("message") for message in messages] == ["changes", "caught_up"]
    assert [one.id for one in messages[0].changes.runs] == [run.id]


def test_a_token_without_filter_goes_on_with_an_empty_one(runs: Runs) -> None:
    token = token_of(runs)
    call = runs.WatchRuns(pb.WatchRunsRequest(resume_token=token, filter={}))
    assert next(call).WhichOneof("message") == "caught_up"
    call.cancel()


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"resume_token": "nonsense"}, "resume_token"),
        ({"resume_token": "WyJhIl0"}, "resume_token"),
        ({"heartbeat_interval": {"seconds": 1}}, "heartbeat_interval"),
        ({"heartbeat_interval": {"seconds": 61}}, "heartbeat_interval"),
        ({"filter": {"states": [99]}}, "filter.states"),
    ],
)
def test_each_wrong_field_is_named(runs: Runs, fields: dict[str, Any], field: str) -> None:
    with pytest.raises(grpc.RpcError) as error:
        list(runs.WatchRuns(pb.WatchRunsRequest(**fields)))
    code, _, details = refusal(error.value)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert details["BadRequest"].field_violations[0].field == field


def test_a_token_of_another_filter_is_refused(runs: Runs) -> None:
    token = token_of(runs, filter={"provider": "echo"})
    with pytest.raises(grpc.RpcError) as error:
        list(runs.WatchRuns(pb.WatchRunsRequest(resume_token=token, filter={"provider": "nothing"})))
    _, _, details = refusal(error.value)
    assert details["BadRequest"].field_violations[0].field == "resume_token"


def test_an_idle_board_has_heartbeats(runs: Runs) -> None:
    only = {"provider": "unheard_of"}
    call = runs.WatchRuns(pb.WatchRunsRequest(filter=only, heartbeat_interval={"seconds": 5}))
    assert kinds(call, "heartbeat") == ["resync", "caught_up", "heartbeat"]
    call.cancel()


def test_a_draining_server_says_going_away_on_every_board() -> None:
    server = ServerProcess("memory://", [PROVIDERS])
    with server, grpc.insecure_channel(server.address) as channel:
        runs = Runs(stub_of(RunServiceStub, channel))
        messages = []
        for message in runs.WatchRuns(pb.WatchRunsRequest()):
            messages.append(message)
            if message.HasField("caught_up"):
                server.process.terminate()
        assert messages[-1].HasField("going_away")
        assert messages[-1].going_away.reason == messages[-1].going_away.REASON_DRAINING
        assert server.process.wait(20) == 0


async def test_an_old_stream_says_that_it_is_and_where_to_go_on() -> None:
    server = await Server(MemoryRepository(), HandClock()).open()
    try:
        servicer: Any = BoardServicer(server.engine, server.clock.now, age=0.0)
        raw = [message async for message in servicer.WatchRuns(pb.WatchRunsRequest(), None)]
    finally:
        await server.engine.close()
    first, last = pb.WatchRunsResponse.FromString(raw[0]), raw[-1]
    assert len(raw) == 2
    assert first.HasField("resync")
    assert last.going_away.reason == last.going_away.REASON_STREAM_AGE
    assert last.resume_token == first.resume_token
