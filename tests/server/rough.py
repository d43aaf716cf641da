"""Providers that do to the event loop what no guest should."""

import asyncio
import sys
from pathlib import Path

from runcast.provider import provider


@provider
async def exits_in_a_task() -> None:
    """Asks the process to end, in a task of its own."""

    async def leave() -> None:
        sys.exit(3)

    await asyncio.create_task(leave())


@provider
async def interrupts_in_a_group() -> None:
    """The same in a group, with a sibling."""

    async def leave() -> None:
        raise KeyboardInterrupt

    async with asyncio.TaskGroup() as group:
        group.create_task(leave())
        group.create_task(asyncio.sleep(60))


@provider
async def exits_unheard() -> str:
    """The same in a task that nobody awaits."""

    async def leave() -> None:
        sys.exit(3)

    task = asyncio.create_task(leave())
    while not task.done():
        await asyncio.sleep(0)
    return "done"


@provider
async def cancels_all() -> None:
    """Cancels all tasks that there are."""
    for task in asyncio.all_tasks():
        task.cancel()
    await asyncio.sleep(60)


@provider
async def waits(path: Path) -> str:
    """Until the file is there, with time limits and cancellations of its own."""
    while not path.exists():
        try:
            async with asyncio.timeout(0.05):
                await asyncio.sleep(60)
        except TimeoutError:
            continue
    inner = asyncio.create_task(asyncio.sleep(60))
    await asyncio.sleep(0)
    inner.cancel()
    await asyncio.wait([inner])
    return "done" if inner.cancelled() else "not cancelled"


@provider
async def spins(path: Path) -> None:
    """Never lets the loop have its turn."""
    path.touch()
    while True:
        pass
