"""Ctrl-C and SIGTERM while something is being followed."""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from runcast.cli.exits import Exit, Left

T = TypeVar("T")


async def leaving_on_signals(work: Coroutine[Any, Any, T], on_interrupt: Callable[[], bool]) -> T:
    """What `work` returns; Left once a signal asked to go.

    Each Ctrl-C asks `on_interrupt` first: where it answers True it has dealt with it, and the work goes on.
    """
    loop = asyncio.get_running_loop()
    left: asyncio.Future[Exit] = loop.create_future()

    def leave(code: Exit) -> None:
        if not left.done():
            left.set_result(code)

    def interrupt() -> None:
        if not on_interrupt():
            leave(Exit.INTERRUPTED)

    loop.add_signal_handler(signal.SIGINT, interrupt)
    loop.add_signal_handler(signal.SIGTERM, leave, Exit.TERMINATED)
    task = asyncio.ensure_future(work)
    try:
        either: list[asyncio.Future[Any]] = [task, left]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise Left(left.result())
    finally:
        task.cancel()
        await asyncio.wait({task})
        loop.remove_signal_handler(signal.SIGTERM)
        loop.remove_signal_handler(signal.SIGINT)
        left.cancel()
