"""Runs on stdout: as rows of a table, as facts, and in every format."""

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from runcast.cli import text
from runcast.cli.output import (
    Column,
    state_text,
    to_json,
    write,
    write_facts,
    write_many,
    write_one,
    write_table,
)
from runcast.cli.records import enum_name, payload_value, record, run_record
from runcast.cli.session import Session

if TYPE_CHECKING:
    from rich.text import Text

    from runcast.client import Attempt, Run

COLUMNS = (
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


def write_runs(runs: "Sequence[Run]", session: Session) -> None:
    """Runs in the format that was asked for; without one, as a table."""
    write_many(
        runs,
        session.format,
        session.terminal,
        record=run_record,
        name=lambda run: str(run.id),
        table=lambda shown: write_table_of(shown, session),
    )


def write_run(run: "Run", session: Session) -> None:
    """A run on which a command acted, where a format was asked for: its lines on stderr say enough for a person."""
    if session.format is not None:
        write_one(
            run,
            session.format,
            session.terminal,
            record=run_record,
            name=lambda run: str(run.id),
            details=lambda run: write_table_of([run], session),
        )


def write_table_of(runs: "Sequence[Run]", session: Session) -> None:
    """Runs as a table."""
    now = time.time()
    write_table(COLUMNS, [row(run, now) for run in runs], session.terminal)


def state_line(run: "Run") -> str:
    """How a run stands, in one line: `run_… running pack 40%`."""
    words = (
        run.id,
        text.words(enum_name(run, "state")),
        run.provider,
        _share(run) if not run.HasField("end_time") else "",
        text.line(run.summary or run.error.message),
    )
    return " ".join(each for each in words if each)


def write_details(run: "Run", attempts: "Sequence[Attempt]", session: Session) -> None:
    """A run with its attempts, in the format that was asked for."""
    write_one(
        run,
        session.format,
        session.terminal,
        record=lambda run: {**run_record(run), "attempts": [record(each) for each in attempts]},
        name=lambda run: str(run.id),
        details=lambda run: _write_facts(run, attempts, session),
    )


def _write_facts(run: "Run", attempts: "Sequence[Attempt]", session: Session) -> None:
    write_facts(_facts(run), session.terminal)
    _write_attempts(attempts, session)


def row(run: "Run", now: float) -> "list[str | Text]":
    """A run as a row of COLUMNS."""
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
