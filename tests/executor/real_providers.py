"""Providers as their authors write them, each for all executors that can run it."""

import asyncio
import os
import sys
import time
from typing import Literal

from runcast.provider import Context, ProviderError, SyncContext, provider

KINDS: tuple[Literal["async", "thread", "process"], ...] = ("async", "thread", "process")


async def greet(ctx: Context, name: str, times: int = 1) -> list[str]:
    """Greet, with everything that a context offers."""
    print("printed")  # noqa: T201 - that it is captured is what is tested
    ctx.log.info("logged %s", name)
    ctx.progress(1, 2)
    seen = ctx.restored or []
    await ctx.checkpoint([*seen, name])
    ctx.summary(f"greeted {name}")
    return [f"hello {name}"] * times


def greet_plainly(ctx: SyncContext, name: str, times: int = 1) -> list[str]:
    """The same without a loop."""
    print("printed")  # noqa: T201 - that it is captured is what is tested
    ctx.log.info("logged %s", name)
    ctx.progress(1, 2)
    seen = ctx.restored or []
    ctx.checkpoint([*seen, name])
    ctx.summary(f"greeted {name}")
    return [f"hello {name}"] * times


async def wait(ctx: Context) -> None:
    """Wait for ever."""
    ctx.log.info("started")
    try:
        await asyncio.Event().wait()
    finally:
        ctx.log.info("tidied")


def look(ctx: SyncContext) -> None:
    """Look whether to end."""
    ctx.log.info("started")
    try:
        while True:
            ctx.raise_if_cancelled()
            time.sleep(0.001)
    finally:
        ctx.log.info("tidied")


async def refuse(ctx: Context) -> None:
    """Fail with a reason of its own."""
    raise ProviderError("not today", reason="CLOSED", retryable=False)


for kind in KINDS:
    globals()[f"greet_{kind}"] = provider(name=f"greet-{kind}", execution=kind)(greet)
    globals()[f"wait_{kind}"] = provider(name=f"wait-{kind}", execution=kind)(wait)
    globals()[f"refuse_{kind}"] = provider(name=f"refuse-{kind}", execution=kind)(refuse)
for kind in KINDS[1:]:
    globals()[f"plain_{kind}"] = provider(name=f"plain-{kind}", execution=kind)(greet_plainly)
    globals()[f"look_{kind}"] = provider(name=f"look-{kind}", execution=kind)(look)


@provider(execution="process")
async def compute_process(ctx: Context) -> None:
    """A coroutine that never awaits."""
    ctx.log.info("started")
    try:
        while True:
            pass
    finally:
        ctx.log.info("tidied")


@provider
def past_the_capture() -> None:
    """Write where nobody captures, and to what a test of mine may have replaced."""
    os.write(1, b"raw\n")
    sys.stdout.write("captured\n")
    sys.stderr.write("a warning\n")
