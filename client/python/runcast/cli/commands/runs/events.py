"""`runcast runs events`: what happened in a run, as it is stored."""

from typing import TYPE_CHECKING, Annotated

import typer

from runcast.cli.command import command
from runcast.cli.exits import Exit
from runcast.cli.options import RunId
from runcast.cli.output import Column, Format, to_json, write, write_many, write_table
from runcast.cli.records import event_record
from runcast.cli.session import Session

if TYPE_CHECKING:
    from runcast.client import RunEvent

_COLUMNS = (
    Column("sequence", right=True, whole=True),
    Column("time", whole=True, from_width=72),
    Column("attempt", right=True, from_width=90),
    Column("type", whole=True),
    Column("what"),
)
_HEAD = ("type", "sequence", "time", "attempt")


def add(runs: typer.Typer) -> None:
    """Register `events`."""
    command(
        runs,
        "events",
        examples=(
            "runcast runs events RUN --type state_changed --type attempt_finished",
            "runcast runs events RUN -o jsonl | jq 'select(.type == \"log\")'",
        ),
    )(events)


async def events(
    session: Session,
    run: RunId,
    *,
    type: Annotated[
        list[str] | None,
        typer.Option("--type", metavar="TYPE", help="Of this type, such as progress; may be repeated."),
    ] = None,
    since_sequence: Annotated[
        int, typer.Option("--since-sequence", metavar="N", min=0, help="Only what came after this sequence.")
    ] = 0,
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", metavar="N", min=1, help="How many at most; default: all.")
    ] = None,
) -> Exit:
    """List the stored events of a run, oldest first, and come back at once: `watch` and `logs -f` follow it."""
    async with session.client() as client:
        listing = client.events(run, after_sequence=since_sequence, event_types=type or (), limit=limit)
        if session.format is Format.JSONL:
            async for each in listing:
                write(to_json(event_record(each), pretty=False))
            return Exit.SUCCEEDED
        found = [each async for each in listing]
    write_many(
        found,
        session.format,
        session.terminal,
        record=event_record,
        name=lambda each: str(each.sequence),
        table=lambda shown: write_table(_COLUMNS, [_row(each) for each in shown], session.terminal),
    )
    if not found and session.format in (None, Format.TABLE):
        session.tell("no events" + (" that match" if type or since_sequence else " yet"))
    return Exit.SUCCEEDED


def _row(event: "RunEvent") -> tuple[str, ...]:
    told = event_record(event)
    at = told["time"]
    said = told.get(told["type"], {})
    # Where it went to says more than where it came from, and is there first where a screen is narrow.
    shown = {"to_state": said["to_state"], **said} if "to_state" in said else said
    what = " ".join(f"{key}={_short(value)}" for key, value in shown.items())
    return str(event.sequence), f"{at[:10]} {at[11:19]}", str(event.attempt or ""), told["type"], what


def _short(value: object) -> str:
    return value if isinstance(value, str) else to_json(value, pretty=False)
