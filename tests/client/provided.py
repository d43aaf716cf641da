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


@provider(checkpointing=True)
async def counter(ctx: Context, to: int, pause: float = 0.005) -> int:
    """Count, and remember how far it came."""
    at: int = ctx.restored or 0
    while at < to:
        await ctx.sleep(pause)
        at += 1
        await ctx.checkpoint(at)
        ctx.log.info("counted %d", at)
    return at


@provider
async def packer(ctx: Context, orders: int) -> int:
    """Pack orders, of which the second fails; told to work on those that failed, only on these."""
    targets = [f"order-{number}" for number in range(orders)]
    for target in targets:
        if target == "order-1":
            ctx.target_failed(target, "OUT_OF_STOCK", "no socks left")
    return len(targets)
