"""What is stored in the end: all runs, events and attempts as a server tells them, and the file that they are in."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
