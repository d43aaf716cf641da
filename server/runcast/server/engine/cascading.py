"""Carries the end of cancelled parents to their children, beside the sweep that finds who has one to carry."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable

from runcast.server.model.errors import NotFound, RuncastError

log = logging.getLogger(__name__)
_AT_ONCE = 4


class Cascades:
    """A few at a time, each parent once; what fails or is broken off is begun again by whoever finds it marked.

    `cascade` carries one parent's end on; `on_idle` is called when nothing is left to do.
    """

    def __init__(self, cascade: Callable[[str], Awaitable[None]], on_idle: Callable[[], None]) -> None:
        self._cascade = cascade
        self._on_idle = on_idle
        self._known: set[str] = set()
        self._waiting: deque[str] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def begin(self, run_id: str) -> None:
        """See to this parent soon; nothing where that is under way."""
        if run_id in self._known or self._closed:
            return
        self._known.add(run_id)
        self._waiting.append(run_id)
        if len(self._tasks) < _AT_ONCE:
            task = asyncio.get_running_loop().create_task(self._work(), name="cascade")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Break off; the marks stay for the next server. Idempotent."""
        self._closed = True
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self) -> None:
        while self._waiting:
            run_id = self._waiting.popleft()
            try:
                await self._cascade(run_id)
            except NotFound:
                pass
            except RuncastError as error:
                log.warning("the end of run %s did not reach its children yet: %s", run_id, error)
            except Exception:
                log.exception("the end of run %s could not be carried to its children", run_id)
            finally:
                self._known.discard(run_id)
        if not self._known:
            self._on_idle()
