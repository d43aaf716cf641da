"""`runcast info`: what the server is and can do."""

from typing import TYPE_CHECKING

import typer

from runcast.cli import text
from runcast.cli.command import Section, command
from runcast.cli.exits import Exit
from runcast.cli.output import write_facts, write_one
from runcast.cli.records import enum_name, record
from runcast.cli.session import Session

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_DURABILITY = {
    "PROCESS": "runs live as long as the server's process",
    "SYNCED": "an acknowledged run survives the process and a power cut",
    "COMMIT": "an acknowledged run is committed in the database",
    "AS_CONFIGURED": "as the store is configured",
}


def add(app: typer.Typer) -> None:
    """Register `info`."""
    command(app, "info", section=Section.SERVER)(info)


async def info(session: Session) -> Exit:
    """Show versions, durability, features and limits."""
    session.no_names()
    async with session.client() as client:
        found = await client.server_info()
    write_one(
        found,
        session.format,
        session.terminal,
        record=record,
        name=lambda each: str(each.boot_id),
        details=lambda each: write_facts(_facts(session.server, each), session.terminal),
    )
    return Exit.SUCCEEDED


def _facts(server: str, found: "Any") -> "Iterator[tuple[str, str]]":
    from importlib.metadata import version

    durability = enum_name(found, "durability")
    detail = f" ({found.durability_detail})" if found.durability_detail else ""
    yield "server", server
    yield (
        "version",
        f"{found.server_version}, contract {found.api_version}; this client is {version('runcast')}",
    )
    if found.HasField("start_time") and found.HasField("server_time"):
        up = (found.server_time.ToNanoseconds() - found.start_time.ToNanoseconds()) / 1e9
        yield "up", f"{text.duration(up)}, boot {found.boot_id}"
    yield "storage", found.storage
    yield "durability", f"{text.words(durability)}: {_DURABILITY.get(durability, 'not known')}{detail}"
    yield "features", ", ".join(found.features) or "none"
    yield "calls", _calls(found.methods)
    yield "limits", "\n".join(_limits(found.limits))


def _calls(methods: "Any") -> str:
    """The RPCs by service, without what they all begin with."""
    services: dict[str, list[str]] = {}
    for each in methods:
        service, _, name = each.rpartition("/")
        services.setdefault(service.rpartition(".")[2], []).append(name)
    return "\n".join(f"{service}: {', '.join(names)}" for service, names in services.items())


def _limits(limits: "Any") -> "Iterator[str]":
    for field, value in limits.ListFields():
        name = field.name.removeprefix("max_").replace("_", " ")
        if field.message_type is not None:
            yield f"{name}: {text.duration(value.ToNanoseconds() / 1e9)}"
        elif name.endswith(" bytes"):
            yield f"{name.removesuffix(' bytes')}: {text.size(value)}"
        else:
            yield f"{name}: {value:,}"
