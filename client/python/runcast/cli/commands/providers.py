"""`runcast providers`: what can be run, and what it takes."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from runcast.cli import text
from runcast.cli.command import Section, command, group
from runcast.cli.completing import providers as complete_providers
from runcast.cli.exits import Exit
from runcast.cli.output import Column, write, write_facts, write_many, write_one, write_table
from runcast.cli.records import enum_name, record
from runcast.cli.schema import Parameter, Parameters
from runcast.cli.session import Session

if TYPE_CHECKING:
    from runcast.client import Provider

_COLUMNS = (
    Column("name", whole=True),
    Column("category", from_width=76),
    Column("title"),
    Column("flags", from_width=92),
)
_FLAGS = ("idempotent", "checkpointing", "pausable", "expensive")


def add(app: typer.Typer) -> None:
    """Register `providers` with `ls` and `show`."""
    providers = group(app, "providers", section=Section.LOOK, help="What can be run, and what it takes.")
    command(providers, "ls", examples=("runcast providers ls --tag shop", "runcast providers ls -o name"))(ls)
    command(providers, "show", examples=("runcast providers show greet",))(show)


async def ls(
    session: Session,
    category: Annotated[str, typer.Option("--category", metavar="NAME", help="Of this category.")] = "",
    tag: Annotated[
        list[str] | None, typer.Option("--tag", metavar="TAG", help="With this tag; may be repeated.")
    ] = None,
    search: Annotated[
        str,
        typer.Option(
            "--search", metavar="TEXT", help="With these words in name, title, description or tags."
        ),
    ] = "",
) -> Exit:
    """List what can be run, by name."""
    async with session.client() as client:
        found = await client.providers(category=category, tags=tag or (), text=search)
    _write(found, session)
    if not found:
        session.tell(
            "no providers that match" if category or tag or search else "this server has no providers"
        )
    return Exit.SUCCEEDED


def _write(found: "Sequence[Provider]", session: Session) -> None:
    write_many(
        found,
        session.format,
        session.terminal,
        record=record,
        name=lambda each: str(each.name),
        table=lambda shown: write_table(_COLUMNS, [_row(each) for each in shown], session.terminal),
    )


def _row(provider: "Provider") -> tuple[str, ...]:
    return provider.name, provider.category, _title(provider), ", ".join(_flags(provider))


def _title(provider: "Provider") -> str:
    first = provider.description.partition("\n")[0]
    return " – ".join(each for each in (provider.title, first) if each)


def _flags(provider: "Provider") -> Iterator[str]:
    if provider.danger:
        yield "dangerous"
    yield from (flag for flag in _FLAGS if getattr(provider, flag))


async def show(
    session: Session,
    name: Annotated[
        str,
        typer.Argument(
            metavar="PROVIDER", help="Its name.", show_default=False, autocompletion=complete_providers
        ),
    ],
) -> Exit:
    """Show one provider and the parameters that it takes."""
    async with session.client() as client:
        found = await client.provider(name)
    write_one(
        found,
        session.format,
        session.terminal,
        record=record,
        name=lambda each: str(each.name),
        details=lambda each: _write_one(each, session),
    )
    return Exit.SUCCEEDED


def _write_one(provider: "Provider", session: Session) -> None:
    write_facts(_facts(provider), session.terminal)
    takes = Parameters(provider.input_schema).described()
    write("\nPARAMETERS" if takes else "\nit takes no parameters")
    for each in takes:
        _write_parameter(each)
    words = [word for each in takes if each.default is None for word in ("-p", f"{each.name}=…")]
    write(f"\nStart it with:  {session.command('run', provider.name)} {' '.join(words)}".rstrip())


def _write_parameter(parameter: Parameter) -> None:
    """`seconds  integer, ≥ 0, default 10` and what it is for below."""
    default = "required" if parameter.default is None else f"default {parameter.default}"
    facts = ", ".join(each for each in (parameter.type, parameter.constraints, default) if each)
    write(f"  {text.line(parameter.name)}  {text.line(facts)}")
    if parameter.description:
        write(f"      {text.line(parameter.description)}")


def _facts(provider: "Provider") -> Iterator[tuple[str, str]]:
    yield "name", provider.name
    if provider.title:
        yield "title", f"{provider.icon} {provider.title}".strip()
    if provider.category:
        yield "category", provider.category
    if provider.tags:
        yield "tags", ", ".join(provider.tags)
    if provider.description:
        yield "what it does", provider.description
    if provider.danger:
        yield "dangerous", provider.danger
    yield "runs as", ", ".join([text.words(enum_name(provider, "execution")), *_flags(provider)])
    timeouts = provider.defaults.timeouts
    if timeouts.HasField("attempt"):
        limit = timeouts.attempt.ToNanoseconds() / 1e9
        yield "attempt", f"may take {text.duration(limit)}" if limit else "may take as long as it needs"
    if provider.output_schema:
        schema = Parameters(provider.output_schema)
        yield "returns", schema.type_of(schema.root)
