"""Providers for the tests of the door."""

import asyncio
import os
import signal
import time
from pathlib import Path

from runcast.provider import Cancelled, Context, ProviderError, SyncContext, provider

# Named, so that nothing takes the int for superfluous beside the float.
Exact = int | float | str | list[int] | None


@provider
async def nothing() -> None:
    """Do nothing."""


@provider
async def talk(ctx: Context, lines: int, pause: float = 0.0) -> int:
    """Log many lines."""
    for number in range(lines):
        ctx.log.info("line %d", number)
        if pause:
            await asyncio.sleep(pause)
    return lines


@provider
async def shout(ctx: Context, lines: int, size: int) -> None:
    """Log long lines."""
    for number in range(lines):
        ctx.log.info("%d %s", number, "x" * size)
        await asyncio.sleep(0)


@provider
async def until(ctx: Context, path: str, lines: int = 0) -> str:
    """Run until a file exists."""
    for number in range(lines):
        ctx.log.info("before %d", number)
    while not Path(path).exists():
        await asyncio.sleep(0.01)
    for number in range(lines):
        ctx.log.info("behind %d", number)
    return "seen"


@provider
async def echo(value: Exact = None) -> Exact:
    """Give the parameter back."""
    return value


@provider
async def fail(message: str = "as asked") -> None:
    """Raise."""
    raise ValueError(message)


@provider
async def refuse(code: int) -> None:
    """Fail with a code of one's own."""
    raise ProviderError("not like this", reason="NOT_LIKE_THIS", code=code, subject="this")


@provider
async def partly(ctx: Context) -> int:
    """Come through, but for one target."""
    ctx.progress(2, 2, unit="files")
    ctx.target_failed("b.txt", "NOT_READABLE", "permission denied")
    ctx.summary("1 of 2")
    return 1


@provider(execution="process")
def compute(ctx: SyncContext, path: str) -> None:
    """Compute for ever, after writing the process id to a file."""
    Path(path).write_text(str(os.getpid()))
    while True:
        time.monotonic()


@provider(execution="process")
def stubborn(path: str) -> None:
    """Never stop, whatever is asked."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Path(path).write_text(str(os.getpid()))
    while True:
        time.monotonic()


@provider
async def big() -> str:
    """Give more than a megabyte."""
    return "x" * 1_500_000


@provider
async def deaf(path: str) -> None:
    """Swallow every cancellation."""
    Path(path).write_text(str(os.getpid()))
    while True:
        try:
            await asyncio.sleep(3_600)
        except asyncio.CancelledError:
            continue


@provider(pausable=True, checkpointing=True)
async def steps(ctx: Context, path: str) -> list[int]:
    """Save where it is when it is asked to stop, and end in the first attempt that finds the file."""
    done: list[int] = ctx.restored or []
    ctx.log.info("begun")
    try:
        while not Path(path).exists():
            await asyncio.sleep(0.01)
    except asyncio.CancelledError:
        await ctx.checkpoint([*done, ctx.attempt])
        raise
    return done


@provider(execution="thread", pausable=True, checkpointing=True)
def steps_in_a_thread(ctx: SyncContext, path: str) -> list[int]:
    """The same in a thread."""
    return _steps(ctx, path)


@provider(execution="process", pausable=True, checkpointing=True)
def steps_in_a_process(ctx: SyncContext, path: str) -> list[int]:
    """The same in a process."""
    return _steps(ctx, path)


def _steps(ctx: SyncContext, path: str) -> list[int]:
    done: list[int] = ctx.restored or []
    ctx.log.info("begun")
    try:
        while not Path(path).exists():
            ctx.sleep(0.01)
    except Cancelled:
        ctx.checkpoint([*done, ctx.attempt])
        raise
    return done


@provider(idempotent=True)
async def targeted(ctx: Context, names: list[str]) -> list[str]:
    """Do what is to be done; every target fails but in a retry."""
    for name in () if ctx.targets else names:
        ctx.target_failed(name, "BAD")
    return list(ctx.targets)


@provider(execution="process", idempotent=True)
def targeted_in_a_process(ctx: SyncContext, names: list[str]) -> list[str]:
    """The same in a process."""
    for name in () if ctx.targets else names:
        ctx.target_failed(name, "BAD")
    return list(ctx.targets)


@provider
async def failing_targets(ctx: Context, count: int, size: int) -> None:
    """Fail many targets in many words."""
    for number in range(count):
        ctx.target_failed(f"target {number}", "SO", "x" * size)


@provider(execution="process", idempotent=True)
def squares(ctx: SyncContext, count: int, path: str = "", gate: str = "") -> list[int]:
    """Let a child make each square; the children's ids are written down, a line for each attempt."""
    children = [ctx.start("square", {"number": number, "gate": gate}) for number in range(count)]
    if path:
        with Path(path).open("a") as file:
            file.write(" ".join(child.run_id for child in children) + "\n")
    return [child.output for child in ctx.wait_all(children)]


@provider(execution="process", idempotent=True)
def square(ctx: SyncContext, number: int, gate: str = "") -> int:
    """A number times itself, once the gate is there."""
    while gate and not Path(gate).exists():
        ctx.sleep(0.01)
    return number * number


@provider(execution="process")
async def quickest(ctx: Context, gates: list[str]) -> dict[str, Exact]:
    """Which of the children ended first, from a coroutine in a process."""
    children = [await ctx.start("square", {"number": n, "gate": gate}) for n, gate in enumerate(gates)]
    done = await ctx.wait_any(children)
    return {"place": [child.run_id for child in children].index(done.run_id), "state": done.state}


@provider
async def parent_of_one(ctx: Context, provider: str, survive: bool = False) -> dict[str, str]:
    """How its only child ended."""
    (done,) = await ctx.wait_all([await ctx.start(provider, key="the one", survive=survive)])
    return {"state": done.state, "reason": done.error_reason, "message": done.error_message}
