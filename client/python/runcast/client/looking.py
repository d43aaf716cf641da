"""Looking at runs, at what can be run, and at the server."""

from collections.abc import AsyncIterator, Iterable
from typing import Unpack

from runcast.client.filters import RunFilters, run_filter
from runcast.client.opening import Opening
from runcast.client.paging import items
from runcast.v1 import (
    event_pb2,
    provider_pb2,
    provider_service_pb2,
    run_pb2,
    run_service_pb2,
    server_service_pb2,
)


class Looking(Opening):
    """What a client reads; it changes nothing, and resumes nothing."""

    async def get(self, run_id: str) -> run_pb2.Run:
        """The run, in full."""
        request = run_service_pb2.GetRunRequest(run_id=run_id)
        return (await self._connection.unary(self._connection.runs.GetRun, request)).run

    def list(
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
        return items(self._connection, self._connection.runs.ListRuns, request, lambda page: page.runs, limit)

    def events(
        self,
        run_id: str,
        *,
        after_sequence: int = 0,
        event_types: Iterable[str] = (),
        limit: int | None = None,
    ) -> AsyncIterator[event_pb2.RunEvent]:
        """The stored events of a run behind `after_sequence`, fetched page by page as the loop goes on; at most
        `limit`. `event_types` are those to see, such as `progress`. To see what is still to come, watch the run."""
        request = run_service_pb2.ListRunEventsRequest(
            run_id=run_id, after_sequence=after_sequence, event_types=event_types
        )
        method = self._connection.runs.ListRunEvents
        return items(self._connection, method, request, lambda page: page.events, limit)

    async def attempts(self, run_id: str) -> tuple[run_pb2.Attempt, ...]:
        """The attempts of a run, oldest first, with tracebacks."""
        request = run_service_pb2.ListAttemptsRequest(run_id=run_id)
        method = self._connection.runs.ListAttempts
        return tuple(
            [each async for each in items(self._connection, method, request, lambda page: page.attempts)]
        )

    async def providers(
        self, *, category: str = "", tags: Iterable[str] = (), text: str = ""
    ) -> tuple[provider_pb2.Provider, ...]:
        """What can be run, by name: of this category, with all of these tags, with these words."""
        chosen = provider_pb2.ProviderFilter(category=category, tags=tags, text=text)
        request = provider_service_pb2.ListProvidersRequest(filter=chosen)
        method = self._connection.providers.ListProviders
        return tuple(
            [each async for each in items(self._connection, method, request, lambda page: page.providers)]
        )

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
