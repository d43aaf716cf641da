"""The client: one object for a server, whose methods are what can be done there."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Unpack

from runcast.client.attached import AttachedRun, OnDisconnect, ownership
from runcast.client.backoff import Deadline
from runcast.client.errors import RpcError, error_of
from runcast.client.filters import RunFilters, run_filter
from runcast.client.followed import result_of
from runcast.client.looking import Looking
from runcast.client.outcomes import Outcomes
from runcast.client.payload import Parameters
from runcast.client.run_stream import RunStream
from runcast.client.run_table import TableStream
from runcast.client.starting import StartOptions, batches, duration, repeatable, start_request
from runcast.client.states import is_final
from runcast.client.steering import ONE_WAIT, Steering
from runcast.client.tasks import Tasks
from runcast.v1 import run_pb2, run_service_pb2


class Client(Looking, Steering):
    """A connection to a Runcast server; use it as `async with Client() as client:`.

    target: `host:port`, or any name that gRPC resolves, such as `unix:/run/runcast.sock`.
    token: an API key, sent with each call; refused without TLS unless the server is on this machine.
    tls: whether to encrypt; `root_certificates`, in PEM, replace those of the system.
    timeout: seconds that a call may take, its retries included.
    patience: seconds for which a call or a broken stream is tried again while the server is unavailable; 0 for not at
        all, None for ever.
    on_retry: told each time of the error, and of the seconds until the next try.
    options: gRPC channel options, over those that this client sets.
    """

    @property
    def tasks(self) -> Tasks:
        """Stored definitions of what to run: `await client.tasks.get("nightly")`."""
        return Tasks(self._connection)

    def execute(
        self,
        provider: str | None = None,
        parameters: Parameters | None = None,
        *,
        task: str | None = None,
        **options: Unpack[StartOptions],
    ) -> RunStream:
        """Start a run of a provider or a task, and follow it: `async with client.execute(…) as run:`. The run goes on
        where the stream is left. For the options see StartOptions."""
        request = start_request(provider, parameters, task=task, **options)
        return RunStream(self._connection, run_service_pb2.ExecuteRunRequest(start=request), self.cancel)

    def watch(
        self,
        run_id: str,
        *,
        after_sequence: int | None = None,
        last_events: int | None = None,
        event_types: Iterable[str] = (),
        require_complete: bool = False,
        observe_only: bool = False,
        heartbeat: float | None = None,
    ) -> RunStream:
        """Follow a run: `async with client.watch(…) as run:`.

        It begins with the first event, behind `after_sequence`, or with the last so many events (0: new ones only).
        `event_types` are those to see, such as `progress`. `require_complete` raises OutOfRange where events that were
        asked for are trimmed, instead of telling them in `gaps`. `observe_only` does not resume a run that waits for
        somebody's interest. `heartbeat` is how often, in seconds, to hear from an idle stream.
        """
        if after_sequence is not None and last_events is not None:
            raise ValueError("begin either after a sequence or with the last events")
        request = run_service_pb2.WatchRunRequest(
            run_id=run_id,
            event_types=event_types,
            require_complete=require_complete,
            observe_only=observe_only,
            heartbeat_interval=duration(heartbeat),
        )
        if after_sequence is not None:
            request.after_sequence = after_sequence
        if last_events is not None:
            request.last_events = last_events
        return RunStream(self._connection, request, self.cancel, heartbeat=heartbeat)

    def attach(
        self,
        run_id: str = "",
        *,
        start: run_service_pb2.StartRunRequest | None = None,
        after_sequence: int = 0,
        on_disconnect: OnDisconnect = "detach",
        grace: float | None = None,
        attachment_id: str = "",
        observe_only: bool = False,
    ) -> AttachedRun:
        """Follow a run and steer it over the same stream: `async with client.attach(…) as run:`.

        It is the run of this id, or a new one: `start` is made by `start_request`. The first event is the one behind
        `after_sequence`. `on_disconnect` is what becomes of the run once nobody was attached to it for `grace` seconds
        (default: 30): it goes on (`detach`), or `cancel`, or `pause`, where it goes on if its provider cannot.
        `attachment_id` is that of an earlier attachment that is to go on. `observe_only` does not resume a run that
        waits for somebody's interest.
        """
        if bool(run_id) == (start is not None):
            raise ValueError("name either a run or a start")
        first = run_service_pb2.AttachRunRequest.Open(
            after_sequence=after_sequence,
            ownership=ownership(on_disconnect, grace, attachment_id),
            observe_only=observe_only,
        )
        if start is not None:
            first.start.CopyFrom(repeatable(start))
        else:
            first.run_id = run_id
        return AttachedRun(self._connection, first, self)

    def watch_runs(
        self,
        *,
        full: bool = False,
        resume_token: str = "",
        heartbeat: float | None = None,
        **filters: Unpack[RunFilters],
    ) -> TableStream:
        """Follow all runs that match all filters: `async with client.watch_runs(…) as changes:`; RunTable keeps them.
        It tells how runs stand, and not each event between.

        Without `full` they come without spec, input, output, failures and refs. `resume_token` goes on with the table
        that somebody has. `heartbeat` is how often, in seconds, to hear from an idle stream. For the filters see
        RunFilters.
        """
        request = run_service_pb2.WatchRunsRequest(
            filter=run_filter(**filters),
            resume_token=resume_token,
            view=run_pb2.RUN_VIEW_FULL if full else run_pb2.RUN_VIEW_BASIC,
            heartbeat_interval=duration(heartbeat),
        )
        return TableStream(self._connection, request, heartbeat=heartbeat)

    def execute_all(
        self, starts: Iterable[run_service_pb2.StartRunRequest], *, at_once: int = 500
    ) -> Outcomes:
        """Start many runs, each made by `start_request`, and hand each out as it ends, refused ones as well:
        `async with client.execute_all(…) as outcomes:`. `starts` may be endless: never more than `at_once` runs are
        started and not yet handed out."""
        return Outcomes(starts, self.start_many, self, at_once)

    async def start(
        self,
        provider: str | None = None,
        parameters: Parameters | None = None,
        *,
        task: str | None = None,
        **options: Unpack[StartOptions],
    ) -> run_pb2.Run:
        """Start a run of a provider or a task, and answer once it is stored. For the options see StartOptions."""
        request = start_request(provider, parameters, task=task, **options)
        return (await self._connection.unary(self._connection.runs.StartRun, request)).run

    async def start_many(
        self, requests: Iterable[run_service_pb2.StartRunRequest]
    ) -> tuple[run_pb2.Run | RpcError, ...]:
        """Start many runs, each made by `start_request`, in as few calls as their number and size allow. Answers for
        each, in order, the run or the error that refused it. Where the call itself fails, repeat it with the same
        requests: what was started already is found again."""
        outcomes: list[run_pb2.Run | RpcError] = []
        for batch in batches(requests):
            answer = await self._connection.unary(self._connection.runs.BatchStartRuns, batch)
            outcomes += [
                error_of(each.error) if each.HasField("error") else each.started.run
                for each in answer.results
            ]
        return tuple(outcomes)

    async def run(
        self,
        provider: str | None = None,
        parameters: Parameters | None = None,
        *,
        task: str | None = None,
        timeout: float | None = None,
        **options: Unpack[StartOptions],
    ) -> Any:
        """Start a run, wait for its end, and answer what it returned, as a Python value. RunFailed, RunCancelled or
        RunTimedOut where it did not succeed; RunNotFinal, with the run that goes on, once `timeout` seconds passed."""
        deadline = Deadline(timeout)
        request = start_request(provider, parameters, task=task, **options)
        wait = min(ONE_WAIT, deadline.left)
        request.wait.FromTimedelta(timedelta(seconds=wait))
        connection = self._connection
        started = await connection.unary(connection.runs.StartRun, request, timeout=wait + connection.timeout)
        run = started.run
        if not is_final(run.state):
            run = await self.wait(run.id, timeout=None if timeout is None else deadline.left)
        return result_of(run)
