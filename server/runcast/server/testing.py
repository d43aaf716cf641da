"""A server inside of the process that tests it: memory for a store, a free port for an address."""

import inspect
from collections.abc import Iterable
from contextlib import AsyncExitStack
from typing import Any

from runcast.provider import capture
from runcast.provider.definition import Provider
from runcast.provider.loading import load
from runcast.provider.registry import Registry
from runcast.server.__main__ import SystemClock
from runcast.server.engine.engine import Engine
from runcast.server.executor.assembly import executors
from runcast.server.model.errors import InvalidArgument
from runcast.server.model.run import Execution
from runcast.server.notifier.local import LocalNotifier
from runcast.server.repository.memory import MemoryRepository
from runcast.server.rpc.server import Server


class InProcessServer:
    """Serves providers: functions marked with `@provider`, or what `--providers` takes, such as `shop.py`.

    Coroutines run in the loop that opens it, threads in its process; what needs a process of its own gets one, which
    imports the file that holds the provider.
    """

    _capturing = 0

    def __init__(self, providers: Iterable[Provider[..., Any] | str]) -> None:
        given = list(providers)
        self._registry = Registry()
        named = load([each for each in given if isinstance(each, str)])
        marked = [_marked(each) for each in given if not isinstance(each, str)]
        for provider in [*map(named.get, named.names), *marked]:
            self._registry.add(provider)
        self._specs = list(
            dict.fromkeys(
                [
                    *(each for each in given if isinstance(each, str)),
                    *(_file(each) for each in marked if each.description.execution is Execution.PROCESS),
                ]
            )
        )
        self._last_to_first = AsyncExitStack()

    async def open(self) -> int:
        """Serve, in the running event loop; answers the port."""
        clock = SystemClock()
        kinds = {each.execution for each in self._registry.describe()}
        made = executors(self._registry, self._specs)
        engine = Engine(
            MemoryRepository(),
            LocalNotifier(),
            {kind: executor for kind, executor in made.items() if kind in kinds},
            self._registry,
            clock,
        )
        server = Server(engine, clock.now)
        async with AsyncExitStack() as opening:
            self._capture()
            opening.callback(self._release)
            opening.push_async_callback(engine.close)
            await engine.open()
            opening.push_async_callback(server.stop)
            port = await server.start("127.0.0.1:0")
            self._last_to_first = opening.pop_all()
        return port

    async def close(self) -> None:
        """End what runs, and forget all; idempotent."""
        await self._last_to_first.aclose()

    @classmethod
    def _capture(cls) -> None:
        capture.install()
        cls._capturing += 1

    @classmethod
    def _release(cls) -> None:
        cls._capturing -= 1
        if not cls._capturing:
            capture.uninstall()


def _marked(value: object) -> Provider[..., Any]:
    if not isinstance(value, Provider):
        raise InvalidArgument.of(
            "providers", f"{value!r} is no provider: mark it with @provider from runcast.provider"
        )
    return value


def _file(provider: Provider[..., Any]) -> str:
    """The file from which a process of its own can import the provider."""
    if "<locals>" in provider.function.__qualname__:
        message = (
            f"{provider.name!r} runs in a process of its own, which cannot import what is defined inside of a function:"
            f' move it to the top of its file ({provider.where}), or mark it with execution="thread"'
        )
        raise InvalidArgument.of("providers", message)
    return inspect.getfile(provider.function)
