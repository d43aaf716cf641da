"""RunService: starting and finding runs."""

from google.protobuf.duration_pb2 import Duration

from runcast.server.engine.engine import Engine
from runcast.server.engine.request import Start
from runcast.server.engine.starting import Started
from runcast.server.model.errors import InvalidArgument, RuncastError, Unavailable
from runcast.server.model.run import Page
from runcast.server.rpc import pages
from runcast.server.rpc.following import event_types_of
from runcast.server.rpc.frames import EventPage
from runcast.server.rpc.handlers import Context
from runcast.server.rpc.messages import attempt_message, fill_run, run_message
from runcast.server.rpc.requests import filter_of, run_id_of, start_of
from runcast.server.rpc.status import status_of
from runcast.server.rpc.units import known, micros
from runcast.v1 import run_pb2
from runcast.v1 import run_service_pb2 as pb

BATCH = 1_000
LONGEST_WAIT = 600.0
STREAM_AGE = 25 * 60.0
_DEFAULT_WAIT = 60.0
_LOOKED_THROUGH = 5_000


class RunServicer:
    """The RPCs of RunService that start, find and remove runs."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def StartRun(self, request: pb.StartRunRequest, context: Context) -> pb.StartRunResponse:  # noqa: N802
        """Start, and with `wait` answer at the end."""
        wait = _seconds(request.wait, "wait") if request.HasField("wait") else 0.0
        started = await self._engine.start(start_of(request))
        run = started.run
        if request.validate_only:
            message = run_message(run)
            message.ClearField("id")
            return pb.StartRunResponse(run=message)
        if wait > 0 and not run.state.final:
            run = await self._engine.wait(run.id, wait)
        response = pb.StartRunResponse(created=started.created)
        fill_run(response.run, run)
        return response

    async def BatchStartRuns(  # noqa: N802
        self, request: pb.BatchStartRunsRequest, context: Context
    ) -> pb.BatchStartRunsResponse:
        """Start many in one commit."""
        if not 1 <= len(request.requests) <= BATCH:
            raise InvalidArgument.of("requests", f"{len(request.requests)} requests; 1 to {BATCH:,}")
        for index, one in enumerate(request.requests):
            if one.HasField("wait") or one.validate_only:
                raise InvalidArgument.of(
                    f"requests[{index}]", "without `wait` and `validate_only`: use StartRun"
                )
        starts = [_start_or_error(one) for one in request.requests]
        outcomes = iter(
            await self._engine.start_many([start for start in starts if isinstance(start, Start)])
        )
        response, room = pb.BatchStartRunsResponse(), pages.BYTES_PER_PAGE // 2
        for start in starts:
            outcome = next(outcomes) if isinstance(start, Start) else start
            room -= _fill_result(response.results.add(), outcome, full=room > 0)
        return response

    async def GetRun(self, request: pb.GetRunRequest, context: Context) -> pb.GetRunResponse:  # noqa: N802
        """One run."""
        return pb.GetRunResponse(run=run_message(await self._engine.get(run_id_of(request.run_id))))

    async def ListRuns(self, request: pb.ListRunsRequest, context: Context) -> pb.ListRunsResponse:  # noqa: N802
        """A page of runs, cut by count and by bytes."""
        limit = pages.size_of(request.page_size)
        position = pages.position_of(request, request.page_token, int, str)
        ascending = known(request, "order_by") == request.ORDER_BY_CREATE_TIME_ASC
        page = Page(limit, (position[0], position[1]) if position else None, ascending)
        full = known(request, "view") == run_pb2.RUN_VIEW_FULL
        runs, more = await self._engine.page(filter_of(request.filter), page)
        response = pb.ListRunsResponse()
        response.runs.extend(pages.fitting(run_message(run, full=full) for run in runs))
        if more or len(response.runs) < len(runs):
            last = runs[len(response.runs) - 1]
            response.next_page_token = pages.token_for(request, last.create_time, last.id)
        return response

    async def DeleteRun(self, request: pb.DeleteRunRequest, context: Context) -> pb.DeleteRunResponse:  # noqa: N802
        """Remove a final run."""
        await self._engine.control.delete(run_id_of(request.run_id))
        return pb.DeleteRunResponse()

    async def WaitRun(self, request: pb.WaitRunRequest, context: Context) -> pb.WaitRunResponse:  # noqa: N802
        """Answer at the end, or after the time with the run as it stands."""
        seconds = _seconds(request.timeout, "timeout") if request.HasField("timeout") else _DEFAULT_WAIT
        run = await self._engine.wait(run_id_of(request.run_id), seconds, observe_only=request.observe_only)
        if self._engine.draining and not run.state.final:
            message = "this server is shutting down; the run goes on: ask again, on any server"
            raise Unavailable(message, reason="DRAINING")
        return pb.WaitRunResponse(run=run_message(run))

    async def ListRunEvents(  # noqa: N802
        self, request: pb.ListRunEventsRequest, context: Context
    ) -> pb.ListRunEventsResponse:
        """A page of a run's journal: cut by count, by bytes, and by how much is looked through for it."""
        if request.after_sequence < 0 and not request.page_token:
            raise InvalidArgument.of("after_sequence", f"{request.after_sequence}: 0 for the start, or more")
        run_id, types = run_id_of(request.run_id), event_types_of(list(request.event_types))
        position = pages.position_of(request, request.page_token, int)
        page = EventPage(
            pages.size_of(request.page_size), types, position[0] if position else request.after_sequence
        )
        looked = 0
        while True:
            run, batch = await self._engine.events(run_id, page.cursor)
            response = page.response
            response.first_sequence, response.last_sequence = run.first_sequence, run.last_sequence
            if batch is None:
                break
            looked += len(batch.events)
            if not page.take(batch) or looked >= _LOOKED_THROUGH:
                break
        response.resume_sequence = page.cursor
        if page.cursor < run.last_sequence:
            response.next_page_token = pages.token_for(request, page.cursor)
        return response

    async def ListAttempts(  # noqa: N802
        self, request: pb.ListAttemptsRequest, context: Context
    ) -> pb.ListAttemptsResponse:
        """A page of a run's attempts."""
        limit = pages.size_of(request.page_size)
        position = pages.position_of(request, request.page_token, int)
        attempts = await self._engine.attempts(run_id_of(request.run_id))
        rest = [attempt for attempt in attempts if position is None or attempt.number > position[0]]
        response = pb.ListAttemptsResponse()
        response.attempts.extend(pages.fitting(attempt_message(attempt) for attempt in rest[:limit]))
        if len(response.attempts) < len(rest):
            response.next_page_token = pages.token_for(request, response.attempts[-1].number)
        return response


def _seconds(length: Duration, field: str) -> float:
    return min(micros(length, field) / 1_000_000, LONGEST_WAIT)


def _start_or_error(request: pb.StartRunRequest) -> Start | RuncastError:
    try:
        return start_of(request)
    except RuncastError as error:
        return error


def _fill_result(
    result: pb.BatchStartRunsResponse.Result, outcome: Started | RuncastError, *, full: bool
) -> int:
    """What became of a start, and its size. Where not `full` there is no room for parameters and details: a thousand
    runs are told in 2 MB, GetRun has the rest."""
    if isinstance(outcome, RuncastError):
        status = status_of(outcome)
        result.error.CopyFrom(status)
        if not full:
            del result.error.details[1:]  # the first is ErrorInfo
            result.error.message = status.message[:200]
        return result.ByteSize()
    started = result.started
    fill_run(started.run, outcome.run, full=full)
    started.created = outcome.created
    return result.ByteSize()
