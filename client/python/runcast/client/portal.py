"""An event loop in a thread of its own, for those who have none at hand."""

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from runcast.client.errors import ClientClosed

T = TypeVar("T")
_UNWIND = 5.0


class Portal:
    """Runs coroutines for any thread but its own, one after the other or many at once."""

    def __init__(self, name: str = "runcast-client") -> None:
        self._name = name
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._process = 0

    def open(self) -> None:
        """Start the loop; it does not keep the program from ending."""
        with self._lock:
            if self._loop is not None:
                raise RuntimeError("the client is open already")
            self._process = os.getpid()
            loop = self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=loop.run_forever, name=self._name, daemon=True)
            self._thread.start()

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """What the coroutine answers, or raises. What interrupts the waiting thread, such as Ctrl-C, cancels it."""
        answer: Future[T] = Future()
        tasks: list[asyncio.Task[T]] = []

        def begin() -> None:
            tasks.append(asyncio.get_running_loop().create_task(coroutine))
            tasks[0].add_done_callback(lambda done: _hand_over(done, answer))

        def end() -> None:
            tasks[0].cancel()

        loop = self._hand_in(begin, coroutine)
        try:
            return answer.result()
        except BaseException:
            if not answer.done():
                loop.call_soon_threadsafe(end)
                with contextlib.suppress(Exception):
                    answer.exception(_UNWIND)
            raise

    def _hand_in(
        self, begin: Callable[[], None], coroutine: Coroutine[Any, Any, Any]
    ) -> asyncio.AbstractEventLoop:
        """Let the loop begin: once it is closing, nothing comes in any more, so that nobody waits in vain."""
        try:
            with self._lock:
                if self._loop is None:
                    raise ClientClosed("the client is not open: use it as `with SyncClient(…) as client:`")
                if self._process != os.getpid():  # the thread stayed in the other one
                    raise ClientClosed("a forked process cannot use its parent's client: spawn it instead")
                if self._thread is threading.current_thread():
                    message = "the client's own thread would wait for itself; call it from another"
                    raise RuntimeError(message)
                self._loop.call_soon_threadsafe(begin)
                return self._loop
        except (ClientClosed, RuntimeError):
            coroutine.close()
            raise

    def close(self) -> None:
        """Cancel what is under way, and end the loop and its thread; idempotent."""
        with self._lock:
            loop, self._loop = self._loop, None
            thread, self._thread = self._thread, None
        if loop is None or thread is None or self._process != os.getpid():
            return
        asyncio.run_coroutine_threadsafe(_empty(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _hand_over(done: asyncio.Task[T], answer: Future[T]) -> None:
    if done.cancelled():
        answer.set_exception(ClientClosed("the client is closed"))
    elif (error := done.exception()) is not None:
        answer.set_exception(error)
    else:
        answer.set_result(done.result())


async def _empty() -> None:
    """End all tasks of the loop but this one."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others, timeout=_UNWIND)
    await asyncio.get_running_loop().shutdown_asyncgens()
