"""Providers for the tests of the command line: each does one thing that a person must be told of."""

import asyncio
from pathlib import Path
from typing import Literal

from runcast.provider import Context, ProviderError, Retry, SyncContext, provider


@provider
async def typed(
    *,
    text: str,
    whole: int = 0,
    real: float = 0.0,
    yes: bool = False,
    words: list[str] | None = None,
    numbers: dict[str, int] | None = None,
    colour: Literal["red", "green"] = "red",
    maybe: int | None = None,
) -> dict[str, object]:
    """Give all parameters back.

    Args:
        text: Anything.
        whole: A whole number of any size.
    """
    return {
        "text": text,
        "whole": whole,
        "real": real,
        "yes": yes,
        "words": words,
        "numbers": numbers,
        "colour": colour,
        "maybe": maybe,
    }


@provider
async def fail(message: str = "as asked") -> None:
    """Raise."""
    raise ProviderError(message, reason="AS_ASKED")


@provider(retry=Retry(max_attempts=2, initial_backoff=0.05, jitter=0.0))
async def flaky(ctx: Context) -> str:
    """Fail once."""
    if ctx.attempt == 1:
        raise OSError("not yet")
    return "at last"


@provider
async def partly(ctx: Context, failures: int = 12) -> int:
    """Let targets fail and go on."""
    for number in range(failures):
        ctx.target_failed(f"file-{number}", "NOT_READABLE", "no permission")
    ctx.summary("all but some")
    return 100 - failures


@provider
async def records() -> list[dict[str, object]]:
    """Give a list of records."""
    return [{"name": "Ada", "born": 1815}, {"name": "Grace", "born": 1906, "rank": "admiral"}]


@provider
async def nasty(ctx: Context) -> str:
    """Say what would clear a careless terminal."""
    ctx.log.warning("before \x1b[2J\x1b]0;owned\x07after")
    ctx.summary("sum\x1b[31mmary")
    return "re\x1b[2Jsult\x9b2J \u202ebackwards"


@provider(danger="It deletes everything.")
async def dangerous() -> str:
    """Only say so."""
    return "done"


@provider(expensive=True)
async def expensive() -> str:
    """Only say so."""
    return "done"


@provider
async def until(ctx: Context, path: str) -> str:
    """Tell its progress until a file exists; stops at once when it is asked to."""
    count = 0
    while not Path(path).exists():
        count += 1
        ctx.progress(
            completed=min(count, 900), total=1000, unit="looks", stage="looking", message=f"for {path}"
        )
        await asyncio.sleep(0.02)
    ctx.log.info("there it is")
    return "seen"


@provider
async def slow_to_stop(ctx: Context, path: str) -> str:
    """Begin to stop when it is asked to, and be done with it once a file exists."""
    try:
        ctx.log.info("working")
        await asyncio.sleep(600)
    finally:
        ctx.log.info("cleaning up")
        while not Path(path).exists():
            await asyncio.sleep(0.02)
    return "never"


@provider(timeouts=0.2)
async def too_long() -> None:
    """Take longer than it may."""
    await asyncio.sleep(600)


@provider(execution="process")
def prints(ctx: SyncContext, lines: int = 3) -> int:
    """Print."""
    for number in range(lines):
        print(f"printed {number}")  # noqa: T201 - what this is for
    return lines
