"""Runs coroutine providers as tasks of the server's own event loop."""

import asyncio
from collections.abc import Awaitable, Callable

from runcast.provider.reporter import Channel
from runcast.server.executor.attempt import LocalAttempt, LocalExecutor, broken
from runcast.server.executor.boundary import OwnTask
from runcast.server.executor.watchdog import Watchdog
from runcast.server.model.call import Call, End, Sink, Stopped
from runcast.server.model.run import Execution

RunAsync = Callable[[Call, Channel], Awaitable[End]]


class AsyncExecutor(LocalExecutor):
    """One task per attempt. A coroutine that spins blocks its server; one that swallows its cancellation is abandoned."""

    kind = Execution.ASYNC

    def __init__(self, run: RunAsync, slots: int = 256) -> None:
        super().__init__(slots)
        self.run = run
        self._watchdog: Watchdog | None = None

    async def open(self) -> None:
        """Watch whether a coroutine blocks the loop."""
        self._watchdog = Watchdog()

    async def close(self) -> None:
        """Cancel all tasks, and abandon those that go on."""
        await super().close()
        if self._watchdog is not None:
            self._watchdog.close()
        self._watchdog = None

    def attempt(self, call: Call, sink: Sink) -> LocalAttempt:
        """A task, not yet created."""
        return _TaskAttempt(self, self.run, call, sink)


class _Way:
    """From the code straight to the sink, but for questions: those the attempt sees."""

    __slots__ = ("answer", "commit", "drain", "report")

    def __init__(self, attempt: LocalAttempt) -> None:
        sink = attempt.sink
        self.report = sink.report
        self.commit = sink.commit
        self.drain = sink.drain
        self.answer = attempt.answer


class _TaskAttempt(LocalAttempt):
    def __init__(self, executor: AsyncExecutor, run: RunAsync, call: Call, sink: Sink) -> None:
        super().__init__(executor, call, sink)
        self._run = run
        self._task: asyncio.Task[End] | None = None

    def begin(self) -> None:
        self._task = task = OwnTask(self._code(), name=f"run {self.call.run_id}")
        task.run_id = self.call.run_id
        # A task that is cancelled before its first step never enters its coroutine: only a callback sees every end.
        self._task.add_done_callback(self._returned)

    def ask(self, grace: float) -> None:
        # Once: a second cancellation would break the clean-up that the first one began.
        if self._task is not None and not self._task.cancelling():
            self._task.cancel("the attempt was asked to stop")

    def end_now(self) -> None:
        if self._task is not None:
            self._task.cancel("the attempt was killed")

    async def _code(self) -> End:
        try:
            return await self._run(self.call, _Way(self))
        except (
            SystemExit,
            KeyboardInterrupt,
        ) as error:  # a task would hand these on to the loop, and end the server
            return broken(error)

    def _returned(self, task: asyncio.Task[End]) -> None:
        if task.cancelled():
            self.finish(Stopped())
            return
        error = task.exception()
        self.finish(task.result() if error is None else broken(error))
