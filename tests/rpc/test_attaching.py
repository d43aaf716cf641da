"""AttachRun over the wire: frames and commands in one stream, whatever the client sends, and however it leaves."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import grpc
import pytest

from runcast.provider.registry import Registry
from runcast.server.__main__ import SystemClock
from runcast.server.engine.engine import Engine
from runcast.server.executor.assembly import executors
from runcast.server.notifier.local import LocalNotifier
from runcast.server.repository.memory import MemoryRepository
from runcast.server.rpc.attaching import Exchange
from runcast.server.rpc.server import Server
from runcast.v1 import run_pb2, run_service_pb2, run_service_pb2_grpc
from tests.rpc import provided
from tests.rpc.calls import PATIENCE, Runs, pb, refusal
from tests.rpc.reflecting import ReflectingClient

Response = run_service_pb2.AttachRunResponse


class Attached:
    """An open stream: `say` sends a message, and what the server says is read one by one."""

    def __init__(self, runs: Runs) -> None:
        self._said: SimpleQueue[Any] = SimpleQueue()
        self.call = runs.stub.AttachRun(iter(self._said.get, None), timeout=PATIENCE)

    def say(self, **message: Any) -> None:
        """Send a message."""
        self._said.put(pb.AttachRunRequest(**message))

    def command(self, command_id: str, **command: Any) -> None:
        """Send a command."""
        self.say(command={"command_id": command_id, **command})

    def half_close(self) -> None:
        """Send nothing more."""
        self._said.put(None)

    def until(self, kind: str) -> list[Response]:
        """What comes up to the first message or frame of this kind."""
        seen: list[Response] = []
        for response in self.call:
            seen.append(response)
            if kind in kinds([response]):
                return seen
        raise AssertionError(f"no {kind} in {kinds(seen)}")

    def result(self) -> Any:
        """The next command's result."""
        return self.until("command_result")[-1].command_result

    def rest(self) -> list[Response]:
        """Everything to the end."""
        return list(self.call)


def kinds(responses: list[Response]) -> list[str]:
    """What each is; of a frame, which."""
    return [
        response.frame.WhichOneof("frame") or "" if response.HasField("frame") else response.WhichOneof("message") or ""
        for response in responses
    ]  # fmt: skip


@contextmanager
def attached(runs: Runs, **opening: Any) -> Iterator[Attached]:
    """A stream that is left at the end, whatever happened."""
    stream = Attached(runs)
    try:
        if opening:
            stream.say(open=opening)
        yield stream
    finally:
        stream.half_close()
        stream.call.cancel()


def waiting(tmp_path: Path, **fields: Any) -> dict[str, Any]:
    """The start of a run that waits for `tmp_path / "gate"`."""
    return {"provider": "steps", "input": {"json": f'{{"path": "{tmp_path / "gate"}"}}'}, **fields}


def test_a_run_that_is_started_and_attached_to_is_streamed_to_its_end(runs: Runs) -> None:
    with attached(runs, start={"provider": "talk", "input": {"json": '{"lines": 700}'}}) as stream:
        seen = stream.rest()
        assert stream.call.code() is grpc.StatusCode.OK
    assert kinds(seen)[:2] == ["opened", "snapshot"]
    assert kinds(seen)[-1] == "completed"
    opened = seen[0].opened
    assert opened.created
    assert opened.attachment_id
    assert opened.run == seen[1].frame.snapshot.run
    events = [event.SerializeToString() for one in seen for event in one.frame.batch.events]
    assert events == runs.events(opened.run.id)
    assert seen[-1].frame.resume_sequence == len(events)
    with attached(
        runs, run_id=opened.run.id, after_sequence=600, ownership={"attachment_id": "me"}
    ) as stream:
        seen = stream.rest()
    assert (seen[0].opened.attachment_id, seen[0].opened.created) == ("me", False)
    assert [event.SerializeToString() for one in seen for event in one.frame.batch.events] == events[600:]


def test_commands_are_answered_in_order_while_frames_flow(runs: Runs, tmp_path: Path) -> None:
    with attached(runs, start=waiting(tmp_path)) as stream:
        run_id = stream.until("caught_up")[0].opened.run.id
        stream.command("a", pause={"reason": "lunch"})
        paused = stream.result()
        assert (paused.command_id, paused.status.code) == ("a", 0)
        assert paused.run.state == run_pb2.Run.STATE_PAUSING
        while runs.GetRun(pb.GetRunRequest(run_id=run_id)).run.state != run_pb2.Run.STATE_PAUSED:
            pass
        stream.command("b", resume={})
        stream.command("c", resume={"run_id": run_id})
        resumed, refused = stream.result(), stream.result()
        assert (resumed.command_id, resumed.run.state) == ("b", run_pb2.Run.STATE_QUEUED)
        assert (refused.command_id, refused.status.code) == (
            "c",
            grpc.StatusCode.FAILED_PRECONDITION.value[0],
        )
        stream.command("e", cancel={"mode": 2})
        seen = stream.rest()
        assert stream.call.code() is grpc.StatusCode.OK
    assert "command_result" in kinds(seen)
    assert kinds(seen)[-1] == "completed"
    assert seen[-1].frame.completed.run.state == run_pb2.Run.STATE_CANCELLED


def test_the_result_of_a_command_that_ends_the_run_comes_before_the_last_frame(runs: Runs) -> None:
    for _ in range(30):
        with attached(
            runs, start={"provider": "nothing", "start_after": {"seconds": 4_000_000_000}}
        ) as stream:
            stream.command("end", cancel={"reason": "enough"})
            seen = kinds(stream.rest())
        assert seen.count("command_result") == 1
        assert seen[-1] == "completed"


@pytest.mark.parametrize(
    ("command", "code", "field"),
    [
        ({"command_id": "", "pause": {}}, 3, "command.command_id"),
        ({"command_id": "x" * 129, "pause": {}}, 3, "command.command_id"),
        ({"command_id": "a"}, 3, "command"),
        ({"command_id": "a", "pause": {"run_id": "other"}}, 3, "command.pause.run_id"),
        ({"command_id": "a", "cancel": {"reason": "x" * 1_025}}, 3, "reason"),
        ({"command_id": "a", "resume": {}}, 9, ""),
        ({"command_id": "a", "pause": {"require_checkpoint": True}}, 9, ""),
    ],
)
def test_a_command_that_fails_is_answered_with_its_status_and_the_stream_goes_on(
    runs: Runs, tmp_path: Path, command: dict[str, Any], code: int, field: str
) -> None:
    with attached(runs, start=waiting(tmp_path)) as stream:
        stream.until("caught_up")
        stream.say(command=command)
        result = stream.result()
        assert (result.command_id, result.status.code) == (command["command_id"][:128], code)
        assert result.status.message.startswith(f"{field}:" if field else "")
        assert not result.HasField("run")
        assert result.status.details
        (tmp_path / "gate").touch()
        assert kinds(stream.rest())[-1] == "completed"


@pytest.mark.parametrize(
    ("messages", "status", "reason"),
    [
        ([], "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
        ([{}], "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
        ([{"detach": {}}], "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
        ([{"command": {"command_id": "a", "pause": {}}}], "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
        ([{"open": {}}], "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
        ([{"open": {"run_id": "RUN", "after_sequence": -1}}], "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
        ([{"open": {"run_id": "RUN"}}, {"open": {"run_id": "RUN"}}], "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
        ([{"open": {"run_id": "RUN"}}, {}], "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
        ([{"open": {"run_id": "nobody"}}], "NOT_FOUND", "RUN_NOT_FOUND"),
        ([{"open": {"run_id": "RUN", "after_sequence": 999}}], "OUT_OF_RANGE", "SEQUENCE_AHEAD"),
        ([{"open": {"run_id": "RUN", "ownership": {"attachment_id": "x" * 129}}}], "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
        ([{"open": {"start": {"provider": "nobody"}}}], "NOT_FOUND", "PROVIDER_NOT_FOUND"),
        ([{"open": {"start": {"provider": "nothing", "wait": {"seconds": 1}}}}], "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
        ([{"open": {"start": {"provider": "echo", "labels": {"": "x"}}}}], "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
    ],
)  # fmt: skip
def test_a_stream_that_is_opened_wrongly_ends_with_a_status(
    runs: Runs, messages: list[dict[str, Any]], status: str, reason: str
) -> None:
    run = runs.start("nothing", start_after={"seconds": 4_000_000_000})
    for message in messages:
        if message.get("open", {}).get("run_id") == "RUN":
            message["open"] = {**message["open"], "run_id": run.id}
    with attached(runs) as stream:
        for message in messages:
            stream.say(**message)
        stream.half_close()
        with pytest.raises(grpc.RpcError) as error:
            stream.rest()
    code, why, _ = refusal(error.value)
    assert (code.name, why) == (status, reason)


def test_bytes_that_are_no_message_end_the_stream_also_behind_the_first(
    runs: Runs, grpc_channel: grpc.Channel
) -> None:
    run = runs.start("nothing", start_after={"seconds": 4_000_000_000})
    attach: Any = grpc_channel.stream_stream("/runcast.v1.RunService/AttachRun")
    opening = pb.AttachRunRequest(open={"run_id": run.id}).SerializeToString()
    for messages in ([b"\xff\xff"], [opening, b"\xff\xff"]):
        with pytest.raises(grpc.RpcError) as error:
            list(attach(iter(messages), timeout=PATIENCE))
        assert refusal(error.value)[:2] == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT")


def test_detaching_ends_the_stream_and_leaves_the_run(runs: Runs, tmp_path: Path) -> None:
    with attached(runs, start=waiting(tmp_path)) as stream:
        run_id = stream.until("caught_up")[0].opened.run.id
        stream.command("a", pause={"require_checkpoint": True})
        stream.say(detach={})
        assert "command_result" in kinds(stream.rest())
        assert stream.call.code() is grpc.StatusCode.OK
    (tmp_path / "gate").touch()
    assert runs.wait(run_id).state == run_pb2.Run.STATE_SUCCEEDED


def test_a_client_that_says_no_more_still_hears_all(runs: Runs, tmp_path: Path) -> None:
    with attached(runs, start=waiting(tmp_path)) as stream:
        stream.until("caught_up")
        stream.half_close()
        (tmp_path / "gate").touch()
        assert kinds(stream.rest())[-1] == "completed"
        assert stream.call.code() is grpc.StatusCode.OK


def test_a_stream_that_is_cut_leaves_the_run_and_is_continued_with_every_event_once(runs: Runs) -> None:
    seen: list[int] = []
    opening: dict[str, Any] = {
        "start": {
            "provider": "talk",
            "input": {"json": '{"lines": 200, "pause": 0.002}'},
            "request_id": "cut",
        }
    }
    cursor, created, completed = 0, [], False
    while not completed:
        with attached(runs, after_sequence=cursor, **opening) as stream:
            for number, response in enumerate(stream.call):
                if response.HasField("opened"):
                    created.append(response.opened.created)
                    continue
                seen += [event.sequence for event in response.frame.batch.events]
                cursor = response.frame.resume_sequence
                completed = response.frame.HasField("completed")
                if number == 5:
                    break
    assert seen == list(range(1, cursor + 1))
    assert created == [True] + [False] * (len(created) - 1)
    assert len(created) > 1


def test_many_commands_at_once_are_all_answered_in_order(runs: Runs, tmp_path: Path) -> None:
    with attached(runs, start=waiting(tmp_path)) as stream:
        for number in range(500):
            stream.command(str(number), pause={"require_checkpoint": True})
        results = [stream.result().command_id for _ in range(500)]
        assert results == [str(number) for number in range(500)]


def test_somebody_who_knows_only_reflection_attaches(runs: Runs, grpc_channel: grpc.Channel) -> None:
    stranger = ReflectingClient(grpc_channel, "v1")
    answers = stranger.call("runcast.v1.RunService/AttachRun", '{"open": {"start": {"provider": "nothing"}}}')
    assert "opened" in answers[0]
    assert "completed" in answers[-1]["frame"]


# In this process, to see what is left behind.


@pytest.fixture
async def stub() -> AsyncIterator[Any]:
    """RunService of a server whose tasks are this loop's."""
    registry, clock = Registry(), SystemClock()
    registry.add(provided.steps)
    engine = Engine(MemoryRepository(), LocalNotifier(), executors(registry, []), registry, clock)
    await engine.open()
    server = Server(engine, clock.now)
    port = await server.start("127.0.0.1:0")
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield run_service_pb2_grpc.RunServiceStub(channel)
    await server.stop()
    await engine.close()


def ours() -> set[str]:
    """The tasks of attached streams."""
    names = {task.get_name() for task in asyncio.all_tasks()}
    return {name for name in names if name.startswith(("frames of", "commands to"))}


@pytest.mark.parametrize("leave", ["cancel", "half-close and cancel", "detach", "wrong message"])
async def test_a_client_that_leaves_leaves_nothing_behind(stub: Any, tmp_path: Path, leave: str) -> None:
    call = stub.AttachRun(timeout=PATIENCE)
    await call.write(pb.AttachRunRequest(open={"start": waiting(tmp_path)}))
    opened = await call.read()
    while not (await call.read()).frame.HasField("caught_up"):
        pass
    assert len(ours()) == 2
    if leave == "detach":
        await call.write(pb.AttachRunRequest(detach={}))
    elif leave == "wrong message":
        await call.write(pb.AttachRunRequest(open={"run_id": opened.opened.run.id}))
    else:
        if leave != "cancel":
            await call.done_writing()
        call.cancel()
    async with asyncio.timeout(PATIENCE):
        while ours():
            await asyncio.sleep(0.001)
    run = (await stub.GetRun(pb.GetRunRequest(run_id=opened.opened.run.id))).run
    assert run.state == run_pb2.Run.STATE_RUNNING


async def test_commands_of_a_client_that_does_not_read_are_left_with_grpc() -> None:
    read: list[int] = []

    async def requests() -> AsyncIterator[run_service_pb2.AttachRunRequest]:
        for number in range(1_000):
            read.append(number)
            yield pb.AttachRunRequest(command={"command_id": str(number)})

    async def frames() -> AsyncIterator[Response | bytes]:
        await asyncio.Event().wait()
        yield b""

    nothing: Any = None  # the commands ask for nothing
    async with aclosing(Exchange(nothing, "run", nothing, nothing).items(frames(), requests())) as items:
        await anext(items)
        for _ in range(100):
            await asyncio.sleep(0)
        assert len(read) <= 4
        assert len(ours()) == 2
    assert ours() == set()
