"""Runs plain functions, and coroutines that compute, in processes of their own: they can be killed, and use every core."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Sequence
from functools import partial

import msgspec

from runcast.server.executor import wire
from runcast.server.executor.attempt import INTERNAL, LocalAttempt, LocalExecutor, broken
from runcast.server.executor.connection import Connection
from runcast.server.executor.forkserver import Forkserver
from runcast.server.executor.output import RawOutput
from runcast.server.model.call import Answer, Call, End, Raised, Sink, Stopped
from runcast.server.model.errors import Fenced, RuncastError
from runcast.server.model.event import Severity
from runcast.server.model.run import Error, Execution

_LOADER = "runcast.provider.loading:attempts"
# A process that has told its end, or has let go of its connection, is dead at once or not in order.
_LINGERING = 5


class ProcessExecutor(LocalExecutor):
    """One process per attempt, forked from one that has loaded the providers; its whole tree ends with it."""

    kind = Execution.PROCESS

    def __init__(self, providers: Sequence[str], slots: int | None = None, *, loader: str = _LOADER) -> None:
        super().__init__(slots or len(os.sched_getaffinity(0)))
        self.forkserver = Forkserver(loader, providers)

    async def open(self) -> None:
        """Start the forkserver; ProvidersNotLoaded where it cannot import the providers."""
        await self.forkserver.open()

    async def close(self) -> None:
        """Kill all processes, then end the forkserver."""
        await super().close()
        await self.forkserver.close()

    def attempt(self, call: Call, sink: Sink) -> LocalAttempt:
        """A process, not yet forked."""
        return _ProcessAttempt(self, call, sink)


class _ProcessAttempt(LocalAttempt):
    # SIGKILL cannot be caught, but a process in the kernel's hands dies only when that lets go of it.
    patience = 1.8

    def __init__(self, executor: ProcessExecutor, call: Call, sink: Sink) -> None:
        super().__init__(executor, call, sink)
        self._forkserver = executor.forkserver
        self._number = 0
        self._connection: Connection | None = None
        self._outputs: list[RawOutput] = []
        self._task: asyncio.Task[End] | None = None
        self._gone: asyncio.Future[wire.Gone] | None = None
        self._urgent: asyncio.TimerHandle | None = None
        self._end: End | None = None
        self._refused = False

    def begin(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            gone = self._gone = self._fork()
        except OSError as error:
            loop.call_soon(self.finish, _died(f"no process could be started: {error}"))
            return
        self._task = loop.create_task(self._live(gone), name=f"process of run {self.call.run_id}")
        self._task.add_done_callback(self._returned)

    def ask(self, grace: float) -> None:
        self._say(wire.Stop())
        loop = asyncio.get_running_loop()
        when = loop.time() + grace / 2
        if self._urgent is None or when < self._urgent.when():
            if self._urgent is not None:
                self._urgent.cancel()
            self._urgent = loop.call_at(when, self._say, wire.Stop(urgent=True))

    def end_now(self) -> None:
        self._forkserver.kill(self._number)

    def abandon(self) -> None:
        """Only what still lives is abandoned; of the dead, at most some last reports wait for a sink that takes none."""
        if self._gone is None or not self._gone.done():
            super().abandon()
            return
        self.finish(Stopped(killed=True))
        if self._task is not None:
            self._task.cancel()

    def _fork(self) -> asyncio.Future[wire.Gone]:
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
            their_reading, writing = _pipe(theirs, ours)
            reading, their_writing = _pipe(ours, theirs)
            out, their_out = _pipe(ours, theirs)
            err, their_err = _pipe(ours, theirs)
            os.set_blocking(their_writing, False)
            descriptors = [their_reading, their_writing, their_out, their_err]
            self._number, gone = self._forkserver.fork(descriptors)
            ours.pop_all()
        self._connection = Connection(reading, writing)
        gone.add_done_callback(self._connection.hang_up)
        self._outputs = [
            RawOutput(out, "stdout", Severity.INFO, self.report),
            RawOutput(err, "stderr", Severity.WARNING, self.report),
        ]
        return gone

    def _say(self, message: wire.ToProcess) -> None:
        if self._connection is not None:
            self._connection.tell(message)

    async def _live(self, gone: asyncio.Future[wire.Gone]) -> End:
        """Hear the process out, wait for its death, and judge."""
        try:
            self._say(wire.Begin(self.call))
            trouble = await self._listen()
            if trouble:
                self.end_now()
            lingering = asyncio.get_running_loop().call_later(_LINGERING, self.end_now)
            how = await gone
            lingering.cancel()
            for output in self._outputs:
                await output.rest()
            return self._verdict(how, trouble)
        finally:
            self._close()

    async def _listen(self) -> str:
        """Take what the process tells until it has nothing more to say; what was wrong with it, if anything."""
        messages = wire.from_process()
        assert self._connection is not None
        while self._end is None and (data := await self._connection.read()):
            try:
                heard = messages.feed(data)
            except (msgspec.MsgspecError, ValueError) as error:
                return f"the process sent what cannot be understood: {error}"
            for message in heard:
                await self._take(message)
        return ""

    async def _take(self, message: wire.FromProcess) -> None:
        match message:
            case wire.Told(report):
                error = await self.report(report)
                if isinstance(error, Fenced) and not self._refused:
                    self._refused = True
                    self._say(wire.Refused(error.message))
            case wire.Commit(number, report):
                error = await self.commit(report)
                answer = (
                    wire.Committed(number, error.reason, error.message) if error else wire.Committed(number)
                )
                self._say(answer)
            case wire.Asked(number, question):
                self.inquire(question, partial(self._reply, number))
            case wire.Ended(end):
                self._end = end

    def _reply(self, number: int, answer: Answer | RuncastError) -> None:
        if isinstance(answer, RuncastError):
            self._say(wire.Answered(number, None, answer.reason, answer.message))
        else:
            self._say(wire.Answered(number, answer))

    def _verdict(self, how: wire.Gone, trouble: str) -> End:
        if trouble:
            return Raised(Error(INTERNAL, "PROCESS_PROTOCOL", trouble))
        if self._end is not None:
            return self._end
        if self.asked or self.killed:
            return Stopped(killed=self.killed)
        if how.error:
            return _died(how.error)
        if os.WIFSIGNALED(how.status):
            name = signal.Signals(os.WTERMSIG(how.status)).name
            return _died(f"the provider's process was ended by {name}", signal=name)
        code = os.WEXITSTATUS(how.status)
        return _died(f"the provider's process exited with code {code}", exit_code=str(code))

    def _close(self) -> None:
        if self._urgent is not None:
            self._urgent.cancel()
        for output in self._outputs:
            output.close()
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _returned(self, task: asyncio.Task[End]) -> None:
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is None:
            self.finish(task.result())
        elif self in self.executor.running:
            self.end_now()
            self.finish(broken(error))


def _pipe(reader: contextlib.ExitStack, writer: contextlib.ExitStack) -> tuple[int, int]:
    """A pipe whose ends are closed with the stacks of those who hold them."""
    reading, writing = os.pipe()
    reader.callback(os.close, reading)
    writer.callback(os.close, writing)
    return reading, writing


def _died(message: str, **metadata: str) -> Raised:
    return Raised(Error(INTERNAL, "PROCESS_DIED", message, metadata))
