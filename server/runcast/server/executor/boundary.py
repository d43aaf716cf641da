"""What keeps one provider's coroutine from ending the server, or the runs of others: the loop's factory of tasks."""

import asyncio
import logging
from collections.abc import Coroutine, Generator
from typing import Any

from runcast.provider.reporter import current

_log = logging.getLogger(__name__)


class OwnTask(asyncio.Task[Any]):
    """A task of the server, or one that runs an attempt: code of another run cannot cancel it, as all that cancels
    `asyncio.all_tasks()` would."""

    run_id = ""
    """The run whose attempt it is."""

    def cancel(self, msg: Any | None = None) -> bool:
        """As of any task, but not by a stranger."""
        who = current.get(None)
        if who is None or who.call.run_id == self.run_id:
            return super().cancel(msg)
        _log.debug("a task that is not this run's cannot be cancelled by it: %s", self.get_name())
        return False


class _Contained(Coroutine[Any, Any, Any]):
    """A coroutine of a provider. What asks the process to end is an exception like any other to whoever awaits its task:
    a task would hand it on to the loop, and end the server."""

    def __init__(self, inner: Coroutine[Any, Any, Any]) -> None:
        self._inner = inner
        self.__name__ = getattr(inner, "__name__", type(inner).__name__)
        self.__qualname__ = getattr(inner, "__qualname__", self.__name__)

    def send(self, value: Any) -> Any:
        try:
            return self._inner.send(value)
        except (SystemExit, KeyboardInterrupt) as error:
            raise _asked_to_exit(error) from error

    def throw(self, *given: Any) -> Any:
        try:
            return self._inner.throw(*given)
        except (SystemExit, KeyboardInterrupt) as error:
            raise _asked_to_exit(error) from error

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._inner.__await__()


def _asked_to_exit(error: BaseException) -> RuntimeError:
    return RuntimeError(f"a task of the provider asked to exit: {type(error).__name__}: {error}")


def make_task(
    loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], **options: Any
) -> asyncio.Task[Any]:
    """The loop's factory of tasks. Whose task it is, the context tells that it is made in: a provider's or the server's."""
    if current.get(None) is None:
        return OwnTask(coroutine, loop=loop, **options)
    return asyncio.Task(_Contained(coroutine), loop=loop, **options)
