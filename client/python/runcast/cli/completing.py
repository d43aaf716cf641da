"""What a shell offers behind Tab: ids and names from the server, where it answers at once, else nothing."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from runcast.client import Client

COMPLETING = "_RUNCAST_COMPLETE"
"""Set by the shell that asks what it may offer."""
SHELLS = ("bash", "zsh", "fish")
_PATIENCE = 0.8
_OFFERED = 50


def prepare_shells() -> None:
    """Teach typer how each shell asks."""
    from typer.completion import completion_init  # type: ignore[attr-defined]

    completion_init()


def script(shell: str) -> str:
    """What a shell has to read to offer our words."""
    from typer.completion import get_completion_script  # type: ignore[attr-defined]

    return get_completion_script(prog_name="runcast", complete_var=COMPLETING, shell=shell)


def runs(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Ids of runs that begin so, the newest first, with what they run."""

    async def ask(client: "Client") -> list[tuple[str, str]]:
        listing: AsyncIterator[Any] = client.list(limit=_OFFERED)
        return [(run.id, run.provider) async for run in listing]

    return _beginning(incomplete, _asked(context, ask))


def tasks(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Ids of tasks that begin so."""

    async def ask(client: "Client") -> list[tuple[str, str]]:
        listing = client.tasks.list(limit=_OFFERED)
        return [(task.id, task.display_name or task.provider) async for task in listing]

    return _beginning(incomplete, _asked(context, ask))


def providers(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Names of providers that begin so."""

    async def ask(client: "Client") -> list[tuple[str, str]]:
        return [(each.name, each.title) for each in await client.providers()]

    return _beginning(incomplete, _asked(context, ask))


def _beginning(incomplete: str, offered: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [each for each in offered if each[0].startswith(incomplete)]


def _asked(
    context: typer.Context, ask: "Callable[[Client], Awaitable[list[tuple[str, str]]]]"
) -> list[tuple[str, str]]:
    """What the server answers within a moment; nothing where anything is wrong: a Tab has no place for errors."""
    os.environ["GRPC_VERBOSITY"] = "NONE"
    try:
        import asyncio

        from runcast.cli.configuration import read_settings
        from runcast.client import Client

        typed = {**context.find_root().params, **{k: v for k, v in context.params.items() if v is not None}}
        settings = read_settings({"server": typed.get("server")}, typed.get("profile"))

        async def within() -> list[tuple[str, str]]:
            options = {"token": settings["token"].value, "tls": settings["tls"].value}
            async with (
                asyncio.timeout(_PATIENCE),
                Client(settings["server"].value, timeout=_PATIENCE, patience=0.0, **options) as client,
            ):
                return await ask(client)

        return asyncio.run(within())
    except Exception:  # noqa: BLE001 - see above
        return []
