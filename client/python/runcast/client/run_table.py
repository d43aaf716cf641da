"""All runs that match a filter, as they stand and as they change."""

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from runcast.client.connection import Connection
from runcast.client.errors import InvalidArgument, RpcError, Unavailable
from runcast.client.line import Call, Line, going_away
from runcast.v1 import run_pb2, run_service_pb2

Response = run_service_pb2.WatchRunsResponse


@dataclass(frozen=True, kw_only=True, slots=True)
class TableChange:
    """What to do with a table of runs, in this order; `RunTable` does it.

    resync: drop what the table has: all runs that match follow. `reason` says why, for a person; empty at the start.
    runs: put each in, by its id; one may come again unchanged.
    removed: take the runs of these ids out: they were deleted, or do not match any more.
    caught_up: the table is complete, and what follows is live.
    """

    resync: bool = False
    reason: str = ""
    runs: tuple[run_pb2.Run, ...] = ()
    removed: tuple[str, ...] = ()
    caught_up: bool = False


class RunTable(Mapping[str, run_pb2.Run]):
    """The runs that match, by id, as far as changes were applied. While a new table comes in, the old one stands."""

    def __init__(self) -> None:
        self._runs: dict[str, run_pb2.Run] = {}
        self._coming: dict[str, run_pb2.Run] | None = None

    @property
    def complete(self) -> bool:
        """Whether the table is all there is; it is not while all runs come anew."""
        return self._coming is None

    def apply(self, change: TableChange) -> None:
        """Take in the next change."""
        if change.resync:
            self._coming = {}
        table = self._runs if self._coming is None else self._coming
        table.update((run.id, run) for run in change.runs)
        for run_id in change.removed:
            table.pop(run_id, None)
        if change.caught_up and self._coming is not None:
            self._runs, self._coming = self._coming, None

    def __getitem__(self, run_id: str) -> run_pb2.Run:
        return self._runs[run_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._runs)

    def __len__(self) -> int:
        return len(self._runs)


class TableStream(AsyncIterator[TableChange]):
    """The changes of all runs that match; made by `Client.watch_runs`.

    Enter it with `async with`, which answers once the server does, and iterate over the changes; the loop has no end
    of its own. A stream that breaks is taken up again where it was, also at a server that was started anew: where that
    cannot tell what changed meanwhile, all runs come again behind a `resync`.
    """

    def __init__(
        self,
        connection: Connection,
        request: run_service_pb2.WatchRunsRequest,
        *,
        heartbeat: float | None = None,
    ) -> None:
        self._connection = connection
        self._request = request
        self._line: Line[Response] = Line(connection, self._dial, heartbeat)
        self._token = self._handed = request.resume_token
        self._pending: TableChange | None = None
        self._begun = self._entered = self._left = False
        self.reconnects = 0
        """How often it was tried to take the stream up again."""

    @property
    def resume_token(self) -> str:
        """What `Client.watch_runs(resume_token=…)` needs to go on behind the change that was handed out last, with
        the same filters and the table as it is then. Store it once that change is handled."""
        return self._handed

    async def __aenter__(self) -> Self:
        if self._entered:
            raise RuntimeError("a stream is entered once; to follow the runs again, watch them")
        self._entered = True
        try:
            while not self._begun:
                await self._advance()
        except BaseException:
            self._line.drop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left = True
        self._line.drop()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> TableChange:
        while self._pending is None:
            await self._advance()
            if self._pending is None:
                self._handed = self._token
        change, self._pending, self._handed = self._pending, None, self._token
        return change

    async def _advance(self) -> None:
        """Take in the next message, over as many calls as it takes to get it."""
        if not self._entered or self._left:
            raise RuntimeError("follow runs inside of `async with client.watch_runs(…) as changes:`")
        try:
            response = await self._line.read()
            if response is None:
                raise Unavailable("the stream ended")
            self._take(response)
        except RpcError as error:
            if self._begun and self._token and isinstance(error, InvalidArgument):
                # Another server does not know the token of the one before: begin with the whole table.
                self._token = ""
                self._line.drop()
                return
            await self._line.recover(error, known=self._begun)

    def _dial(self) -> Call:
        self.reconnects += self._begun
        self._request.resume_token = self._token
        return self._connection.runs.WatchRuns(self._request, metadata=self._connection.metadata)

    def _take(self, response: Response) -> None:
        """Take in one message. One of a kind that is not known yet moves the token all the same."""
        self._begun, self._token = True, response.resume_token
        match response.WhichOneof("message"):
            case "resync":
                self._pending = TableChange(resync=True, reason=response.resync.reason)
                self._line.patience.answered()
            case "changes":
                changes = response.changes
                self._pending = TableChange(runs=tuple(changes.runs), removed=tuple(changes.removed))
                self._line.patience.succeeded()
            case "caught_up":
                self._pending = TableChange(caught_up=True)
                self._line.patience.succeeded()
            case "heartbeat":
                self._line.patience.succeeded()
            case "going_away":
                raise going_away(response.going_away)
