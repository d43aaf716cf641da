"""`runcast runs`: lists and details of runs."""

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runcast.cli import text
from runcast.cli.command import Section, command
from runcast.cli.exits import Exit
from runcast.cli.failures import Refused
from runcast.cli.options import Labels, RunId, labels
from runcast.cli.output import (
    Column,
    Format,
    state_text,
    to_json,
    write,
    write_facts,
    write_json,
    write_jsonl,
    write_table,
)
from runcast.cli.records import enum_name, payload_value, record, run_record
from runcast.cli.session import Session

if TYPE_CHECKING:
    from rich.text import Text

    from runcast.client import Attempt, Run

_COLUMNS = (
    Column("id", whole=True),
    Column("state", whole=True),
    Column("provider"),
    Column("progress", right=True, from_width=80),
    Column("age", right=True, from_width=68),
    Column("duration", right=True, from_width=92),
    Column("summary", from_width=110),
)

_TIMES = {
    "create_time": "accepted",
    "start_time": "started",
    "end_time": "ended",
    "next_attempt_time": "next attempt",
    "expire_time": "kept until",
}


def add(app: typer.Typer) -> None:
    """Register `runs` with `ls` and `show`."""
    runs = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="List runs, and look at one.")
    app.add_typer(runs, name="runs", rich_help_panel=Section.LOOK)
    command(runs, "ls")(ls)
    command(runs, "show")(show)


async def ls(
    session: Session,
    *,
    state: Annotated[
        list[str] | None,
        typer.Option(
            "--state", metavar="STATE", help="In this state; may be repeated or a list (failed,running)."
        ),
    ] = None,
    provider: Annotated[str, typer.Option("--provider", metavar="NAME", help="Of this provider.")] = "",
    label: Labels = None,
    search: Annotated[
        str,
        typer.Option("--search", metavar="TEXT", help="With these words in id, provider, summary or labels."),
    ] = "",
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, help="How many at most.")] = 20,
) -> Exit:
    """List runs, newest first."""
    states = [part.strip() for each in state or () for part in each.split(",") if part.strip()]
    async with session.client() as client:
        listing = client.list(
            states=[_state(each) for each in states],
            provider=provider,
            labels=labels(label),
            text=search,
            limit=limit + 1,
        )
        found = [run async for run in listing]
    runs = found[:limit]
    _write(runs, session)
    if session.format not in (None, Format.TABLE):
        return Exit.SUCCEEDED
    if len(found) > limit:
        session.tell(f"there are more; see them with --limit {limit * 5}")
    elif not runs:
        session.tell("no runs" + (" that match" if states or provider or label or search else " yet"))
    return Exit.SUCCEEDED


def _state(name: str) -> str:
    from runcast.client import state_of

    try:
        state_of(name.replace("-", "_"))
    except ValueError as error:
        raise Refused(f"--state: {str(error).lower()}") from None
    return name.replace("-", "_")


def _write(runs: "Sequence[Run]", session: Session) -> None:
    match session.format:
        case Format.JSON:
            write_json([run_record(run) for run in runs], session.terminal)
        case Format.JSONL:
            write_jsonl(run_record(run) for run in runs)
        case Format.NAME:
            for run in runs:
                write(run.id)
        case _ if runs:
            now = time.time()
            write_table(_COLUMNS, [_row(run, now) for run in runs], session.terminal)


def _row(run: "Run", now: float) -> "list[str | Text]":
    begun, ended = _at(run, "start_time"), _at(run, "end_time")
    created = _at(run, "create_time")
    return [
        run.id,
        state_text(enum_name(run, "state"), short=True),
        run.provider,
        _share(run) if ended is None else "",
        text.age(now - created) if created else "",
        text.duration((ended or now) - begun) if begun else "",
        run.summary or run.error.message,
    ]


def _share(run: "Run") -> str:
    told = run.progress
    if told.HasField("fraction"):
        return f"{told.fraction:.0%}"
    return f"{told.completed / told.total:.0%}" if told.total else ""


def _at(message: Any, field: str) -> float | None:
    """A time in seconds since 1970; None where it is not set."""
    return getattr(message, field).ToNanoseconds() / 1e9 if message.HasField(field) else None


# ---------------------------------------------------------------------------------------------------------------- show
async def show(session: Session, run: RunId) -> Exit:
    """Show one run with its parameters, its result and its attempts."""
    session.only(Format.TABLE, Format.JSON, Format.NAME)
    async with session.client() as client:
        found = await client.get(run)
        attempts = await client.attempts(run)
    if session.format is Format.JSON:
        written = {**run_record(found), "attempts": [record(each) for each in attempts]}
        write_json(written, session.terminal)
    elif session.format is Format.NAME:
        write(found.id)
    else:
        write_facts(_facts(found), session.terminal)
        _write_attempts(attempts, session)
    return Exit.SUCCEEDED


def _facts(run: "Run") -> "Iterator[tuple[str, str | Text]]":
    state = enum_name(run, "state")
    yield "id", run.id
    yield "state", state_text(state)
    yield "provider", run.provider
    for name in ("task", "schedule", "parent_run", "retry_of"):
        if value := getattr(run, name):
            yield name.replace("_", " "), value
    if run.labels:
        yield "labels", ", ".join(f"{key}={value}" for key, value in sorted(run.labels.items()))
    for field, value in run.ListFields():
        if field.name in _TIMES:
            yield _TIMES[field.name], value.ToJsonString()
    begun, ended = _at(run, "start_time"), _at(run, "end_time")
    if begun is not None:
        yield "duration", text.duration((ended or time.time()) - begun)
    if run.progress.ByteSize() and ended is None:
        yield (
            "progress",
            " ".join(each for each in (_share(run), run.progress.stage, run.progress.message) if each),
        )
    yield "parameters", _shown(run.input)
    yield from _outcome(run)


def _outcome(run: "Run") -> Iterator[tuple[str, str]]:
    if run.HasField("output"):
        yield "result", _shown(run.output)
    if run.summary:
        yield "summary", run.summary
    if run.HasField("error"):
        yield "error", run.error.message
    if run.HasField("cancellation"):
        cancelled = run.cancellation
        outcome = text.words(enum_name(cancelled, "outcome"))
        by = text.words(enum_name(cancelled, "initiator"))
        reason = f": {cancelled.reason}" if cancelled.reason else ""
        yield "cancelled", f"by the {by}, {outcome}{reason}"
    if run.failure_count:
        lines = [f"{each.target}: {each.message} {each.code}".rstrip() for each in run.failures[:20]]
        yield "failed", "\n".join([text.plural(run.failure_count, "target"), *lines])
    if run.refs:
        yield "touched", "\n".join(f"{each.type} {each.id} {each.error}".rstrip() for each in run.refs[:20])


def _shown(payload: Any) -> str:
    value = payload_value(payload)
    written = to_json(value, pretty=False)
    return to_json(value, pretty=True) if len(written) > 70 else written


def _write_attempts(attempts: "Sequence[Attempt]", session: Session) -> None:
    if not attempts:
        return
    write("")
    columns = (
        Column("attempt", right=True),
        Column("state", whole=True),
        Column("start"),
        Column("duration", right=True),
        Column("error"),
    )
    write_table(columns, [_attempt_row(each) for each in attempts], session.terminal)
    for each in attempts:
        if each.traceback:
            write(f"\nattempt {each.number}:\n{text.clean(each.traceback).rstrip()}")


def _attempt_row(attempt: "Attempt") -> "list[str | Text]":
    begun, ended = _at(attempt, "start_time"), _at(attempt, "end_time")
    return [
        str(attempt.number),
        state_text(enum_name(attempt, "state")),
        attempt.start_time.ToJsonString()[:19] + "Z" if begun else "",
        text.duration((ended or time.time()) - begun) if begun else "",
        attempt.error.message,
    ]
