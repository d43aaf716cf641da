"""Providers of the storms: every line they tell holds a nonce, so that no two of them look alike."""

import asyncio
import os
import uuid
from typing import TypedDict

from runcast.provider import Context, SyncContext, provider


class Place(TypedDict):
    """Where to go on: how many steps are done, and the nonce that was told with the last of them."""

    step: int
    nonce: str


class Done(TypedDict):
    """The result; its nonce was told in the last line."""

    steps: int
    nonce: str


def tell(ctx: Context | SyncContext, what: str, step: int, nonce: str = "") -> str:
    """One line; answers its nonce."""
    nonce = nonce or uuid.uuid4().hex
    told = {"step": str(step), "nonce": nonce, "attempt": str(ctx.attempt), "process": str(os.getpid())}
    ctx.log.info(what, **told)
    return nonce


async def walk(ctx: Context, steps: int, every: int, pause: float) -> Done:
    """Do the steps, saving after each `every` of them, if that is not 0."""
    begun = ctx.restore(Place) or Place(step=0, nonce="none")
    tell(ctx, "from", begun["step"], begun["nonce"])
    for step in range(begun["step"] + 1, steps + 1):
        nonce = tell(ctx, "step", step)
        if every and step % every == 0:
            tell(ctx, "saving", step, nonce)
            await ctx.checkpoint({"step": step, "nonce": nonce})
        await asyncio.sleep(pause)
    return {"steps": steps, "nonce": tell(ctx, "done", steps)}


def walk_blocking(ctx: SyncContext, steps: int, every: int, pause: float) -> Done:
    """The same where it blocks."""
    begun = ctx.restore(Place) or Place(step=0, nonce="none")
    tell(ctx, "from", begun["step"], begun["nonce"])
    for step in range(begun["step"] + 1, steps + 1):
        nonce = tell(ctx, "step", step)
        if every and step % every == 0:
            tell(ctx, "saving", step, nonce)
            ctx.checkpoint({"step": step, "nonce": nonce})
        ctx.sleep(pause)
    return {"steps": steps, "nonce": tell(ctx, "done", steps)}


@provider(idempotent=True)
async def again(ctx: Context, steps: int, pause: float) -> Done:
    """Begins anew with each attempt."""
    return await walk(ctx, steps, 0, pause)


@provider(checkpointing=True)
async def climb(ctx: Context, steps: int, pause: float) -> Done:
    """Goes on from its checkpoint."""
    return await walk(ctx, steps, 3, pause)


@provider(checkpointing=True, execution="thread")
def climb_in_thread(ctx: SyncContext, steps: int, pause: float) -> Done:
    """The same in a thread."""
    return walk_blocking(ctx, steps, 3, pause)


@provider(checkpointing=True, execution="process")
def climb_in_process(ctx: SyncContext, steps: int, pause: float) -> Done:
    """The same in a process."""
    return walk_blocking(ctx, steps, 3, pause)


@provider(recovery="hold")
async def hold(ctx: Context, steps: int, pause: float) -> Done:
    """Waits for a person when its server is lost."""
    return await walk(ctx, steps, 0, pause)


@provider(recovery="fail", execution="thread")
def fail(ctx: SyncContext, steps: int, pause: float) -> Done:
    """Has failed when its server is lost."""
    return walk_blocking(ctx, steps, 0, pause)


@provider(idempotent=True, recovery="resume_on_watch")
async def watched(ctx: Context, steps: int, pause: float) -> Done:
    """Waits for somebody to look at it when its server is lost."""
    return await walk(ctx, steps, 0, pause)
