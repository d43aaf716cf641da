"""Providers that take as long as they are told to: for watching, cancelling and pausing."""

import time
from typing import Annotated

from pydantic import Field

from runcast.provider import Context, SyncContext, Timeouts, provider

Seconds = Annotated[int, Field(ge=0, le=86_400)]
DAY_AND_A_BIT = Timeouts(attempt=90_000)


@provider(
    title="Count down",
    category="try it",
    icon="⏳",
    tags=["progress", "cancel"],
    checkpointing=True,
    timeouts=DAY_AND_A_BIT,
)
async def countdown(ctx: Context, seconds: Seconds = 10) -> str:
    """Count the seconds down, and tell each; goes on where it was when it is resumed.

    Args:
        seconds: How long it takes.
    """
    done = min(ctx.restored or 0, seconds)
    async for second in ctx.track(range(done, seconds), unit="seconds", initial=done):
        ctx.log.info("%d …", seconds - second)
        await ctx.sleep(1)
        await ctx.checkpoint(second + 1)
    return "lift-off"


@provider(
    title="Keep a processor busy",
    category="try it",
    icon="🔥",
    tags=["cancel", "cpu"],
    idempotent=True,
    timeouts=DAY_AND_A_BIT,
)
def spin(ctx: SyncContext, seconds: Seconds = 10) -> int:
    """Count as fast as one processor can, and look up from it only to tell its progress: cancelling really stops it.

    Args:
        seconds: How long it counts.
    """
    begin = time.monotonic()
    count = 0
    while (passed := time.monotonic() - begin) < seconds:
        for _ in range(100_000):
            count += 1
        ctx.progress(fraction=passed / seconds, unit="counts")
    return count
