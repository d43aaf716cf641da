"""`runcast retry`: start again what has ended."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runcast.cli import parameters
from runcast.cli.asking import Yes
from runcast.cli.command import Section, command
from runcast.cli.exits import Exit
from runcast.cli.options import Param, Params, ProgressOption, RequestId, RunId
from runcast.cli.output import Format
from runcast.cli.session import Session
from runcast.cli.showing import write_run
from runcast.cli.starting import confirm

if TYPE_CHECKING:
    from runcast.client import Client, Run


def add(app: typer.Typer) -> None:
    """Register `retry`."""
    command(
        app,
        "retry",
        section=Section.START,
        examples=(
            "runcast retry RUN --failed-only --follow",
            "runcast retry RUN -p orders=10",
            "runcast retry RUN --from-checkpoint",
        ),
    )(retry)


async def retry(
    session: Session,
    run: RunId,
    *,
    from_checkpoint: Annotated[
        bool, typer.Option("--from-checkpoint", help="Go on from its newest checkpoint, not from the start.")
    ] = False,
    failed_only: Annotated[
        bool, typer.Option("--failed-only", help="Work on the targets that failed in it only.")
    ] = False,
    param: Param = None,
    params: Params = None,
    request_id: RequestId = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Follow the new run to its end, as `run` does.")
    ] = False,
    progress: ProgressOption = None,
    yes: Yes = False,
) -> Exit:
    """Start a new run from one that has ended, and leave it; prints its id.

    It has the same provider, policies and labels, and the same parameters: -p changes single ones of them, --params
    all. With --follow it is followed as by `run`, and exits as that does.
    """
    async with session.client() as client:
        old = await client.get(run)
        chosen = await _ready(session, client, old, param, params, certain=yes)
        new = await client.retry(
            run,
            from_checkpoint=from_checkpoint,
            failed_targets_only=failed_only,
            parameters=chosen,
            request_id=request_id or "",
        )
    if follow:
        from runcast.cli.follow.loop import Follower

        return await Follower(session, progress, owned=True).follow(lambda client: client.watch(new.id))
    session.format = session.format or Format.NAME
    write_run(new, session)
    session.tell(f"come back to it with:  {session.command('watch', new.id)}")
    return Exit.SUCCEEDED


async def _ready(
    session: Session,
    client: "Client",
    old: "Run",
    param: list[str] | None,
    params: str | None,
    *,
    certain: bool,
) -> dict[str, Any] | None:
    """The parameters in place of the old ones, None for those; asks before what is dangerous."""
    if certain and not param and params is None:
        return None
    session.remedy = f"See what it takes:  {session.command('providers', 'show', old.provider)}"
    provider = await client.provider(old.provider)
    if not certain:
        confirm(provider)
    if not param and params is None:
        return None
    given = parameters.parse(param or (), params, provider.input_schema)
    before = json.loads(old.input.json) if params is None and old.input.json else {}
    return {**before, **given}
