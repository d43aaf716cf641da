"""A run that is held: followed and steered over one stream, which it may depend on."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Literal

from runcast.client.connection import Connection
from runcast.client.errors import FailedPrecondition, error_of
from runcast.client.followed import FollowedRun
from runcast.client.line import Call
from runcast.client.starting import duration
from runcast.client.steering import Steering, cancel_request, paused, resumed
from runcast.v1 import run_pb2, run_service_pb2

Request = run_service_pb2.AttachRunRequest
Response = run_service_pb2.AttachRunResponse
OnDisconnect = Literal["detach", "cancel", "pause"]
"""What happens to a run where nobody is attached to it any more."""


def ownership(
    on_disconnect: OnDisconnect, grace: float | None, attachment_id: str
) -> run_service_pb2.Ownership:
    """The ownership as a message, with an id to come back under."""
    kind = run_service_pb2.Ownership
    policies = {
        "detach": kind.DISCONNECT_POLICY_DETACH,
        "cancel": kind.DISCONNECT_POLICY_CANCEL,
        "pause": kind.DISCONNECT_POLICY_PAUSE,
    }
    if on_disconnect not in policies:
        raise ValueError(f"on_disconnect is {on_disconnect!r}; it can be {', '.join(policies)}")
    return kind(
        policy=policies[on_disconnect],
        grace=duration(grace),
        attachment_id=attachment_id or str(uuid.uuid4()),
    )


class _Command:
    """A command without an answer so far; `repeated` where it was sent again after a break."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.answer: asyncio.Future[run_pb2.Run] = asyncio.get_running_loop().create_future()
        self.repeated = False


class AttachedRun(FollowedRun[Response]):
    """A run while somebody is attached to it; made by `Client.attach`.

    It is entered and iterated like a RunStream, and its commands travel on the same stream; they may be given inside
    of the loop or by another task. Leaving the context without `detach` is a disconnect: the run goes on, or ends as
    was said by `on_disconnect`. A stream that breaks is taken up again as the same attachment, and a command whose
    answer was lost with it is sent again.
    """

    def __init__(
        self,
        connection: Connection,
        first: Request.Open,
        steering: Steering,
        *,
        heartbeat: float | None = None,
    ) -> None:
        super().__init__(connection, heartbeat=heartbeat)
        self._connection = connection
        self._open = first
        self._steering = steering
        self._cursor = first.after_sequence
        self._reading = asyncio.Lock()
        self._taken = 0
        self._outbox: asyncio.Queue[Request | None] = asyncio.Queue()
        self._unanswered: dict[str, _Command] = {}
        self._detaching = self._detached = False

    @property
    def attachment_id(self) -> str:
        """What `Client.attach(attachment_id=…)` needs to come back as the same, also from another program."""
        return self._open.ownership.attachment_id

    # ------------------------------------------------------------------------------------------------------- commands
    async def cancel(
        self, reason: str = "", *, immediate: bool = False, grace: float | None = None
    ) -> run_pb2.Run:
        """Ask for the run's end; see `Client.cancel`. The loop goes on until the run has ended."""
        command = Request.Command(cancel=cancel_request("", reason, immediate=immediate, grace=grace))
        steering = self._steering
        return await self._command(
            command, lambda: steering.cancel(self.id, reason, immediate=immediate, grace=grace)
        )

    async def pause(self, reason: str = "", *, require_checkpoint: bool = False) -> run_pb2.Run:
        """Let the run stand still; see `Client.pause`. The loop goes on, and hears of what follows."""
        pause = run_service_pb2.PauseRunRequest(reason=reason, require_checkpoint=require_checkpoint)
        steering = self._steering
        return await self._command(
            Request.Command(pause=pause),
            lambda: steering.pause(self.id, reason, require_checkpoint=require_checkpoint),
        )

    async def resume(self) -> run_pb2.Run:
        """Let the run go on; see `Client.resume`."""
        command = Request.Command(resume=run_service_pb2.ResumeRunRequest())
        return await self._command(command, lambda: self._steering.resume(self.id))

    async def detach(self) -> None:
        """Give the run up, and return once the server knows: it goes on whatever becomes of this stream. The loop ends
        with the events that have come."""
        self._detaching = True
        self._outbox.put_nowait(Request(detach=Request.Detach()))
        self._outbox.put_nowait(None)
        while not self._ended:
            await self._advance()

    async def _command(
        self, command: Request.Command, otherwise: Callable[[], Awaitable[run_pb2.Run]]
    ) -> run_pb2.Run:
        """Send a command, and read on until its answer; `otherwise` asks where the stream has ended before."""
        command.command_id = str(uuid.uuid4())
        sent = _Command(Request(command=command))
        self._unanswered[command.command_id] = sent
        self._outbox.put_nowait(sent.request)
        try:
            while not sent.answer.done():
                if self._ended:
                    return await otherwise()
                await self._advance()
            return await self._answered(sent)
        finally:
            del self._unanswered[command.command_id]

    async def _answered(self, sent: _Command) -> run_pb2.Run:
        try:
            return sent.answer.result()
        except FailedPrecondition as error:
            error.repeated = sent.repeated
            if sent.request.command.WhichOneof("command") == "pause":
                return await paused(self._connection, self.id, error)
            return await resumed(self._connection, self.id, error)

    # --------------------------------------------------------------------------------------------------------- stream
    @property
    def _ended(self) -> bool:
        return self._final or self._detached

    async def _advance(self) -> None:
        """One reads for all: who waits finds in the next look whether something came for them."""
        taken = self._taken
        async with self._reading:
            if taken == self._taken:
                await super()._advance()

    def _dial(self) -> Call:
        opening = Request.Open()
        opening.CopyFrom(self._open)
        if self.id:
            opening.run_id, opening.after_sequence = self.id, self._cursor
            self.reconnects += 1
        self._outbox = asyncio.Queue()
        self._outbox.put_nowait(Request(open=opening))
        for each in self._unanswered.values():
            each.repeated = bool(self.id)
            self._outbox.put_nowait(each.request)
        if self._detaching:
            self._outbox.put_nowait(Request(detach=Request.Detach()))
            self._outbox.put_nowait(None)
        return self._connection.runs.AttachRun(_sent(self._outbox), metadata=self._connection.metadata)

    def _take(self, response: Response) -> None:
        self._taken += 1
        match response.WhichOneof("message"):
            case "opened":
                opened = response.opened
                self._begin(opened.run)
                self._open.ownership.attachment_id = opened.attachment_id
                self.created = opened.created if self.created is None else self.created
            case "frame":
                self._take_frame(response.frame)
            case "command_result":
                self._line.patience.succeeded()
                self._settle(response.command_result)

    def _settle(self, result: Response.CommandResult) -> None:
        sent = self._unanswered.get(result.command_id)
        if sent is None or sent.answer.done():
            return
        if result.status.code:
            sent.answer.set_exception(error_of(result.status))
            sent.answer.exception()
        else:
            sent.answer.set_result(result.run)

    def _end(self) -> None:
        self._taken += 1
        if self._detaching:
            self._detached = True
        else:
            super()._end()

    def _hung_up(self) -> None:
        super()._hung_up()
        # What feeds a call waits for more to send, and is not told that the call has ended.
        self._outbox.put_nowait(None)

    async def _finish(self) -> None:
        self._outbox.put_nowait(None)
        await super()._finish()


async def _sent(outbox: asyncio.Queue[Request | None]) -> AsyncIterator[Request]:
    """What is sent, until the end is."""
    while (request := await outbox.get()) is not None:
        yield request
