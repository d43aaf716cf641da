"""A run that was started or named, and is followed."""

from collections.abc import Awaitable, Callable

from runcast.client.connection import Connection
from runcast.client.followed import FollowedRun
from runcast.client.line import Call
from runcast.v1 import run_pb2, run_service_pb2

Response = run_service_pb2.ExecuteRunResponse | run_service_pb2.WatchRunResponse
Cancel = Callable[..., Awaitable[run_pb2.Run]]


class RunStream(FollowedRun[Response]):
    """A run while it is followed; made by `Client.execute` and `Client.watch`.

    Enter it with `async with`, which answers once the run is known, and iterate over its events; the loop ends when
    the run is final. Leaving the context ends the stream and never the run. A stream that breaks is taken up again
    where it was, without a gap and without a duplicate; iteration may stop and go on at will.
    """

    def __init__(
        self,
        connection: Connection,
        first: run_service_pb2.ExecuteRunRequest | run_service_pb2.WatchRunRequest,
        cancel: Cancel,
        *,
        heartbeat: float | None = None,
    ) -> None:
        super().__init__(connection, heartbeat=heartbeat)
        self._connection = connection
        self._first = first
        self._cancel = cancel

    async def cancel(
        self, reason: str = "", *, immediate: bool = False, grace: float | None = None
    ) -> run_pb2.Run:
        """Ask for the run's end; see `Client.cancel`. The loop goes on until the run has ended."""
        return await self._cancel(self.id, reason, immediate=immediate, grace=grace)

    def _dial(self) -> Call:
        runs, metadata, first = self._connection.runs, self._connection.metadata, self._first
        if not self.id and isinstance(first, run_service_pb2.ExecuteRunRequest):
            return runs.ExecuteRun(first, metadata=metadata)
        request = run_service_pb2.WatchRunRequest()
        if isinstance(first, run_service_pb2.WatchRunRequest):
            request.CopyFrom(first)
        if self.id:
            request.run_id, request.after_sequence = self.id, self._cursor
            self.reconnects += 1
        return runs.WatchRun(request, metadata=metadata)

    def _take(self, response: Response) -> None:
        first = not self.id
        self._take_frame(response.frame)
        if first and isinstance(response, run_service_pb2.ExecuteRunResponse):
            self.created = response.created
