"""One action on several runs: which ones are meant, the question whether it is, and what became of each."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from runcast.cli import text
from runcast.cli.asking import ask
from runcast.cli.completing import runs as complete_runs
from runcast.cli.exits import Exit
from runcast.cli.failures import Refused, report
from runcast.cli.filtering import Filtering, filters, is_filtered
from runcast.cli.session import Session

if TYPE_CHECKING:
    from runcast.client import Client, RuncastError

T = TypeVar("T")
RunIds = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="RUN",
        help="The runs' ids; or say which by options.",
        show_default=False,
        autocompletion=complete_runs,
    ),
]
_AT_ONCE = 16
_NAMED = 3


async def chosen(
    client: "Client", runs: Sequence[str] | None, options: Filtering, *, final: bool
) -> tuple[str, ...]:
    """The runs that are meant: by id, or all that match, of which only those that are `final`, or are not, count."""
    from runcast.client import Run, is_final

    if runs and is_filtered(options):
        raise Refused("name runs, or say by options which: not both")
    if runs:
        return tuple(dict.fromkeys(runs))
    if not is_filtered(options):
        raise Refused("which runs? Name them, or say by options which", remedy="As in:  --state queued")
    wanted = filters(options)
    wanted.setdefault("states", [each for each in Run.State.values() if each and is_final(each) == final])
    found = [run async for run in client.list(**wanted)]
    return tuple(run.id for run in found if is_final(run.state) == final)


def confirm(ids: Sequence[str], verb: str, *, named: bool, certain: bool, noun: str = "run") -> None:
    """Ask before several are touched at once, or whatever was found by options; a single one that was named is meant."""
    if certain or not ids or (named and len(ids) == 1):
        return
    some = ", ".join(text.line(each) for each in ids[:_NAMED]) + (" …" if len(ids) > _NAMED else "")
    ask(f"this will {verb} {text.plural(len(ids), noun)}: {some}", "Go on?", "nothing was changed")


async def each_of(
    session: Session, ids: Sequence[str], act: Callable[[str], Awaitable[T | None]]
) -> tuple[list[T], Exit]:
    """Do it to all, some at a time. One that fails is told and does not stop the others; the first failure is the
    code."""
    import asyncio

    from runcast.client import RuncastError

    room = asyncio.Semaphore(_AT_ONCE)

    async def one(run_id: str) -> "T | RuncastError | None":
        async with room:
            try:
                return await act(run_id)
            except RuncastError as error:
                return error

    outcomes = await asyncio.gather(*map(one, ids))
    code = Exit.SUCCEEDED
    for outcome in outcomes:
        if isinstance(outcome, RuncastError):
            failed = report(outcome, session.server)
            code = code or failed
    return [each for each in outcomes if each is not None and not isinstance(each, RuncastError)], code
