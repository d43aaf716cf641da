"""A provider that is there at first and not later."""

from runcast.provider import provider


@provider
async def gone() -> None:
    """Do nothing."""
