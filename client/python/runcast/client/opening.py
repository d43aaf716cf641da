"""Opening a client, and closing it."""

from collections.abc import Sequence
from functools import partial
from types import TracebackType
from typing import Self

from runcast.client.backoff import Backoff
from runcast.client.connection import Connection, OnRetry
from runcast.client.errors import ClientClosed

DEFAULT_TARGET = "localhost:7433"


class Opening:
    """A connection to a Runcast server, for as long as it is open.

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
