"""The interface of notifiers: whoever waits for news of a run subscribes first, then reads from its own cursor."""

import asyncio
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class Subscription(ABC):
    """A flag that rises with news and falls when it is waited for; a context manager that leaves at its end."""

    def __init__(self) -> None:
        self._news = False
        self._waiter: asyncio.Future[None] | None = None

    @abstractmethod
    def leave(self) -> None:
        """Get no more hints; idempotent."""

    def hint(self) -> None:
        """There may be something new."""
        self._news = True
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def wait(self, timeout: float) -> bool:
        """True at once or as soon as a hint came since the last call, False after `timeout` seconds without one."""
        if not self._news:
            loop = asyncio.get_running_loop()
            self._waiter = loop.create_future()
            timer = loop.call_later(timeout, _expire, self._waiter)
            try:
                await self._waiter
            finally:
                self._waiter = None
                timer.cancel()
        news, self._news = self._news, False
        return news

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()


def _expire(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


class Notifier(ABC):
    """Carries hints from whoever committed to whoever waits. A hint may be lost or repeated; storage is the truth."""

    @abstractmethod
    def publish(self, run_id: str, *, final: bool) -> None:
        """Something was committed for the run; `final` where it ended the run. Never blocks."""

    @abstractmethod
    def wake_all(self) -> None:
        """Hint at everything, as when the server begins to drain."""

    @abstractmethod
    def subscribe(self, run_id: str, *, final_only: bool = False) -> Subscription:
        """From now on hints for this run, or only the one that ends it."""
