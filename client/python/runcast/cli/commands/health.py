"""`runcast health`: whether the server takes calls."""

import typer

from runcast.cli.command import Section, command
from runcast.cli.exits import Exit
from runcast.cli.failures import complain, report
from runcast.cli.output import write, write_one
from runcast.cli.session import Session

PATIENCE = 5.0
"""Seconds that the server has for its answer, unless --timeout says otherwise."""


def add(app: typer.Typer) -> None:
    """Register `health`."""
    command(app, "health", section=Section.SERVER)(health)


async def health(session: Session) -> Exit:
    """Ask whether the server takes calls.

    Exits with 0 if it does, else with 69. Made for a container's HEALTHCHECK: it waits 5 s at most, or --timeout.
    """
    import asyncio

    from runcast.client import RpcError

    session.no_names()
    try:
        async with asyncio.timeout(session.timeout or PATIENCE), session.client() as client:
            status = await client.health()
    except (RpcError, TimeoutError) as error:
        if isinstance(error, RpcError):
            report(error, session.server)
        else:
            complain(f"{session.server} did not answer in time")
        return Exit.UNAVAILABLE
    write_one(
        {"server": session.server, "status": status},
        session.format,
        session.terminal,
        record=dict,
        name=lambda each: each["server"],
        details=lambda each: None if session.quiet else write(each["status"].lower().replace("_", " ")),
    )
    if status != "SERVING":
        complain(f"{session.server} takes no calls now: {status}")
        return Exit.UNAVAILABLE
    return Exit.SUCCEEDED
