"""The client: one object for a server, whose methods are what can be done there."""

from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import timedelta
from functools import partial
from types import TracebackType
from typing import Any, Self, Unpack

from runcast.client.backoff import Backoff, Deadline
from runcast.client.connection import Connection, OnRetry
from runcast.client.errors import ClientClosed, RpcError, Unavailable, error_of
from runcast.client.filters import RunFilters, run_filter
from runcast.client.payload import Parameters
from runcast.client.run_stream import RunStream, result_of
from runcast.client.starting import StartOptions, batches, duration, start_request
from runcast.client.states import is_final
from runcast.v1 import provider_pb2, provider_service_pb2, run_pb2, run_service_pb2, server_service_pb2

DEFAULT_TARGET = "localhost:7433"
_ONE_WAIT = 30.0
_PAGE = 200


class Client:
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

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        *,
        token: str | None = None,
        tls: bool = False,
        root_certificates: bytes | None = None,
        timeout: float = 30.0,
        patience: float | None = 60.0,
        backoff: Backoff | None = None,
        on_retry: OnRetry | None = None,
        options: Sequence[tuple[str, int | str]] = (),
    ) -> None:
        self.target = target
        self._opening = partial(
            Connection,
            target,
            token=token,
            tls=tls,
            root_certificates=root_certificates,
            timeout=timeout,
            patience=patience,
            backoff=backoff or Backoff(),
            on_retry=on_retry,
            options=options,
        )
        self._opened: Connection | None = None

    async def open(self) -> None:
        """Make the channel, in the running event loop; it connects with the first call. `async with` does this."""
        if self._opened is not None:
            raise RuntimeError("the client is open already")
        self._opened = self._opening()

    async def close(self) -> None:
        """End all calls and streams, and no run; idempotent."""
        opened, self._opened = self._opened, None
        if opened is not None:
            await opened.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def _connection(self) -> Connection:
        if self._opened is None:
            raise ClientClosed("the client is not open: use it as `async with Client(…) as client:`")
        return self._opened

    # --------------------------------------------------------------------------------------------- starting, following
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
        wait = min(_ONE_WAIT, deadline.left)
        request.wait.FromTimedelta(timedelta(seconds=wait))
        connection = self._connection
        started = await connection.unary(connection.runs.StartRun, request, timeout=wait + connection.timeout)
        run = started.run
        if not is_final(run.state):
            run = await self.wait(run.id, timeout=None if timeout is None else deadline.left)
        return result_of(run)

    async def wait(
        self, run_id: str, timeout: float | None = None, *, observe_only: bool = False
    ) -> run_pb2.Run:
        """The run once it is final, or as it stands after `timeout` seconds: look at its state. Without a timeout, for
        as long as it takes. It resumes a run that waits for somebody's interest, unless `observe_only`."""
        deadline, connection = Deadline(timeout), self._connection
        patience = connection.patience()
        while True:
            wait = min(_ONE_WAIT, deadline.left)
            request = run_service_pb2.WaitRunRequest(
                run_id=run_id, timeout=duration(wait), observe_only=observe_only
            )
            try:
                answer = await connection.once(
                    connection.runs.WaitRun, request, timeout=wait + connection.timeout
                )
            except Unavailable as error:
                await connection.pause(error, patience, left=deadline.left)
                continue
            patience.succeeded()
            if is_final(answer.run.state) or deadline.left <= 0:
                return answer.run

    async def cancel(
        self, run_id: str, reason: str = "", *, immediate: bool = False, grace: float | None = None
    ) -> run_pb2.Run:
        """Ask for a run's end, and answer at once with the run as it stands; a final run is answered unchanged. Its
        code has `grace` seconds to stop, or is killed where the end is to be `immediate`."""
        mode = run_service_pb2.CancelRunRequest
        request = run_service_pb2.CancelRunRequest(
            run_id=run_id,
            reason=reason,
            mode=mode.MODE_IMMEDIATE if immediate else mode.MODE_GRACEFUL,
            grace=duration(grace),
        )
        return (await self._connection.unary(self._connection.runs.CancelRun, request)).run

    # --------------------------------------------------------------------------------------------------------- looking
    async def get(self, run_id: str) -> run_pb2.Run:
        """The run, in full."""
        request = run_service_pb2.GetRunRequest(run_id=run_id)
        return (await self._connection.unary(self._connection.runs.GetRun, request)).run

    async def list(
        self,
        *,
        oldest_first: bool = False,
        full: bool = False,
        limit: int | None = None,
        **filters: Unpack[RunFilters],
    ) -> AsyncIterator[run_pb2.Run]:
        """The runs that match all filters, newest first, fetched page by page as the loop goes on; at most `limit`.
        Without `full` they come without spec, input, output, failures and refs. For the filters see RunFilters."""
        order = run_service_pb2.ListRunsRequest
        request = run_service_pb2.ListRunsRequest(
            filter=run_filter(**filters),
            view=run_pb2.RUN_VIEW_FULL if full else run_pb2.RUN_VIEW_BASIC,
            order_by=order.ORDER_BY_CREATE_TIME_ASC if oldest_first else order.ORDER_BY_CREATE_TIME_DESC,
        )
        left = limit
        while left is None or left > 0:
            request.page_size = _PAGE if left is None else min(_PAGE, left)
            page = await self._connection.unary(self._connection.runs.ListRuns, request)
            for run in page.runs:
                yield run
            left = None if left is None else left - len(page.runs)
            request.page_token = page.next_page_token
            if not request.page_token:
                return

    async def attempts(self, run_id: str) -> tuple[run_pb2.Attempt, ...]:
        """The attempts of a run, oldest first, with tracebacks."""
        request = run_service_pb2.ListAttemptsRequest(run_id=run_id, page_size=_PAGE)
        found: list[run_pb2.Attempt] = []
        while True:
            page = await self._connection.unary(self._connection.runs.ListAttempts, request)
            found.extend(page.attempts)
            request.page_token = page.next_page_token
            if not request.page_token:
                return tuple(found)

    async def providers(
        self, *, category: str = "", tags: Iterable[str] = (), text: str = ""
    ) -> tuple[provider_pb2.Provider, ...]:
        """What can be run, by name: of this category, with all of these tags, with these words."""
        chosen = provider_pb2.ProviderFilter(category=category, tags=tags, text=text)
        request = provider_service_pb2.ListProvidersRequest(filter=chosen, page_size=_PAGE)
        found: list[provider_pb2.Provider] = []
        while True:
            page = await self._connection.unary(self._connection.providers.ListProviders, request)
            found.extend(page.providers)
            request.page_token = page.next_page_token
            if not request.page_token:
                return tuple(found)

    async def provider(self, name: str) -> provider_pb2.Provider:
        """What can be run by this name: its parameters as JSON Schema, its defaults, and whether it is dangerous."""
        request = provider_service_pb2.GetProviderRequest(name=name)
        return (await self._connection.unary(self._connection.providers.GetProvider, request)).provider

    async def server_info(self) -> server_service_pb2.GetServerInfoResponse:
        """The server's version, what is switched on, its limits, and what an acknowledgement is worth there."""
        request = server_service_pb2.GetServerInfoRequest()
        return await self._connection.unary(self._connection.server.GetServerInfo, request)

    async def health(self, service: str = "") -> str:
        """Whether the server, or one of its services such as `runcast.v1.RunService`, takes calls: `SERVING`,
        `NOT_SERVING` or `UNKNOWN`. NotFound for a service that it does not know. Asked once, without patience."""
        return await self._connection.health(service)
