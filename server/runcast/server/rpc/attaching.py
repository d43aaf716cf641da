"""RunService, both directions in one call: a run's frames to the client, and its commands to the run."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from typing import TypeAlias, TypeVar

from runcast.server.engine.control import Control
from runcast.server.engine.engine import Engine
from runcast.server.engine.watching import Watch
from runcast.server.model.errors import InvalidArgument, RuncastError
from runcast.server.model.run import Run
from runcast.server.rpc.control import cancelled, paused, resumed
from runcast.server.rpc.following import followed_start_of, responses
from runcast.server.rpc.frames import attached_bytes
from runcast.server.rpc.handlers import Context
from runcast.server.rpc.messages import fill_run
from runcast.server.rpc.owners import Owner, gone, hung_up, owned, owner_of, started
from runcast.server.rpc.status import status_of
from runcast.v1 import run_service_pb2 as pb

_ID = 128
_LAST_FRAMES = ("completed", "going_away")
_Messages: TypeAlias = AsyncIterator[pb.AttachRunRequest]
_T = TypeVar("_T")
_Item: TypeAlias = pb.AttachRunResponse | bytes | BaseException | None


class AttachServicer:
    """AttachRun."""

    def __init__(self, engine: Engine, now: Callable[[], int]) -> None:
        self._engine = engine
        self._now = now

    async def AttachRun(self, requests: _Messages, context: Context) -> AsyncIterator[object]:  # noqa: N802
        """Open, then stream the run while its commands are done."""
        message = await _first(requests)
        owner = owner_of(message.ownership, "open.ownership.")
        run_id, created = await self._opened(message, owner)
        what = Watch(run_id=run_id, after=message.after_sequence, observe_only=message.observe_only)
        frames = responses(self._engine, self._now, what, pb.AttachRunResponse)
        async with aclosing(frames):
            try:
                snapshot = await anext(frames)
            except asyncio.CancelledError:
                if created:
                    gone(self._engine, run_id, owner)
                raise
            opened = pb.AttachRunResponse()
            opened.opened.attachment_id, opened.opened.created = owner.attachment_id, created
            opened.opened.run.CopyFrom(snapshot.frame.snapshot.run)  # type: ignore[union-attr]  # always comes first
            exchange = Exchange(
                self._engine.control,
                run_id,
                lambda: self._engine.attachments.detach(run_id, owner.attachment_id),
                lambda: hung_up(self._engine, run_id, owner),
            )
            items = _after((opened, snapshot), exchange.items(frames, requests))
            async with aclosing(owned(self._engine, run_id, owner, items)) as stream:
                async for item in stream:
                    yield item

    async def _opened(self, message: pb.AttachRunRequest.Open, owner: Owner) -> tuple[str, bool]:
        """The run, and whether it was made by this."""
        if message.after_sequence < 0:
            expected = f"{message.after_sequence}: 0 for the start, or more"
            raise InvalidArgument.of("open.after_sequence", expected)
        target = message.WhichOneof("target")
        if target == "start":
            begun = await started(self._engine, followed_start_of(message.start, "open.start."), owner)
            return begun.run.id, begun.created
        if not message.run_id:
            raise InvalidArgument.of("open.run_id", "required: the id of a run, or `start`")
        return message.run_id, False


async def _first(requests: _Messages) -> pb.AttachRunRequest.Open:
    async for message in requests:
        if message.HasField("open"):
            return message.open
        break
    raise InvalidArgument.of("open", "required: the first message opens the stream")


async def _after(first: tuple[_T, ...], rest: AsyncGenerator[_T, None]) -> AsyncGenerator[_T, None]:
    async with aclosing(rest):
        for item in first:
            yield item
        async for item in rest:
            yield item


class Exchange:
    """Frames and the results of commands in one stream, neither much ahead of the client's reading.

    `_turn` is held while a command is done, and taken for good by the last frame: so that comes behind the result.
    """

    def __init__(
        self,
        control: Control,
        run_id: str,
        detach: Callable[[], Awaitable[None]],
        hung_up: Callable[[], None],
    ) -> None:
        self._control = control
        self._detach = detach
        self._hung_up = hung_up
        self._run_id = run_id
        self._out: asyncio.Queue[_Item] = asyncio.Queue(maxsize=1)
        self._turn = asyncio.Lock()

    async def items(
        self, frames: AsyncIterator[pb.AttachRunResponse | bytes], requests: _Messages
    ) -> AsyncGenerator[pb.AttachRunResponse | bytes, None]:
        """All that the client gets; ends with the last frame, with `detach`, or raises what is wrong."""
        # Nobody else ends them: gRPC only ends the messages, in the same way for a client that has gone.
        tasks = [
            asyncio.create_task(self._telling(self._send(frames)), name=f"frames of {self._run_id}"),
            asyncio.create_task(self._telling(self._obey(requests)), name=f"commands to {self._run_id}"),
        ]
        try:
            while (item := await self._out.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _telling(self, work: Coroutine[object, object, None]) -> None:
        try:
            await work
        except BaseException as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            await self._out.put(error)

    async def _send(self, frames: AsyncIterator[pb.AttachRunResponse | bytes]) -> None:
        async for frame in frames:
            if isinstance(frame, bytes):
                await self._out.put(attached_bytes(frame))
                continue
            if frame.frame.WhichOneof("frame") in _LAST_FRAMES:
                await self._turn.acquire()
            await self._out.put(frame)
        await self._out.put(None)

    async def _obey(self, requests: _Messages) -> None:
        """Do what comes, one after the other; the stream goes on where nothing more comes."""
        async for message in requests:
            kind = message.WhichOneof("message")
            if kind == "detach":
                await self._detach()
                await self._out.put(None)
                return
            if kind != "command":
                raise InvalidArgument.of(kind or "message", "after `open` come `command` and `detach` only")
            async with self._turn:
                await self._out.put(await self._result(message.command))
        self._hung_up()

    async def _result(self, command: pb.AttachRunRequest.Command) -> pb.AttachRunResponse:
        response = pb.AttachRunResponse()
        result = response.command_result
        result.command_id = command.command_id[:_ID]
        try:
            run = await self._done(command)
        except RuncastError as error:
            result.status.CopyFrom(status_of(error))
        else:
            result.status.SetInParent()
            fill_run(result.run, run)
        return response

    async def _done(self, command: pb.AttachRunRequest.Command) -> Run:
        if not 1 <= len(command.command_id) <= _ID:
            expected = f"{len(command.command_id)} characters; 1 to {_ID}, chosen by you"
            raise InvalidArgument.of("command.command_id", expected)
        kind = command.WhichOneof("command")
        if kind is None:
            raise InvalidArgument.of("command", "required: `cancel`, `pause` or `resume`")
        request = getattr(command, kind)
        if request.run_id not in ("", self._run_id):
            expected = f"{request.run_id[:_ID]!r}: this stream is about run {self._run_id}: leave it empty"
            raise InvalidArgument.of(f"command.{kind}.run_id", expected)
        request.run_id = self._run_id
        if kind == "cancel":
            return await cancelled(self._control, request)
        return await (paused if kind == "pause" else resumed)(self._control, request)
