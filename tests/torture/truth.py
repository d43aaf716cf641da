"""What is stored in the end: all runs, events and attempts as a server tells them, and the file that they are in."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runcast.server.model.errors import StorageError
from runcast.server.model.run import Page, Run, RunFilter
from runcast.server.repository.file import FileRepository
from runcast.v1 import event_pb2, run_pb2
from tests.torture.clients import Door, pb

Event = event_pb2.RunEvent


@dataclass
class Stored:
    """One run as it is stored; `bodies` holds each event's bytes by sequence."""

    run: run_pb2.Run
    events: list[Event]
    attempts: list[run_pb2.Attempt]
    bodies: dict[int, bytes] = field(init=False)

    def __post_init__(self) -> None:
        self.bodies = {event.sequence: event.SerializeToString(deterministic=True) for event in self.events}

    @property
    def whole(self) -> bytes:
        """The run's bytes."""
        return self.run.SerializeToString(deterministic=True)


Truth = Mapping[str, Stored]


async def ask(door: Door) -> Truth:
    """Everything that the server tells, by run."""
    found: dict[str, Stored] = {}
    token = ""
    while True:
        page = await door.call(
            "ListRuns", pb.ListRunsRequest(page_size=500, page_token=token, view=run_pb2.RUN_VIEW_FULL)
        )
        for listed in page.runs:
            run = (await door.call("GetRun", pb.GetRunRequest(run_id=listed.id))).run
            found[run.id] = Stored(run, await _events(door, run.id), await _attempts(door, run.id))
        token = page.next_page_token
        if not token:
            return found


async def _events(door: Door, run_id: str) -> list[Event]:
    events: list[Event] = []
    token = ""
    while True:
        request = pb.ListRunEventsRequest(run_id=run_id, page_size=1_000, page_token=token)
        page = await door.call("ListRunEvents", request)
        events += page.events
        token = page.next_page_token
        if not token:
            return events


async def _attempts(door: Door, run_id: str) -> list[run_pb2.Attempt]:
    answer: Any = await door.call("ListAttempts", pb.ListAttemptsRequest(run_id=run_id))
    return [*answer.attempts]


_PARTS = ("definitions", "labels", "outcomes", "checkpoints", "journal", "attempts", "refs", "texts")


def flaws_of_sqlite(path: Path) -> list[str]:
    """What is wrong with a SQLite store that no server has open."""
    found: list[str] = []
    with closing(sqlite3.connect(path)) as connection:
        found += [text for (text,) in connection.execute("PRAGMA integrity_check") if text != "ok"]
        found += [str(row) for row in connection.execute("PRAGMA foreign_key_check")]
        for part in _PARTS:
            sql = f"SELECT count(*) FROM {part} WHERE run NOT IN (SELECT key FROM runs)"
            (count,) = connection.execute(sql).fetchone()
            if count:
                found.append(f"{count} rows of {part} belong to no run")
        sql = "SELECT id FROM runs WHERE key NOT IN (SELECT run FROM definitions)"
        found += [f"run {run_id} has no definition" for (run_id,) in connection.execute(sql)]
        sql = "SELECT id FROM runs WHERE state IN (3, 5, 8) AND owner NOT IN (SELECT boot_id FROM leases)"
        found += [f"run {run_id} executes nowhere" for (run_id,) in connection.execute(sql)]
    return found


async def flaws_of_file(path: Path) -> list[str]:
    """What is wrong with a file store that no server has open, and that the last one has closed."""
    beside = sorted(one.name for one in path.parent.glob(f"{path.name}*"))
    found = [] if beside == [path.name, f"{path.name}.lock"] else [f"beside the store there is {beside}"]
    store = FileRepository(path)
    try:
        await store.open()  # which decodes everything, and refuses what it cannot
    except StorageError as error:
        return [*found, f"it does not open: {error}"]
    try:
        for run in await store.list(RunFilter(), Page(1_000_000)):
            found += await _flaws_of(store, run)
    finally:
        await store.close()
    return found


async def _flaws_of(store: FileRepository, run: Run) -> list[str]:
    found = []
    numbers = [event.sequence for event in await store.events(run.id, 0, 1_000_000)]
    if numbers != [*range(1, run.last_sequence + 1)]:
        found.append(f"run {run.id} says that it has {run.last_sequence} events, and has {numbers}")
    if run.state.executing:
        found.append(f"run {run.id} executes nowhere")
    attempts = {one.number for one in await store.attempts(run.id)} | {run.attempt}
    if attempts - {0} != {*range(1, run.attempt + 1)}:
        found.append(f"run {run.id} is at attempt {run.attempt}, and there are {attempts}")
    checkpoint = await store.checkpoint(run.id)
    if (checkpoint.number if checkpoint else 0) != run.checkpoint_number and not run.state.final:
        found.append(f"run {run.id} is at checkpoint {run.checkpoint_number}, and {checkpoint} is there")
    return found
