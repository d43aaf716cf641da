"""`runcast runs watch`: the runs that match, as they stand and as they change."""

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Unpack

import typer

from runcast.cli.command import command
from runcast.cli.exits import Exit, Left
from runcast.cli.filtering import Filtering, filters
from runcast.cli.output import Format, to_json, write, write_yaml
from runcast.cli.records import run_record
from runcast.cli.session import Session
from runcast.cli.showing import state_line

if TYPE_CHECKING:
    from runcast.client import RpcError, Run, TableStream


def add(runs: typer.Typer) -> None:
    """Register `watch`."""
    command(
        runs,
        "watch",
        examples=(
            "runcast runs watch --state running,queued",
            "runcast runs watch -l team=data -o jsonl | jq -r '.id + \" \" + .state'",
        ),
    )(watch)


async def watch(session: Session, **options: Unpack[Filtering]) -> Exit:
    """Follow all runs that match: a live table on a terminal, a line for each change in a pipe.

    In a pipe, and with -o jsonl, yaml or name, the runs come first as they stand, then each that changes; one that was
    deleted or does not match any more comes as `removed`. Ctrl-C ends it, and touches no run.
    """
    from runcast.cli.follow.board import Board
    from runcast.cli.interrupts import leaving_on_signals

    chosen = filters(options)
    live = session.terminal.live and session.terminal.out_is_terminal
    board = Board(session.terminal) if live and session.format in (None, Format.TABLE) else None
    told = False

    def on_lost(_error: "RpcError", _wait: float) -> None:
        nonlocal told
        if board is not None:
            board.note(f"lost {session.server}; trying again")
        elif not told:
            session.tell(f"lost {session.server}; trying again")
        told = True

    async def follow() -> Exit:
        async with session.client(on_lost) as client, client.watch_runs(**chosen) as stream:
            await (_lines(stream, session) if board is None else board.follow(stream))
        return Exit.SUCCEEDED

    try:
        return await leaving_on_signals(follow(), lambda: False)
    except Left as left:
        return left.code
    finally:
        if board is not None:
            board.end()


async def _lines(stream: "TableStream", session: Session) -> None:
    """Each run once as it stands, then whenever it has changed as far as a line can tell."""
    from runcast.client import RunTable

    table = RunTable()
    written: dict[str, str] = {}
    async for change in stream:
        table.apply(change)
        _tell(change.runs, written, session)
        gone = list(change.removed)
        if change.caught_up:
            gone += [run_id for run_id in written if run_id not in table]
        for run_id in gone:
            if written.pop(run_id, None) is not None:
                _write({"id": run_id, "removed": True}, f"{run_id} removed", session)


def _tell(runs: "Iterable[Run]", written: dict[str, str], session: Session) -> None:
    for run in runs:
        line = state_line(run)
        if session.format is Format.JSONL or written.get(run.id) != line:
            written[run.id] = line
            _write(run_record(run), f"{_now()} {line}", session)


def _write(record: dict[str, object], line: str, session: Session) -> None:
    match session.format:
        case Format.JSON | Format.JSONL:
            write(to_json(record, pretty=False))
        case Format.YAML:
            write("---")
            write_yaml(record)
        case Format.NAME:
            write(str(record["id"]))
        case _:
            write(line)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
