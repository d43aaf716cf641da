"""What the measured server runs: code that costs nothing itself, so that what is measured is Runcast."""

import asyncio
from collections import defaultdict

from runcast.provider import Context, provider

# Set by `go`, which runs on the same loop: a watched run starts to emit when all its watchers are there.
_gates: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)


@provider
async def noop() -> None:
    """Do nothing."""


@provider
async def events(ctx: Context, count: int, text: str, burst: int = 250) -> None:
    """Log `text` `count` times as fast as it is taken, `burst` at a stretch, once `go` was run for this run."""
    await _opened(ctx)
    info = ctx.log.info
    # To track is what lets a loop that awaits nothing be slowed down by its journal: it waits while much is to be stored.
    async for first in ctx.track(range(0, count, burst)):
        for _ in range(first, min(first + burst, count)):
            info(text)


@provider
async def ticks(ctx: Context, count: int) -> None:
    """Save `count` empty checkpoints, once `go` was run for this run: each is one commit and one event."""
    await _opened(ctx)
    for _ in range(count):
        await ctx.checkpoint(b"")


@provider
async def go(run: str) -> None:
    """Let the run of this id emit its events."""
    _gates[run].set()


async def _opened(ctx: Context) -> None:
    await _gates[ctx.run_id].wait()
    del _gates[ctx.run_id]
