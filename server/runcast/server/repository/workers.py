"""Threads that run jobs for the event loop, each with a resource of its own."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Generic, TypeAlias, TypeVar

from runcast.server.model.errors import Unavailable

R = TypeVar("R")
T = TypeVar("T")
_Entry: TypeAlias = tuple["asyncio.Future[Any]", Callable[[R], Any]] | None


class Workers(Generic[R]):
    """`count` threads, each with what `make` gave it; `drop` takes it back. Both run on the thread itself.

    Jobs start in the order they came. One that is running is never abandoned: whoever stops waiting for it changes
    nothing about what it does. With `optional` one that nobody waits for any more is not begun.
    """

    def __init__(
        self,
        name: str,
        count: int,
        make: Callable[[], R],
        drop: Callable[[R], None],
        *,
        optional: bool = False,
    ) -> None:
        self._name = name
        self._count = count
        self._make = make
        self._drop = drop
        self._optional = optional
        self._jobs: SimpleQueue[_Entry[R]] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._ended: list[asyncio.Future[None]] = []
        self._is_open = False

    async def start(self) -> None:
        """Start the threads; what `make` raised is raised here, and nothing is left running."""
        if self._threads:
            raise RuntimeError(f"{self._name} is started already")
        self._loop = asyncio.get_running_loop()
        self._jobs = SimpleQueue()  # what an earlier `stop` told threads that never were stays in the old one
        started = []
        for number in range(self._count):
            ready: asyncio.Future[None] = self._loop.create_future()
            ended: asyncio.Future[None] = self._loop.create_future()
            # A daemon: a server that forgot to close must still be able to exit; the store outlives a kill anyway.
            thread = threading.Thread(
                target=self._serve, args=(ready, ended), name=f"{self._name}-{number}", daemon=True
            )
            thread.start()
            self._threads.append(thread)
            self._ended.append(ended)
            started.append(ready)
        self._is_open = True
        errors = [outcome for outcome in await asyncio.gather(*started, return_exceptions=True) if outcome]
        if errors:
            await self.stop()
            raise errors[0]

    async def stop(self) -> None:
        """Finish all jobs and end the threads; idempotent, also before `start`."""
        if self._is_open:
            self._is_open = False
            for _ in self._threads:
                self._jobs.put(None)
        await asyncio.gather(*self._ended)
        for thread in self._threads:
            thread.join()
        self._threads.clear()
        self._ended.clear()

    def run(self, job: Callable[[R], T]) -> "asyncio.Future[T]":
        """The job's result or error, as a future of the running loop. Unavailable unless started."""
        if not self._is_open:
            raise Unavailable("the store is closed")
        future: asyncio.Future[T] = self._loop.create_future()
        self._jobs.put((future, job))
        return future

    def _serve(self, ready: "asyncio.Future[None]", ended: "asyncio.Future[None]") -> None:
        try:
            resource = self._make()
        except BaseException as error:  # noqa: BLE001 - whoever waits gets it
            self._post(ready, None, error)
        else:
            self._post(ready, None, None)
            self._work(resource)
            with suppress(Exception):  # an end that fails is still an end
                self._drop(resource)
        self._post(ended, None, None)

    def _work(self, resource: R) -> None:
        while (entry := self._jobs.get()) is not None:
            future, job = entry
            result = None
            if self._optional and future.cancelled():
                continue
            try:
                result = job(resource)
            except BaseException as error:  # noqa: BLE001 - whoever waits gets it
                self._post(future, None, error)
            else:
                self._post(future, result, None)
            # A thread that waits must not keep the last job's values alive.
            del entry, future, job, result

    def _post(self, future: "asyncio.Future[Any]", result: Any, error: BaseException | None) -> None:
        # A loop that is gone has nobody left who waits.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(_settle, future, result, error)


def _settle(future: "asyncio.Future[Any]", result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
