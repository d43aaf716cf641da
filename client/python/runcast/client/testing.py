"""A Runcast server for tests: in the process of the tests, on a memory store and a free port.

    from runcast.client.testing import runcast_server
    from runcast.provider import provider

    @provider
    async def double(number: int) -> int:
        return 2 * number

    def test_double() -> None:
        with runcast_server([double]) as client:                 # a SyncClient
            assert client.run("double", {"number": 21}) == 42

    async def test_double_in_a_coroutine() -> None:
        async with runcast_server([double]) as client:           # a Client
            assert await client.run("double", {"number": 21}) == 42

As a fixture of pytest, in a `conftest.py`; there is no plugin that registers itself:

    @pytest.fixture(scope="session")
    def runcast() -> Iterator[SyncClient]:
        with runcast_server(["shop.py"]) as client:
            yield client

It needs the server's packages: `pip install "runcast[server]"`.
"""

import importlib
from collections.abc import Callable, Coroutine, Iterable
from contextlib import AsyncExitStack, ExitStack
from types import TracebackType
from typing import Any, Protocol

from runcast.client.client import Client
from runcast.client.portal import Portal
from runcast.client.sync import SyncClient


class _Server(Protocol):
    def open(self) -> Coroutine[Any, Any, int]: ...

    def close(self) -> Coroutine[Any, Any, None]: ...


class RuncastServer:
    """A server that is there for as long as its context; made by `runcast_server`."""

    def __init__(self, providers: Iterable[Callable[..., Any] | str], patience: float | None) -> None:
        self._server = _loaded(list(providers))
        self._patience = patience
        self._last_to_first = ExitStack()
        self._last_to_first_async = AsyncExitStack()
        self.target = ""
        """The server's address, for further clients; empty while it is not there."""

    def __enter__(self) -> SyncClient:
        self._only_once()
        with ExitStack() as opening:
            portal = Portal("runcast-server")
            portal.open()
            opening.callback(portal.close)
            self._at(portal.call(self._server.open()))
            opening.callback(lambda: portal.call(self._server.close()))
            client = opening.enter_context(SyncClient(self.target, patience=self._patience))
            self._last_to_first = opening.pop_all()
        return client

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.target = ""
        self._last_to_first.close()

    async def __aenter__(self) -> Client:
        self._only_once()
        async with AsyncExitStack() as opening:
            self._at(await self._server.open())
            opening.push_async_callback(self._server.close)
            client = await opening.enter_async_context(Client(self.target, patience=self._patience))
            self._last_to_first_async = opening.pop_all()
        return client

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.target = ""
        await self._last_to_first_async.aclose()

    def _only_once(self) -> None:
        if self.target:
            raise RuntimeError(f"the server is there already, at {self.target}")

    def _at(self, port: int) -> None:
        self.target = f"127.0.0.1:{port}"


def runcast_server(
    providers: Iterable[Callable[..., Any] | str] = (), *, patience: float | None = 0.0
) -> RuncastServer:
    """A server for a test: `with` gives a SyncClient for it, `async with` a Client.

    `providers` are functions marked with `@provider`, or what `runcast dev --providers` takes: modules, files,
    `examples`. Coroutines and threads run in this process; a provider that gets a process of its own has to be at the
    top of a file that can be imported. `patience` is the client's.
    """
    return RuncastServer(providers, patience)


def _loaded(providers: list[Callable[..., Any] | str]) -> _Server:
    """The part that needs the server, which this package does not import: it is asked for by name, and may be
    missing."""
    try:
        part = importlib.import_module("runcast.server.testing")
    except ModuleNotFoundError as missing:
        message = (
            f'a server needs more than the client: pip install "runcast[server]" (there is no {missing.name})'
        )
        raise ModuleNotFoundError(message, name=missing.name) from missing
    server: _Server = part.InProcessServer(providers)
    return server
