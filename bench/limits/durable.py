"""The least that durable runs cost: each is stored, then stored as finished, and only then answered.

Server: grpc.aio on uvloop, one process. It speaks two methods of the contract, StartRun and BatchStartRuns, with the messages
that Runcast speaks, so that the wire and the client's work are the same; a run's id is text and ordered by time. There is no
engine: no provider is called, nothing is validated, decided, journalled, authorised or shown to a watcher.
Storage: SQLite, WAL, `synchronous=FULL`, the table below: an integer key, the id (unique, for a run must be found again), a
state, `ROW` bytes that stand for the row of a run, `RESULT` bytes that stand for its result. One writer thread. Two commits
a run: it is durable as started before it is finished, as Runcast's claim is before a provider runs. Group commit: while one
commit is on its way, the next gathers whatever comes, starts and finishes alike; `executemany`; nobody waits for a timer.
Client: `bench.limits.client`, by the same stubs as Runcast's.

The figure is that of this program and no other: with bytes instead of messages, no ids and rows of 200 bytes it is three to
five times as fast in batches.
"""

import argparse
import asyncio
import sqlite3
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import uuid6

from bench.limits.serving import serve
from runcast.v1 import run_pb2
from runcast.v1 import run_service_pb2 as messages

ROW = 600
RESULT = 20
_STARTED, _FINISHED = run_pb2.Run.STATE_RUNNING, run_pb2.Run.STATE_SUCCEEDED

_TABLE = """
CREATE TABLE runs (
  key INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, state INTEGER NOT NULL, row BLOB NOT NULL, result BLOB
) STRICT
"""
_INSERT = "INSERT INTO runs (key, id, state, row) VALUES (?, ?, ?, ?)"
_UPDATE = "UPDATE runs SET state = ?, result = ? WHERE key = ?"
_Insert = tuple[int, str, int, bytes]
_Update = tuple[int, bytes, int]


class Store:
    """The table, its one writer, and the batch that gathers."""

    def __init__(self, path: Path) -> None:
        self._writer = ThreadPoolExecutor(1)
        self._path = path
        self._next = 1
        self._inserts: list[_Insert] = []
        self._updates: list[_Update] = []
        self._gathering: asyncio.Future[None] | None = None
        self._busy = False

    async def open(self) -> None:
        """Make the file and its table."""
        loop = asyncio.get_running_loop()
        self._connection = await loop.run_in_executor(self._writer, self._connect)

    async def close(self) -> None:
        """Close the file, so that nothing of it is left in the log."""
        await asyncio.get_running_loop().run_in_executor(self._writer, self._connection.close)
        self._writer.shutdown()

    async def run(self, rows: Sequence[tuple[str, bytes]]) -> None:
        """Store ids and rows as started; once that is durable, as finished; return when that is durable too."""
        keys = range(self._next, self._next + len(rows))
        self._next = keys.stop
        await self._save([(key, run, _STARTED, row) for key, (run, row) in zip(keys, rows, strict=True)], [])
        await self._save([], [(_FINISHED, bytes(RESULT), key) for key in keys])

    def _save(self, inserts: list[_Insert], updates: list[_Update]) -> asyncio.Future[None]:
        self._inserts += inserts
        self._updates += updates
        if self._gathering is None:
            self._gathering = asyncio.get_running_loop().create_future()
        gathering = self._gathering
        if not self._busy:
            self._begin()
        return gathering

    def _begin(self) -> None:
        """Send the batch that has gathered to the writer."""
        gathered, self._gathering = self._gathering, None
        if gathered is None:
            return
        inserts, self._inserts = self._inserts, []
        updates, self._updates = self._updates, []
        self._busy = True
        loop = asyncio.get_running_loop()
        commit = loop.run_in_executor(self._writer, self._commit, inserts, updates)
        commit.add_done_callback(lambda commit: self._committed(commit, gathered))

    def _committed(self, commit: asyncio.Future[None], gathered: asyncio.Future[None]) -> None:
        self._busy = False
        error = commit.exception()
        if error is None:
            gathered.set_result(None)
        else:
            gathered.set_exception(error)
        self._begin()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(_TABLE)
        return connection

    def _commit(self, inserts: list[_Insert], updates: list[_Update]) -> None:
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        if inserts:
            connection.executemany(_INSERT, inserts)
        if updates:
            connection.executemany(_UPDATE, updates)
        connection.execute("COMMIT")


class Service:
    """Stores what it is asked to start, and says that it has run."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def start(
        self, request: messages.StartRunRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> messages.StartRunResponse:
        """One run."""
        row = _row(request)
        await self._store.run([row])
        return _answer(messages.StartRunResponse(), request, row[0])

    async def start_batch(
        self, batch: messages.BatchStartRunsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> messages.BatchStartRunsResponse:
        """Many; unlike Runcast's, the answer comes when they have finished."""
        rows = [_row(request) for request in batch.requests]
        await self._store.run(rows)
        answer = messages.BatchStartRunsResponse()
        for request, row in zip(batch.requests, rows, strict=True):
            _answer(answer.results.add().started, request, row[0])
        return answer


def _row(request: messages.StartRunRequest) -> tuple[str, bytes]:
    return f"run_{uuid6.uuid7().hex}", request.SerializeToString().ljust(ROW, b"\0")


def _answer(
    answer: messages.StartRunResponse, request: messages.StartRunRequest, id: str
) -> messages.StartRunResponse:
    now = time.time_ns()
    run = answer.run
    run.id = id
    run.state = _FINISHED
    run.provider = request.provider
    run.attempt = 1
    run.create_time.FromNanoseconds(now)
    run.end_time.FromNanoseconds(now)
    answer.created = True
    return answer


async def _prepare(server: grpc.aio.Server, path: Path) -> Callable[[], Awaitable[None]]:
    store = Store(path)
    await store.open()
    service = Service(store)
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "StartRun": grpc.unary_unary_rpc_method_handler(
            service.start,
            messages.StartRunRequest.FromString,
            messages.StartRunResponse.SerializeToString,
        ),
        "BatchStartRuns": grpc.unary_unary_rpc_method_handler(
            service.start_batch,
            messages.BatchStartRunsRequest.FromString,
            messages.BatchStartRunsResponse.SerializeToString,
        ),
    }
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("runcast.v1.RunService", handlers),)
    )
    return store.close


if __name__ == "__main__":
    _parser = argparse.ArgumentParser(description="the minimal durable start and finish")
    _parser.add_argument("--storage", type=Path, required=True, help="the SQLite file to make")
    _storage: Path = _parser.parse_args().storage
    serve(lambda server: _prepare(server, _storage))
