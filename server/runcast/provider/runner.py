"""Runs one attempt of a provider, and says how it ended: what executors call, on the loop, in a thread, in a process."""

import asyncio
import contextlib
import threading
from typing import Any

from runcast.provider.capture import own
from runcast.provider.context import Context, SyncContext
from runcast.provider.definition import Provider
from runcast.provider.errors import Cancelled
from runcast.provider.failure import failed
from runcast.provider.reporter import (
    GLANCE,
    BlockingChannel,
    BlockingReporter,
    Channel,
    LoopReporter,
    current,
)
from runcast.server.model.call import Answer, Call, End, Question, Returned, Stopped
from runcast.server.model.event import Report

AnyProvider = Provider[..., Any]


async def run_async(provider: AnyProvider, call: Call, channel: Channel) -> End:
    """Run a coroutine provider in this task: Returned or Raised; Stopped once its attempt is over for the channel.

    A cancellation of the task passes through. What waits to be told is told before this returns.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    return await _run(provider, call, LoopReporter(call, channel, loop=loop, task=task))


def run_blocking(provider: AnyProvider, call: Call, channel: BlockingChannel) -> End:
    """Run a plain function, or a coroutine in a loop of its own: Returned, Raised, or Stopped if it was cancelled."""
    if provider.coroutine:
        return _run_on_own_loop(provider, call, channel)
    reporter = BlockingReporter(call, channel)
    token = current.set(reporter)
    own(reporter)
    try:
        arguments = provider.parameters.parse(call.input)
        context = SyncContext(reporter) if provider.context else None
        return Returned(provider.result.text(provider.invoke(context, arguments)))
    except Cancelled:
        return Stopped()
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is the run's end
        return failed(error)
    finally:
        reporter.close()
        own(None)
        current.reset(token)


async def _run(provider: AnyProvider, call: Call, reporter: LoopReporter) -> End:
    token = current.set(reporter)
    try:
        arguments = provider.parameters.parse(call.input)
        context = Context(reporter) if provider.context else None
        return Returned(provider.result.text(await provider.invoke(context, arguments)))
    except Cancelled:
        return Stopped()
    except (asyncio.CancelledError, GeneratorExit):
        raise  # not the provider's own, but its task's end
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is the run's end
        return failed(error)
    finally:
        reporter.close()
        current.reset(token)


def _run_on_own_loop(provider: AnyProvider, call: Call, channel: BlockingChannel) -> End:
    try:
        with asyncio.Runner() as runner:
            return runner.run(_watched(provider, call, channel))
    except (Cancelled, asyncio.CancelledError):
        return Stopped()


async def _watched(provider: AnyProvider, call: Call, channel: BlockingChannel) -> End:
    """The provider's coroutine, cancelled when the channel says so."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    reporter = LoopReporter(call, _Bridge(channel), loop=loop, task=task, asked=channel.cancelled)

    def look() -> None:
        if channel.cancelled() and task is not None:
            LoopReporter.cancel(task)
        elif not reporter.over:
            loop.call_later(GLANCE, look)

    look()
    own(reporter)
    try:
        return await _run(provider, call, reporter)
    finally:
        own(None)


class _Bridge:
    """A blocking channel for a coroutine that has its loop to itself: nobody else waits while it blocks."""

    def __init__(self, channel: BlockingChannel) -> None:
        self.report = channel.report
        self._commit = channel.commit
        self._answer = channel.answer

    async def commit(self, report: Report) -> None:
        self._commit(report)

    async def drain(self) -> None:
        return

    async def answer(self, question: Question) -> Answer:
        """In a thread: this may take as long as a child does, and the coroutine's other tasks go on."""
        loop = asyncio.get_running_loop()
        told: asyncio.Future[Answer] = loop.create_future()

        def wait() -> None:
            outcome: Answer | Exception
            try:
                outcome = self._answer(question)
            except Exception as error:  # noqa: BLE001 - it is raised where the answer is awaited
                outcome = error
            with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody waits
                loop.call_soon_threadsafe(_tell, told, outcome)

        # A daemon: whoever gave up waiting must be able to end.
        threading.Thread(target=wait, name="waits for an answer", daemon=True).start()
        return await told


def _tell(told: "asyncio.Future[Answer]", outcome: Answer | Exception) -> None:
    if told.done():
        return
    if isinstance(outcome, Exception):
        told.set_exception(outcome)
    else:
        told.set_result(outcome)
