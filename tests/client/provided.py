"""Providers for the server that the client is tested against."""

from typing import Annotated

from pydantic import Field

from runcast.provider import Context, provider


@provider(idempotent=True)
async def chatter(ctx: Context, lines: Annotated[int, Field(ge=0)], pause: float = 0.002) -> int:
    """Log so many lines, one after the other, and answer their number."""
    for number in range(lines):
        ctx.log.info("line %d", number)
        await ctx.sleep(pause)
    return lines


@provider
async def until_cancelled(ctx: Context) -> None:
    """Work until somebody ends it."""
    ctx.log.info("ready")
    while True:
        await ctx.sleep(60)


@provider
async def broken() -> None:
    """Fail."""
    raise ValueError("it does not work")
