"""`runcast cancel`: ask for the end of runs."""

from typing import TYPE_CHECKING, Annotated, Unpack

import typer

from runcast.cli import text
from runcast.cli.asking import Yes
from runcast.cli.command import Section, command
from runcast.cli.exits import Exit
from runcast.cli.filtering import Filtering
from runcast.cli.options import seconds
from runcast.cli.records import enum_name
from runcast.cli.session import Session
from runcast.cli.several import RunIds, chosen, confirm, each_of
from runcast.cli.showing import write_run, write_runs

if TYPE_CHECKING:
    from runcast.client import Run


def add(app: typer.Typer) -> None:
    """Register `cancel`."""
    command(
        app,
        "cancel",
        section=Section.FOLLOW,
        examples=(
            'runcast cancel RUN --reason "took too long"',
            "runcast cancel --provider pack --state queued --yes",
        ),
    )(cancel)


async def cancel(
    session: Session,
    runs: RunIds = None,
    *,
    now: Annotated[bool, typer.Option("--now", help="Kill its code at once, without a grace.")] = False,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why, for those who look at the run later.")
    ] = "",
    grace: Annotated[
        float | None,
        typer.Option("--grace", metavar="TIME", parser=seconds, help="How long its code may take to stop."),
    ] = None,
    yes: Yes = False,
    **options: Unpack[Filtering],
) -> Exit:
    """Ask for the end of runs, and do not wait for it.

    Safe to repeat: a later request can only make it more urgent. A run that has ended stays as it is. Several at once,
    named or by options, are asked about first.
    """
    async with session.client() as client:
        ids = await chosen(client, runs, options, final=False)
        confirm(ids, "cancel", named=bool(runs), certain=yes)

        async def one(run_id: str) -> "Run":
            return await client.cancel(run_id, reason, immediate=now, grace=grace)

        found, code = await each_of(session, ids, one)
    if runs and len(ids) == 1:
        for each in found:
            write_run(each, session)
    elif session.format is not None:
        write_runs(found, session)
    _tell(found, session)
    if not ids:
        session.tell("no runs that match: nothing to cancel")
    return code


def _tell(found: "list[Run]", session: Session) -> None:
    from runcast.client import is_final

    going = [run.id for run in found if not is_final(run.state)]
    for run in found:
        session.tell(f"{run.id} is {text.words(enum_name(run, 'state'))}")
    if going:
        which = going if len(going) <= 3 else ["RUN..."]
        session.tell(f"wait for the end with:  {session.command('wait', *which)}")
