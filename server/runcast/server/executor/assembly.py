"""The executors of a server, made for the providers that it has loaded."""

from collections.abc import Sequence

from runcast.provider.registry import Registry
from runcast.provider.runner import run_async, run_blocking
from runcast.server.executor.abc import Executor
from runcast.server.executor.on_loop import AsyncExecutor
from runcast.server.executor.process import ProcessExecutor
from runcast.server.executor.thread import ThreadExecutor
from runcast.server.model.run import Execution


def executors(
    registry: Registry,
    providers: Sequence[str],
    *,
    async_slots: int = 256,
    thread_slots: int = 32,
    process_slots: int | None = None,
) -> dict[Execution, Executor]:
    """One of each kind, not opened. `providers` is what `registry` was loaded from: processes load it for themselves.

    For what coroutines and threads print to become lines of their runs, `runcast.provider.capture` is to be installed.
    """
    return {
        Execution.ASYNC: AsyncExecutor(
            lambda call, channel: run_async(registry.get(call.provider), call, channel), async_slots
        ),
        Execution.THREAD: ThreadExecutor(
            lambda call, channel: run_blocking(registry.get(call.provider), call, channel), thread_slots
        ),
        Execution.PROCESS: ProcessExecutor(providers, process_slots),
    }
