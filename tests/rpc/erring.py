"""Providers to go wrong with."""

import asyncio

from runcast.provider import provider


@provider
async def lasts() -> None:
    """Run until cancelled; it cannot be paused."""
    await asyncio.sleep(3_600)


@provider(pausable=True)
async def stands() -> None:
    """Run until cancelled; it can be paused, and saves no checkpoint."""
    await asyncio.sleep(3_600)
